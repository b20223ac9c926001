"""The typed, validated configuration of a run. Presets and files hold only the differences from these
defaults.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from supernet.budget import Wish, budgets_problem
from supernet.model_config import Fraction, ModelConfig, Named, Positive, Probability, Section
from supernet.passes_config import PassesConfig
from supernet.settings.plugins import find_plugin
from supernet.units import Unit, UnitTable

__all__ = ["Config", "Fraction", "ModelConfig", "Named", "PassesConfig", "Positive", "Probability", "Section"]

NUM_LAYERS = 12
"""The default depth where neither a setting nor sizes determine it."""
DEVICE_NAME = r"cpu|cuda(:\d+)?"


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
    """Learning-rate factor over the run, linear between points (share of the steps, factor). It rises
    during the first half of the run, as in 1cycle (arXiv 1708.07120): if a rate this high is reached early,
    a CTC model may never leave the blank plateau.
    """
    scores_lr: Annotated[float, Field(gt=0)] | None = None
    """Peak learning rate of the scores, raised to what the method needs. None: what it needs, or 0.03."""
    scores_weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Weight decay of the scores."""
    betas: tuple[Probability, Probability] = (0.9, 0.98)
    """Decay rates of AdamW's two moment estimates."""
    eps: Annotated[float, Field(gt=0)] = 1e-8
    """Term added to AdamW's denominator."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    """Weight decay of matrices. Biases and norms have none; scores have a separate setting."""
    max_grad_norm: Annotated[float, Field(gt=0)] | None = 5.0
    """Maximum norm of the gradient; larger gradients are scaled down. None: no limit."""
    accumulate: Positive = 1
    """Number of batches per update (gradient accumulation)."""
    recompute: bool = False
    """Whether the backward pass computes the activations of the layers again instead of keeping them: same
    gradients, less memory, more time.
    """
    data_parallelism: Literal["ddp", "fsdp"] = "ddp"
    """Each process has all weights (``ddp``) or, for large networks, a part (``fsdp``, arXiv 2304.11277)."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Precision of matrix products in training; all else, and all scoring, is in float32. ``auto``: bfloat16
    on a GPU, float32 on a CPU, where bfloat16 pays for large networks; a run keeps what it began with.
    """
    publish_every: Positive = 50
    """Number of updates between log entries of metrics and scores."""
    validate_every: Positive = 250
    """Number of updates between validations; a multiple of `train.publish_every`."""
    checkpoint_every: Positive = 250
    """Number of updates between checkpoints; a multiple of `train.publish_every`."""
    processes: Literal["auto"] | Positive = "auto"
    """Number of processes that divide every batch among them on a CPU, with the same result up to rounding
    and dropout. ``auto``: on Linux one per core, at most eight, elsewhere one; OMP_NUM_THREADS limits the
    cores. A run can be resumed with any number.
    """
    keep_checkpoints: Positive = 2
    """Number of checkpoints to keep, the newest; `evaluate` and `cut` can average the weights of several."""
    average_from: Fraction | None = None
    """Share of the updates after which averages of the weights begin, for each unit at the earliest when it
    joins the training. At the end, the average or the last weights are kept, whichever has the lower error
    rate on the validation split, as a mean over the sizes. None: no averages.
    """
    average_every: Positive = 10
    """Number of updates between the weights that are averaged."""
    num_threads: Positive | None = None
    """Number of CPU threads of each process. None: all cores, shared among the local processes."""

    @model_validator(mode="after")
    def _check(self) -> TrainConfig:
        problems = [
            f"`train.{name}` must be a multiple of `train.publish_every` ({self.publish_every}), "
            f"but is {getattr(self, name)} instead"
            for name in ("validate_every", "checkpoint_every")
            if getattr(self, name) % self.publish_every
        ]
        if self.data_parallelism == "fsdp" and self.precision == "float16":
            problems.append(
                "`train.precision` must be float32 or bfloat16 with `train.data_parallelism` fsdp, "
                "but is float16 instead"
            )
        shares = [share for share, _ in self.schedule]
        if len(shares) < 2 or shares != sorted(shares) or shares[0] != 0 or shares[-1] != 1:
            problems.append("`train.schedule` must run from 0 to 1 in ascending points, but does not")
        if problems:
            raise ValueError("; ".join(problems))
        return self


class Config(Section):
    """The complete configuration of one run."""

    task: Named = Named(name="generated-speech")
    """The corpus: the name of a task, followed by its options."""
    method: Named = Named(name="simple-top-k")
    """The training method: its name, followed by its options."""
    granularity: str = "layer"
    """The kind of unit that sizes count: `layer`, `module` (a residual branch of one), `component` (an
    attention head, a chunk of a feed-forward, or a convolution), or another by name.
    """
    sizes: tuple[Positive, ...] = (6, 9, 12)
    """Number of units of each subnet; the largest is the supernet unless `model.num_layers` is larger."""
    budgets: tuple[str, ...] | None = None
    """Limits on the cost of the subnets instead of `sizes`, such as [macs=50%, macs=100%], in units, params,
    macs or latency. The depth is `model.num_layers`, 12 by default.
    """
    seed: int = 0
    """Random seed."""
    device: str | None = None
    """``cpu``, ``cuda`` or ``cuda:1``; a run can be resumed on any device. None: a GPU if there is one."""
    model: ModelConfig = Field(default_factory=ModelConfig)
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
        """Turn budgets that are plain numbers of units into sizes; others replace the default sizes."""
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
        """Remove spaces, because names of files contain those of budgets."""
        return None if budgets is None else tuple("".join(text.split()) for text in budgets)

    @field_validator("sizes")
    @classmethod
    def _check_sizes(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(sizes)) < len(sizes):
            raise ValueError(f"`sizes` must differ from each other, but are {list(sizes)} instead")
        return sizes

    @model_validator(mode="after")
    def _check(self) -> Config:
        checks = (
            self._size_problems,
            self._share_problems,
            self._stage_problems,
            self._granularity_problems,
            self._start_problems,
        )
        if problems := self._budget_problems() or [problem for check in checks for problem in check()]:
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
                f"the largest of `sizes` must be a multiple of {per_layer}, the {self.granularity}s of a "
                f"layer, where `model.num_layers` is not set, but is {max(self.sizes)} instead"
            ]
        return []

    def _stage_problems(self) -> list[str]:
        stages, smaller = self.passes.stages or {}, list(self.names)[:-1]
        order = [name for name in smaller if name in stages]
        found = []
        if order != list(stages):
            found.append(
                f"`passes.stages` must name some of [{', '.join(smaller)}], in this order, but names "
                f"[{', '.join(stages)}] instead"
            )
        if sum(stages.values()) > 1:
            found.append(f"`passes.stages` must add up to 1 at most, but to {sum(stages.values()):g} instead")
        return found

    def _share_problems(self) -> list[str]:
        shares = self.passes.shares
        if shares is None or set(shares) == set(self.names):
            return []
        kind, wanted = "sizes" if self.sizes else "budgets", ", ".join(self.names)
        named = ", ".join(sorted(shares, key=lambda name: (len(name), name)))
        return [f"`passes.shares` must name the {kind} [{wanted}], but names [{named}] instead"]

    @property
    def wishes(self) -> tuple[Wish, ...]:
        """The requested budgets of the subnets, smallest first; a size is a budget in units."""
        found = map(Wish.parse, map(str, self.sizes) if self.budgets is None else self.budgets)
        return tuple(sorted(found, key=lambda wish: wish.amount))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the budgets, smallest first, such as ``6`` or ``macs=50%``."""
        return tuple(wish.name for wish in self.wishes)

    def only(self, name: str) -> Config:
        """This configuration with only one of its budgets."""
        changes = {"sizes": (int(name),)} if self.budgets is None else {"budgets": (name,)}
        return self.model_copy(update=changes)

    def _granularity_problems(self) -> list[str]:
        kls = find_plugin("granularity", self.granularity)
        if kls.drops_layers or self.model.family.drops_modules:
            return kls().problems(self.model)  # type: ignore[no-any-return]
        return [
            "`granularity` must be 'layer' with this encoder, whose layers normalize after each module so "
            f"that no module can be dropped, but is '{self.granularity}' instead"
        ]

    def _start_problems(self) -> list[str]:
        train = self.train
        return self.model.training_problems(train.data_parallelism == "fsdp", train.average_from is not None)

    def _units(self, layers: Iterable[int]) -> Iterator[Unit]:
        granularity, modules = find_plugin("granularity", self.granularity)(), self.model.modules
        for layer in layers:
            yield from granularity.units(layer, modules)

    @property
    def units_per_layer(self) -> int:
        return len(list(self._units([0])))

    @property
    def num_layers(self) -> int:
        """The number of layers of the supernet."""
        asked = max(self.sizes) // self.units_per_layer if self.sizes else NUM_LAYERS
        return self.model.num_layers or asked

    @property
    def table(self) -> UnitTable:
        """All units of the supernet."""
        return UnitTable(self.granularity, tuple(self._units(range(self.num_layers))))
