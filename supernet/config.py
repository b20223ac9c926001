"""What a run is: one typed, validated configuration. Presets and files hold only the differences from these
defaults.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from supernet.audio.features import InputName
from supernet.budget import Wish, budgets_problem
from supernet.settings.plugins import find_plugin
from supernet.units import MODULES, LayerType, Module, Unit, UnitTable

Fraction = Annotated[float, Field(ge=0, le=1)]
Probability = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]
KINDS = {"self_attn": "attention", "conv": "convolution"}
"""The kinds of modules that are not feed-forwards."""
NUM_LAYERS = 12
"""The depth where neither a setting nor sizes say it."""
DEVICE_NAME = r"cpu|cuda(:\d+)?"


class Section(BaseModel):
    """A part of the configuration; unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Named(BaseModel):
    """A part that a plug-in defines: its name, and options which the plug-in's own model checks."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)
    name: str
    """Which plug-in it is."""

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class ModelConfig(Section):
    """The network. All defaults are the `tiny` preset's."""

    layer_type: LayerType = "conformer"
    """Kind of encoder layer; `conformer-conv-first` has the convolution before the attention, as arXiv
    2407.18930.
    """
    num_layers: Positive | None = None
    """Number of encoder layers of the supernet. None: as many as the largest size needs."""
    dim: Annotated[int, Field(ge=8)] = 96
    """Model dimension; even and a multiple of `model.num_heads`."""
    num_heads: Positive = 4
    """Number of attention heads."""
    ffn_dim: Annotated[int, Field(ge=8)] = 384
    """Inner dimension of the feed-forward modules."""
    kernel: Annotated[int, Field(ge=1)] = 15
    """Kernel size of the depthwise convolution in frames; odd."""
    convolution_bias: bool = False
    """Whether the convolutions of a Conformer layer have biases."""
    positions: Literal["relative", "sinusoidal", "none"] = "relative"
    """Position encoding of the attention: relative (arXiv 1901.02860), added sinusoids, or none."""
    max_frames: Annotated[int, Field(ge=256, le=100_000)] = 3000
    """Maximum length of an input in frames after the frontend (25 per second)."""
    dropout: Probability = 0.0
    """Dropout of the outputs of the frontend and of every residual branch."""
    ffn_dropout: Probability = 0.0
    """Dropout inside the feed-forward modules; on a CPU it takes as long as their matrix products."""
    attention_dropout: Probability = 0.0
    """Dropout of the attention weights; must be 0 with relative positions, where fairseq2 has none."""
    frontend_channels: Positive = 16
    """Channels of the frontend's two convolutions; few, because no subnet can drop them."""
    start_scale: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Factor on the initial output projection of every residual branch."""
    heads: Literal["shared", "per-size"] = "shared"
    """One CTC head for all sizes, or one for each."""
    intermediate: tuple[Positive, ...] | None = None
    """Layers (1 is the first) with an intermediate CTC loss. None: after each quarter of the depth."""
    self_conditioning: bool = False
    """Feed the posteriors of the intermediate layers back into the stream (arXiv 2104.02724)."""
    init: str | None = None
    """Network to start from: the folder of a finished run or of a cut model, or a pretrained fairseq2
    wav2vec 2.0 encoder that reads samples (the name of an asset card, a card's YAML file, or a folder of
    fairseq2's checkpoints). It decides dimensions and layers.
    """
    init_weights: str | None = None
    """Fingerprint of the run's weights that `model.init` names; filled in from there."""
    wav2vec2: dict[str, Any] | None = None
    """The encoder's configuration in fairseq2's words; filled in from `model.init`."""
    freeze_frontend_steps: Annotated[int, Field(ge=0)] | None = None
    """Number of updates during which the frontend of `model.init` stays frozen. None: the whole run if it
    reads samples, else none.
    """

    @model_validator(mode="after")
    def _check(self) -> ModelConfig:
        problems = []
        if self.dim % self.num_heads or self.dim % 2:
            problems.append(
                f"`model.dim` must be even and a multiple of `model.num_heads` ({self.num_heads}), "
                f"but is {self.dim} instead"
            )
        if self.attention_dropout and self.positions == "relative" and not (self.init or self.wav2vec2):
            problems.append(
                "`model.attention_dropout` must be 0 with `model.positions` relative, "
                f"but is {self.attention_dropout:g} instead"
            )
        if self.kernel % 2 == 0:
            problems.append(f"`model.kernel` must be odd, but is {self.kernel} instead")
        if self.self_conditioning and self.heads != "shared":
            problems.append(
                "`model.heads` must be 'shared' with `model.self_conditioning`, but is 'per-size' instead"
            )
        if self.init is None and (self.wav2vec2, self.init_weights) != (None, None):
            problems.append(
                "`model.wav2vec2` and `model.init_weights` must be left to `model.init`, but are not"
            )
        if self.init is not None and self.wav2vec2 is None and self.init_weights is None:
            problems.append("`model.init` must have been looked up, but has not")
        if self.init is None and self.freeze_frontend_steps is not None:
            problems.append(
                "`model.freeze_frontend_steps` must go with `model.init`, but stands alone instead"
            )
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def input(self) -> InputName:
        """What the frontend reads."""
        return "log-mel" if self.wav2vec2 is None else "samples"

    @property
    def modules(self) -> tuple[Module, ...]:
        """The residual branches of a layer, in the order in which they run."""
        divisions = {"feed-forward": self.ffn_dim, "attention": self.num_heads}
        kinds = {name: KINDS.get(name, "feed-forward") for name in MODULES[self.layer_type]}
        return tuple(Module(name, kind, divisions.get(kind, 1)) for name, kind in kinds.items())

    def freezes_frontend(self, step: int) -> bool:
        """Whether the frontend stays as it is in the 0-based ``step``."""
        steps = self.freeze_frontend_steps
        return self.wav2vec2 is not None if steps is None else step < steps

    def positions_read(self, num_layers: int) -> tuple[int, ...]:
        """The intermediate layers of a net of this depth, without the last."""
        if self.intermediate is not None:
            return tuple(sorted({p for p in self.intermediate if p < num_layers}))
        return tuple(sorted({round(num_layers * q / 4) for q in (1, 2, 3)} - {0, num_layers}))


class PassesConfig(Section):
    """The passes of a training step, and the weights of their losses."""

    sharing: Literal["rows", "batch"] = "rows"
    """``rows``: each utterance of a batch runs one size. ``batch``: every size runs on the whole batch
    (arXiv 2407.18930).
    """
    shares: dict[Annotated[str, BeforeValidator(str)], float] | None = None
    """With ``rows``: the share of the utterances of each size or budget in joint training. None: 0.6 for the
    smallest, 0.3 for the largest, the rest for those in between.
    """
    smallest_first: Fraction = 0.75
    """Share of the updates after score learning in which the smallest size trains alone. It is cheap, and the
    larger sizes, which contain it, start from what it has learned.
    """
    gated_share: Fraction = 0.5
    """With ``rows``: the share of the utterances in the gated pass of score learning."""
    small_weight: Annotated[float, Field(gt=0)] = 1.0
    """Loss weight of every pass other than the full net's."""
    intermediate_weight: Fraction = 0.5
    """Weight of the intermediate losses in the loss of a pass (arXiv 2102.03216)."""
    intermediate_on: Literal["every-pass", "full"] = "every-pass"
    """Passes with intermediate losses: all of them, or only the largest of a step (``full``)."""
    layer_drop: Probability = 0.1
    """Stochastic depth in joint training: the probability that an utterance skips a unit outside the smallest
    subnet, in the full net's pass.
    """


class TrainConfig(Section):
    """The optimization."""

    num_steps: Positive = 3000
    """Number of updates."""
    lr: Annotated[float, Field(gt=0)] = 4e-3
    """Learning rate at the peak of the schedule."""
    schedule: tuple[tuple[Fraction, Annotated[float, Field(ge=0)]], ...] = (
        (0.0, 0.05),
        (0.5, 1.0),
        (1.0, 0.01),
    )
    """Learning-rate factor over the run, linear between (share of the steps, factor) points. It rises over
    half of the run, as in 1cycle (arXiv 1708.07120): if so high a rate is reached early, a CTC net
    may never leave the blank plateau.
    """
    scores_lr: Annotated[float, Field(gt=0)] | None = None
    """Peak learning rate of the scores; raised to what the method needs. None: that, or 0.03."""
    scores_weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Weight decay of the scores."""
    betas: tuple[Probability, Probability] = (0.9, 0.98)
    """AdamW's decay rates of the two moments."""
    eps: Annotated[float, Field(gt=0)] = 1e-8
    """AdamW's addend to the denominator."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    """Weight decay of matrices; biases and norms have none, scores have their own."""
    max_grad_norm: Annotated[float, Field(gt=0)] | None = 5.0
    """Maximum norm of the gradient; larger ones are scaled down. None: no limit."""
    accumulate: Positive = 1
    """Number of batches per update (gradient accumulation)."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Autocast on a GPU; a CPU always runs float32."""
    publish_every: Positive = 50
    """Number of updates between two log entries of metrics and scores."""
    validate_every: Positive = 250
    """Number of updates between two validations; a multiple of `train.publish_every`."""
    checkpoint_every: Positive = 250
    """Number of updates between two checkpoints; a multiple of `train.publish_every`."""
    num_threads: Positive | None = None
    """Number of CPU threads of this process. None: all cores, shared among the local processes."""

    @model_validator(mode="after")
    def _check(self) -> TrainConfig:
        problems = [
            f"`train.{name}` must be a multiple of `train.publish_every` ({self.publish_every}), "
            f"but is {getattr(self, name)} instead"
            for name in ("validate_every", "checkpoint_every")
            if getattr(self, name) % self.publish_every
        ]
        shares = [share for share, _ in self.schedule]
        if len(shares) < 2 or shares != sorted(shares) or shares[0] != 0 or shares[-1] != 1:
            problems.append("`train.schedule` must run from 0 to 1 in ascending points, but does not")
        if problems:
            raise ValueError("; ".join(problems))
        return self


class Config(Section):
    """One run, complete."""

    task: Named = Named(name="generated-speech")
    """The corpus: the name of a task, whose options follow."""
    method: Named = Named(name="simple-top-k")
    """How the supernet is trained: the name of a method, whose options follow."""
    granularity: str = "layer"
    """The kind of unit that sizes count: the name of a granularity, such as `layer`, or `module` for one
    residual branch of a layer.
    """
    sizes: tuple[Positive, ...] = (6, 9, 12)
    """Number of units of each subnet; the largest is the supernet unless `model.num_layers` is larger."""
    budgets: tuple[str, ...] | None = None
    """Limits on the costs of the subnets instead of `sizes`, such as [macs=50%, macs=100%]: units, params,
    macs or latency. The depth is `model.num_layers`, by default 12.
    """
    seed: int = 0
    """Random seed."""
    device: str | None = None
    """``cpu``, ``cuda`` or ``cuda:1``; a run can be continued on any. None: a GPU if there is one."""
    model: ModelConfig = ModelConfig()
    """The network."""
    passes: PassesConfig = PassesConfig()
    """The passes of a training step."""
    train: TrainConfig = TrainConfig()
    """The optimization."""

    @field_validator("device")
    @classmethod
    def _check_device(cls, device: str | None) -> str | None:
        if device is not None and re.fullmatch(DEVICE_NAME, device) is None:
            raise ValueError(f"`device` must be cpu, cuda or cuda:N, but is '{device}' instead")
        return device

    @field_validator("granularity")
    @classmethod
    def _check_granularity(cls, granularity: str) -> str:
        find_plugin("granularity", granularity)
        return granularity

    @model_validator(mode="before")
    @classmethod
    def _without_sizes(cls, data: Any) -> Any:
        """Budgets stand for sizes; those that are plain numbers of units are sizes."""
        budgets = data.get("budgets") if isinstance(data, dict) else None
        if not isinstance(budgets, (list, tuple)) or data.get("sizes"):
            return data
        if all(isinstance(text, str) for text in budgets) and budgets_problem(budgets) is None:
            wishes = [Wish.parse(text) for text in budgets]
            if wishes[0].is_size:
                return {**data, "sizes": [round(wish.amount) for wish in wishes], "budgets": None}
        return {**data, "sizes": ()}

    @field_validator("budgets")
    @classmethod
    def _without_spaces(cls, budgets: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """Their names are those of files."""
        return None if budgets is None else tuple("".join(text.split()) for text in budgets)

    @field_validator("sizes")
    @classmethod
    def _check_sizes(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(sizes)) < len(sizes):
            raise ValueError(f"`sizes` must differ from each other, but are {list(sizes)} instead")
        return sizes

    @model_validator(mode="after")
    def _check(self) -> Config:
        if problems := self._budget_problems() or [*self._size_problems(), *self._share_problems()]:
            raise ValueError("; ".join(problems))
        return self

    def _budget_problems(self) -> list[str]:
        if self.budgets is None:
            return [] if self.sizes else ["`sizes` must name at least one size, but is empty instead"]
        if self.sizes:
            return ["`sizes` and `budgets` exclude each other, but both are given"]
        if problem := budgets_problem(self.budgets):
            return [problem]
        if self.model.heads != "shared":
            return ["`model.heads` must be 'shared' with `budgets`, but is 'per-size' instead"]
        return []

    def _size_problems(self) -> list[str]:
        per_layer = self.units_per_layer
        if not self.sizes:
            return []
        if self.model.num_layers is not None and max(self.sizes) > self.model.num_layers * per_layer:
            return [
                f"`sizes` must be at most {self.model.num_layers * per_layer}, the {self.granularity}s of "
                f"this network, but the largest is {max(self.sizes)} instead"
            ]
        if self.model.num_layers is None and max(self.sizes) % per_layer:
            return [
                f"the largest of `sizes` must be a multiple of {per_layer}, the modules of a layer, where "
                f"`model.num_layers` is not set, but is {max(self.sizes)} instead"
            ]
        return []

    def _share_problems(self) -> list[str]:
        shares = self.passes.shares
        if shares is None or set(shares) == set(self.names):
            return []
        kind, wanted = "sizes" if self.sizes else "budgets", ", ".join(self.names)
        named = ", ".join(sorted(shares, key=lambda name: (len(name), name)))
        return [f"`passes.shares` must name the {kind} [{wanted}], but names [{named}] instead"]

    @property
    def wishes(self) -> tuple[Wish, ...]:
        """The budgets of the subnets, the smallest first; a size is one of so many units."""
        found = map(Wish.parse, map(str, self.sizes) if self.budgets is None else self.budgets)
        return tuple(sorted(found, key=lambda wish: wish.amount))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the budgets, the smallest first: ``6``, or ``macs=50%``."""
        return tuple(wish.name for wish in self.wishes)

    def only(self, name: str) -> Config:
        """The same run for one of its budgets."""
        changes = {"sizes": (int(name),)} if self.budgets is None else {"budgets": (name,)}
        return self.model_copy(update=changes)

    def _units(self, layer: int) -> Sequence[Unit]:
        granularity = find_plugin("granularity", self.granularity)()
        return granularity.units(layer, self.model.modules)  # type: ignore[no-any-return]

    @property
    def units_per_layer(self) -> int:
        return len(self._units(0))

    @property
    def num_layers(self) -> int:
        """Layers of the supernet."""
        asked = max(self.sizes) // self.units_per_layer if self.sizes else NUM_LAYERS
        return self.model.num_layers or asked

    @property
    def table(self) -> UnitTable:
        """All units of the supernet."""
        layers = range(self.num_layers)
        return UnitTable(self.granularity, tuple(unit for i in layers for unit in self._units(i)))
