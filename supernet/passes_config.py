"""Plain data: the settings of a training step's passes. No torch here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from supernet.model_config import Fraction, Probability, Section


class PassesConfig(Section):
    """The passes of a training step, and the weights of their losses."""

    sharing: Literal["rows", "batch"] = "rows"
    """``rows``: each utterance of a batch is used for one size. ``batch``: every size runs on the whole batch
    (arXiv 2407.18930).
    """
    shares: dict[Annotated[str, BeforeValidator(str)], float] | None = None
    """With ``rows``: the share of the utterances of each size or budget in joint training. None: 0.6 for the
    smallest, 0.3 for the largest, the rest for those in between.
    """
    smallest_first: Fraction = 0.75
    """Share of the updates after score learning in which only the smallest size is trained. This is cheap,
    and the larger sizes, which contain it, start from what it has learned.
    """
    stages: dict[Annotated[str, BeforeValidator(str)], Fraction] | None = None
    """Shares of the updates after score learning in which only the sizes or budgets up to the named one are
    trained, such as ``{3: 0.5, 6: 0.2}``, instead of `passes.smallest_first`.
    """
    new_units: Literal["keep", "copy"] = "keep"
    """Weights of the units that join after a stage: their own from score learning (``keep``), or those of the
    nearest trained unit of the same kind, the earlier of two (``copy``, arXiv 2011.13635).
    """
    gated_share: Fraction = 0.5
    """With ``rows``: the share of the utterances in the gated pass of score learning."""
    small_weight: Annotated[float, Field(gt=0)] = 1.0
    """Loss weight of every pass except that of the full network."""
    intermediate_weight: Fraction = 0.5
    """Weight of the intermediate losses in the loss of a pass (arXiv 2102.03216)."""
    intermediate_on: Literal["every-pass", "full"] = "every-pass"
    """Passes with intermediate losses: all, or only the largest of a step (``full``)."""
    layer_drop: Probability = 0.1
    """Stochastic depth in joint training: the probability that an utterance skips a unit outside the smallest
    subnet in the full network's pass.
    """
    teacher: str | None = None
    """A run or cut model with the same tokens, imitated by the final output of every pass (distillation)."""
    teacher_weights: str | None = None
    """Fingerprint of the weights of `passes.teacher`; filled in from there."""
    teacher_weight: Fraction = 0.5
    """Weight of imitating `passes.teacher` in the loss of a final output; the transcripts have the rest."""
