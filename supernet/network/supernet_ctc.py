"""The recognizer: frontend, encoder, heads, and the persistent state of a schedule.

Shapes: B utterances, T frames, S stream frames, D model dimension, V tokens, E values, U units, N readings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from supernet.audio.features import INPUTS, Input
from supernet.budget import Prices, Quantity
from supernet.config import Config
from supernet.encoder_family import family_of
from supernet.errors import UserError
from supernet.granularity import granularity_named
from supernet.head import Head, new_head
from supernet.network.distillation import Teacher, taught
from supernet.network.encoder import Condition, Encoder
from supernet.network.lanes import Lane, Padding
from supernet.network.outputs import Scored, StepLoss
from supernet.network.participation import involve, planned_parameters, planned_units
from supernet.network.passes import IntermediateCTC, Job, Term, by_pass, jobs_of, terms_of
from supernet.network.streaming.chunking import Chunkings, step_chunkings
from supernet.network.tensor_names import SCORES, TRAINING_ONLY, is_scorer
from supernet.network.walk import FINAL, Walk
from supernet.plan import Learning, Step
from supernet.scorer import Context, Scorer, Scores
from supernet.system.devices import autocast, sent
from supernet.task import Batch
from supernet.units import Kept, Subnet, UnitTable

AnyWalk = TypeVar("AnyWalk", bound=Walk)


class SupernetCTC(nn.Module):
    """A recognizer whose encoder can run as any of its subnets; its head is CTC unless configured otherwise.

    ``scorer`` ranks the units. The buffers ``masks`` (budgets, U) and ``phase`` are the schedule's state,
    stored here because the engine saves models, not schedules.
    """

    masks: Tensor
    phase: Tensor
    skipped_updates: Tensor
    skipped_in_a_row: Tensor

    def __init__(
        self,
        config: Config,
        num_tokens: int,
        *,
        scorer: Callable[[], Scorer] | None = None,
        prices: Mapping[Quantity, Prices] | None = None,
        subnet: Subnet | None = None,
    ) -> None:
        """
        Args:
            config: The configuration of the run.
            num_tokens: The number of output tokens, V.
            scorer: Makes the module that ranks the units, after everything else. None: one score per unit.
            prices: The cost of each unit by quantity. None: only the number of units is available.
            subnet: The units to build. None: all.
        """
        super().__init__()
        # First among the parameters: the rounding of the gradient norm depends on their order.
        self.register_module("scorer", None)
        c, self.config, self.num_tokens = config.model, config, num_tokens
        self.frontend = family_of(c).frontend()
        self.encoder = Encoder(c, config.num_layers, config.table, subnet)
        self.encoder.recomputes = config.train.recompute
        self.sizes = tuple(sorted(config.sizes)) or (len(self.table),)
        self.heads = nn.ModuleDict({name: new_head(c, num_tokens) for name in self._head_names()})
        self.conditioning = nn.Linear(num_tokens, c.dim) if c.self_conditioning else None
        self.scorer: Scorer = Scores(len(self.table)) if scorer is None else scorer()
        self.teacher: Teacher | None = None
        """The network whose output is to be imitated in training, if any."""
        self.is_sharded = False
        """Whether several processes divide the weights, so that all that a plan uses must get gradients."""
        self.prices = prices or {"units": Prices.counting(len(self.table))}
        self.register_load_state_dict_pre_hook(_rename)  # type: ignore[no-untyped-call]
        self.register_buffer("masks", torch.zeros(len(config.names), len(self.table), dtype=torch.uint8))
        self.register_buffer("phase", torch.tensor(-1))
        self.register_buffer("skipped_updates", torch.tensor(0))
        self.register_buffer("skipped_in_a_row", torch.tensor(0))

    @property
    def table(self) -> UnitTable:
        return self.encoder.table

    @property
    def device(self) -> torch.device:
        return next(self.heads.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.heads.parameters()).dtype

    @property
    def context(self) -> Context:
        """The network as a training method sees it."""
        return Context(self.scorer, self.table, self.encoder.weights(), self.prices)

    @property
    def input(self) -> Input:
        """The input of the frontend."""
        return INPUTS[self.config.model.input]

    @property
    def reader(self) -> IntermediateCTC:
        """The positions and the weight of intermediate losses."""
        c = self.config
        positions = c.model.positions_read(c.num_layers)
        dedupe = granularity_named(c.granularity).drops_layers and not c.model.self_conditioning
        weight = c.passes.intermediate_weight
        return IntermediateCTC(positions, tuple(u.layer for u in self.table.units), weight, dedupe)

    def _head_names(self) -> list[str]:
        return ["shared"] if self.config.model.heads == "shared" else [str(size) for size in self.sizes]

    def head(self, size: int) -> str:
        """The name of the head for ``size``: its own, or that of the next larger size."""
        if self.config.model.heads == "shared":
            return "shared"
        return str(min((s for s in self.sizes if s >= size), default=self.sizes[-1]))

    def forward(self, batch: Batch, step: Step) -> StepLoss:
        """The loss of a training step.

        All of it is computed here, so that data-parallel wrappers see every use of the parameters.
        """
        self.encoder.freeze(self.config.model.frozen_layers(step.draw.step))
        with self._learning(step.plan.learning), autocast(self.config.train.precision, self.device):
            learns = torch.is_grad_enabled() and not self.config.model.freezes_frontend(step.draw.step)
            with torch.set_grad_enabled(learns):
                x_BSD, lengths = self.embed(batch.features_BTF, batch.num_frames, batch.hidden_BTF)
            context = self.context
            with autocast("float32", self.device):  # what ranks units is as precise as their scores
                jobs = jobs_of(step, self.reader, lambda gate: gate(context))
                penalties = {} if step.plan.penalties is None else dict(step.plan.penalties(context))
            self.encoder.planned = planned_units(step.plan) if self.is_sharded else None
            chunkings = step_chunkings(self.config.model, step, len(batch))
            readings = self._encode(x_BSD, lengths, [job.lane for job in jobs], chunkings)
            losses_N, terms = self._losses(batch, lengths, jobs, readings)
        weights = [weight for term in terms for weight in [term.weight] * len(term.rows)]
        weights_N = sent(torch.tensor(weights, dtype=losses_N.dtype), losses_N.device)
        num_frames = sum(lengths)
        # The engine divides gradients by the number of frames; penalties must not shrink with it.
        total = (losses_N * weights_N).sum() + num_frames * sum(penalties.values(), losses_N.new_zeros(()))
        if self.is_sharded:
            total = involve(planned_parameters(step.plan, self.heads, self.scorer), total)
        return StepLoss(total, num_frames, by_pass(losses_N, lengths, terms), penalties)

    @contextmanager
    def _learning(self, learning: Learning) -> Iterator[None]:
        """Require gradients only of the parameters that a step updates."""
        resting = [
            parameter
            for name, parameter in self.named_parameters()
            if learning != "everything"
            and parameter.requires_grad
            and is_scorer(name) == (learning == "weights")
        ]
        for parameter in resting:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in resting:
                parameter.requires_grad_(True)

    def embed(
        self, features_BTF: Tensor, num_frames: Sequence[int], hidden_BTF: Tensor | None = None
    ) -> tuple[Tensor, list[int]]:
        """Run the frontend: the stream (B, S, D) in the precision of the weights, and its lengths."""
        lengths = [self.input.num_stream_frames(n) for n in num_frames]
        frontend: Any = self.frontend
        return frontend.embed(features_BTF, num_frames, hidden_BTF).to(self.dtype), lengths

    def log_probs(
        self, features_BTF: Tensor, num_frames: Sequence[int], kept: Kept, size: int | None = None
    ) -> Tensor:
        """The emissions of one subnet, which are log-probabilities (B, S, V) if its head is framewise;
        ``size`` determines the head, by default the size of the subnet.
        """
        x_BSD, lengths = self.embed(features_BTF, num_frames)
        (reading,) = self._encode(x_BSD, lengths, [Lane(range(x_BSD.size(0)), kept)])
        return self.read(reading[FINAL], sum(kept) if size is None else size)

    def walk(
        self, batch: Batch, lanes: Sequence[Lane], start: Callable[[Tensor, Padding, Sequence[Lane]], AnyWalk]
    ) -> AnyWalk:
        """Run ``lanes`` through the encoder with a custom class of walk, which sees every unit run."""
        x_BSD, lengths = self.embed(batch.features_BTF, batch.num_frames, batch.hidden_BTF)
        x_BSD = self.encoder.place(x_BSD)
        walk = start(x_BSD, self.encoder.padding(lengths, x_BSD), lanes)
        self.run(walk)
        return walk

    def run(self, walk: Walk, layers: range | None = None) -> None:
        """Take ``walk`` through the encoder, see ``Encoder.run``, with self-conditioning if it has any."""
        self.encoder.run(walk, self._conditioned, self.reader.positions, layers)

    def score_all(self, batch: Batch, subnets: Iterable[Kept]) -> Iterator[Scored]:
        """Each of ``subnets``, in any order, with the head of its size. Every distinct prefix runs once."""
        x_BSD, lengths = self.embed(batch.features_BTF, batch.num_frames, batch.hidden_BTF)
        outputs = self.encoder.outputs(x_BSD, lengths, subnets, self._conditioned, self.reader.positions)
        for kept, output_BSD in outputs:
            head = self.head_of(sum(kept))
            emissions_BSE = head(output_BSD)
            losses_B = head.losses(emissions_BSE, lengths, batch, range(len(batch)))
            yield Scored(kept, emissions_BSE, lengths, losses_B, head)

    def head_of(self, size: int) -> Head:
        """The head for ``size``."""
        return self._head(self.head(size))

    def _head(self, name: str) -> Head:
        head = self.heads[name]
        assert isinstance(head, Head)
        return head

    def read(self, x_NSD: Tensor, size: int) -> Tensor:
        """The emissions of the head for ``size``: log-probabilities (N, S, V) if it is framewise."""
        return self.head_of(size)(x_NSD)  # type: ignore[no-any-return]

    def losses(
        self, x_NSD: Tensor, size: int, lengths: Sequence[int], batch: Batch, rows: Sequence[int]
    ) -> Tensor:
        """The loss (N,) of each reading with the head for ``size``, see ``Head.losses``."""
        head = self.head_of(size)
        return head.losses(head(x_NSD), lengths, batch, rows)

    def require_framewise(self, what: str) -> None:
        """Raise ``UserError`` if the head, which ``what`` requires to be framewise, is not."""
        if not self.head_of(self.sizes[-1]).is_framewise:
            raise UserError(
                f"{what} must have a network with a framewise `model.head`, such as 'ctc', "
                f"but this one has '{self.config.model.head.name}' instead."
            )

    def _encode(
        self, x_BSD: Tensor, lengths: list[int], lanes: Sequence[Lane], chunkings: Chunkings | None = None
    ) -> list[dict[int, Tensor]]:
        at = self.reader.positions
        return self.encoder(x_BSD, lengths, lanes, self._conditioned, at, chunkings)  # type: ignore[no-any-return]

    @property
    def _conditioned(self) -> Condition | None:
        return None if self.conditioning is None else self._condition

    def _condition(self, x_NSD: Tensor) -> Tensor:
        """Self-conditioned CTC (arXiv 2104.02724, eq. 8): posteriors, projected back."""
        assert self.conditioning is not None
        return self.conditioning(self.read(x_NSD, self.sizes[-1]).exp().to(x_NSD.dtype))  # type: ignore[no-any-return]

    def _losses(
        self, batch: Batch, lengths: list[int], jobs: list[Job], readings: list[dict[int, Tensor]]
    ) -> tuple[Tensor, list[Term]]:
        """The loss (N,) of every row of every reading, and the descriptions of the readings."""
        terms, parts = [], []
        by_head: dict[str, list[tuple[Term, Tensor]]] = {}
        for job, reading in zip(jobs, readings, strict=True):
            for term, x_NSD in terms_of(job, reading, self.reader.weight):
                head = term.budget if term.budget in self.heads else "shared"
                by_head.setdefault(head, []).append((term, x_NSD))
        teacher = self.teacher
        wanted_BSV = None if teacher is None else teacher.log_probs(batch)
        for head, members in by_head.items():
            rows = [row for term, _ in members for row in term.rows]
            emissions_NSE = self._head(head)(torch.cat([x for _, x in members]))
            losses_N = self._head(head).losses(emissions_NSE, lengths, batch, rows)
            own = [term for term, _ in members]
            terms += own
            if teacher is not None and wanted_BSV is not None:
                losses_N = taught(losses_N, emissions_NSE, wanted_BSV, teacher.weight, lengths, own)
            parts.append(losses_N)
        return torch.cat(parts), terms


def weights(model: SupernetCTC) -> set[str]:
    """The names of the tensors used in recognition: all except those of the scorer and the schedule."""
    return {name for name in model.state_dict() if name not in TRAINING_ONLY and not is_scorer(name)}


def _rename(model: nn.Module, state: dict[str, Any], prefix: str, *rest: object) -> None:
    if (scores := state.pop(f"{prefix}scores", None)) is not None:
        state[prefix + SCORES] = scores


def num_parameters(model: SupernetCTC) -> int:
    """The number of parameters used in recognition."""
    names = weights(model)
    return sum(p.numel() for name, p in model.named_parameters() if name in names)
