"""The settings of the network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from supernet.audio.features import INPUTS, LOG_MEL_80MS, InputName
from supernet.settings.plugins import find_plugin, load_plugin
from supernet.settings.presets import named
from supernet.units import LayerType, Module

Fraction = Annotated[float, Field(ge=0, le=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A part of the configuration; unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Named(BaseModel):
    """A part that a plug-in defines: its name, and options which the plug-in's own model checks."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)
    name: str
    """The name of the plug-in."""

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class ModelConfig(Section):
    """The network. All defaults are the `tiny` preset's."""

    encoder: Named = Named(name="built-in")
    """The family of encoders: its name, whose options follow. With a pretrained `model.init` it is wav2vec2
    unless another is named.
    """
    layer_type: LayerType = "conformer"
    """Kind of encoder layer, in the built-in family; `conformer-conv-first` has the convolution before the
    attention, as arXiv 2407.18930.
    """
    num_layers: Positive | None = None
    """Number of encoder layers of the supernet. None: as many as the largest size needs."""
    dim: Annotated[int, Field(ge=8)] = 96
    """Model dimension; even and a multiple of `model.num_heads`."""
    num_heads: Positive = 4
    """Number of attention heads."""
    ffn_dim: Annotated[int, Field(ge=8)] = 384
    """Inner dimension of the feed-forward modules."""
    ffn_chunks: Positive = 4
    """Number of equal chunks of each feed-forward module that are units with the granularity `component`."""
    kernel: Annotated[int, Field(ge=1)] = 15
    """Kernel size of the depthwise convolution in frames; odd."""
    convolution_bias: bool = False
    """Whether the convolutions of a Conformer layer have biases."""
    positions: Literal["relative", "sinusoidal", "none"] = "relative"
    """Position encoding of the attention: relative (arXiv 1901.02860), added sinusoids, or none."""
    max_frames: Annotated[int, Field(ge=256, le=100_000)] = 3000
    """Maximum length of an input in frames after the frontend (25 per second, 12.5 with 8x subsampling)."""
    dropout: Probability = 0.0
    """Dropout of the outputs of the frontend and of every residual branch."""
    ffn_dropout: Probability = 0.0
    """Dropout inside the feed-forward modules; on a CPU it takes as long as their matrix products."""
    attention_dropout: Probability = 0.0
    """Dropout of the attention weights; must be 0 with relative positions, where fairseq2 has none."""
    streaming: bool = False
    """Whether the network, in the built-in family, can also recognize while someone speaks, in chunks of any
    length. Some training utterances are seen whole, and each of the others in chunks of random length
    (arXiv 2012.05481); features are normalized by statistics of the training data.
    """
    whole_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """With `model.streaming`: the expected share of the training utterances that are seen whole."""
    chunk_frames: tuple[Positive, Positive] = (8, 32)
    """With `model.streaming`: the shortest and the longest training chunk, in frames after the frontend."""
    subsampling: Literal[4, 8] = 4
    """Feature frames of 10 ms per encoder frame, in the built-in family. With 8, a step takes about half as
    long; for tokens of several letters, as an encoder frame emits at most one token.
    """
    frontend_channels: Positive = 16
    """Channels of the frontend's two or three convolutions; few, because no subnet can drop them."""
    start_scale: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Factor on the initial output projection of every residual branch."""
    head: Named = Named(name="ctc")
    """The kind of output head: its name, whose options follow."""
    heads: Literal["shared", "per-size"] = "shared"
    """One head for all sizes, or one for each."""
    intermediate: tuple[Positive, ...] | None = None
    """Layers (1 is the first) with an intermediate loss. None: after each quarter of the depth."""
    self_conditioning: bool = False
    """Feed the posteriors of the intermediate layers back into the stream (arXiv 2104.02724)."""
    init: str | None = None
    """Network to start from: the folder of a finished run or of a cut model, a fine-tuned checkpoint of
    Hugging Face or NeMo, or a pretrained fairseq2 wav2vec 2.0 encoder that reads samples (the name of an
    asset card, a card's YAML file, or a folder of fairseq2's checkpoints). It decides dimensions and layers.
    """
    init_weights: str | None = None
    """Fingerprint of the run's weights that `model.init` names; filled in from there."""
    init_checkpoint: str | None = None
    """Fingerprint of the weights of a checkpoint that `model.init` names; filled in from there."""
    init_head: Literal["auto", "keep", "replace"] = "auto"
    """The head of `model.init`. ``keep``: the training has its tokens. ``replace``: a new one for the tokens
    of the corpus. ``auto``: kept if those are the same, or if a fine-tuned checkpoint's tokens spell them.
    """
    freeze_frontend_steps: Annotated[int, Field(ge=0)] | None = None
    """Number of updates during which the frontend of `model.init` stays frozen. None: the whole run if it
    reads samples, else none.
    """
    freeze_layers: Annotated[int, Field(ge=0)] = 0
    """Number of first layers of `model.init` that stay frozen."""
    freeze_layers_steps: Annotated[int, Field(ge=0)] | None = None
    """Number of updates during which they do. None: the whole run."""
    lora_rank: Positive | None = None
    """Rank of adapters (LoRA, arXiv 2106.09685) of the linear layers of `model.init`, an encoder of
    `transformers`, whose own weights stay frozen: less memory. They are merged at the end. None: no adapters.
    """

    @model_validator(mode="before")
    @classmethod
    def _written_today(cls, data: Any) -> Any:
        return named(data) if isinstance(data, Mapping) else data

    @field_validator("encoder", "head")
    @classmethod
    def _check_plugin(cls, given: Named, info: ValidationInfo) -> Named:
        kind: Any = info.field_name
        problems: list[str] = []
        _, options = load_plugin(kind, given.model_dump(), problems, f"model.{kind}")
        if problems:
            raise ValueError("; ".join(problem.removesuffix(".") for problem in problems))
        return Named(name=given.name, **options.model_dump(mode="json"))

    @model_validator(mode="after")
    def _check(self) -> ModelConfig:
        problems = []
        if self.dim % self.num_heads or self.dim % 2:
            problems.append(
                f"`model.dim` must be even and a multiple of `model.num_heads` ({self.num_heads}), "
                f"but is {self.dim} instead"
            )
        if self.kernel % 2 == 0:
            problems.append(f"`model.kernel` must be odd, but is {self.kernel} instead")
        if self.self_conditioning and self.heads != "shared":
            problems.append(
                "`model.heads` must be 'shared' with `model.self_conditioning`, but is 'per-size' instead"
            )
        if self.self_conditioning and not find_plugin("head", self.head.name).is_framewise:
            problems.append(
                "`model.self_conditioning` must be false with a `model.head` that does not write frame by "
                "frame, but is true instead"
            )
        if self.subsampling == 8 and self.input != LOG_MEL_80MS.name:
            problems.append(
                f"`model.subsampling` must be 4 with `model.encoder` '{self.encoder.name}', whose frames it "
                "does not change, but is 8 instead"
            )
        problems += [*self._chunk_problems(), *self.family.problems()]
        problems += [
            f"`model.{name}` must be left to `model.init`, but is not"
            for name in ("init_weights", "init_checkpoint")
            if self.init is None and getattr(self, name) is not None
        ]
        if self.init is not None and self.init_weights is None and not self.family.pretrains:
            problems.append("`model.init` must have been looked up, but has not")
        problems += self._start_problems()
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _chunk_problems(self) -> Iterator[str]:
        if self.streaming and not self.family.streams:
            name = self.encoder.name
            yield f"`model.streaming` must be false with `model.encoder` '{name}', but is true instead"
        shortest, longest = self.chunk_frames
        if shortest > longest:
            yield f"`model.chunk_frames` must not descend, but is [{shortest}, {longest}] instead"

    def _start_problems(self) -> list[str]:
        """Problems of the settings that only a training from `model.init` has."""
        if self.init is None:
            names = ("init_head", "freeze_frontend_steps", "freeze_layers", "freeze_layers_steps")
            given = [
                name
                for name in (*names, "lora_rank")
                if getattr(self, name) != type(self).model_fields[name].default
            ]
            return [f"`model.{name}` must go with `model.init`, but stands alone instead" for name in given]
        found = []
        if self.num_layers is not None and self.freeze_layers > self.num_layers:
            found.append(
                f"`model.freeze_layers` must be at most {self.num_layers}, the layers of this network, but "
                f"is {self.freeze_layers} instead"
            )
        if self.init_head == "keep" and self.init_weights is None and self.head.name != "ctc":
            found.append(
                "`model.head` must be 'ctc' with `model.init_head` 'keep' and a checkpoint, but is "
                f"'{self.head.name}' instead"
            )
        if self.lora_rank is not None and not self.family.adapts:
            found.append(
                "`model.lora_rank` must go with an encoder of `transformers`, but goes with "
                f"'{self.encoder.name}' instead"
            )
        if self.freeze_layers_steps is not None and not self.freeze_layers:
            found.append("`model.freeze_layers_steps` must go with `model.freeze_layers`, but that is 0")
        return found

    def training_problems(self, is_divided: bool, averages: bool) -> list[str]:
        """Problems of a training of this network.

        Args:
            is_divided: Whether several processes divide its weights.
            averages: Whether the weights are averaged over the updates.
        """
        found = [
            f"`train.data_parallelism` must be ddp with `model.{name}`, but is fsdp instead"
            for name in ("freeze_layers", "lora_rank")
            if is_divided and getattr(self, name)
        ]
        if self.lora_rank and averages:
            found.append("`train.average_from` must be left out with `model.lora_rank`, but is given")
        return found

    @property
    def family(self) -> Any:
        """The family of encoders, see ``encoder_family.family_of``."""
        kls = find_plugin("encoder", self.encoder.name)
        return kls(kls.Options.model_validate(self.encoder.options), self)

    @property
    def input(self) -> InputName:
        """The input of the frontend."""
        return self.family.input  # type: ignore[no-any-return]

    @property
    def modules(self) -> tuple[Module, ...]:
        """The residual branches of a layer, in the order in which they run."""
        return self.family.modules  # type: ignore[no-any-return]

    def freezes_frontend(self, step: int) -> bool:
        """Whether the frontend stays as it is in the 0-based ``step``."""
        steps = self.freeze_frontend_steps
        return not INPUTS[self.input].is_log_mel if steps is None else step < steps

    def frozen_layers(self, step: int) -> int:
        """The number of first layers that stay as they are in the 0-based ``step``."""
        is_over = self.freeze_layers_steps is not None and step >= self.freeze_layers_steps
        return 0 if is_over else self.freeze_layers

    def positions_read(self, num_layers: int) -> tuple[int, ...]:
        """The intermediate layers of a network of this depth, without the last."""
        if self.intermediate is not None:
            return tuple(sorted({p for p in self.intermediate if p < num_layers}))
        return tuple(sorted({round(num_layers * q / 4) for q in (1, 2, 3)} - {0, num_layers}))
