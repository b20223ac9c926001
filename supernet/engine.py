"""The only place that touches fairseq2's recipe and trainer: from a configuration to trained weights.

The engine brings data parallelism, mixed precision, checkpoints, metrics and resuming; what a step does comes from the
schedule and the model. A run is bounded by epochs, with a reader that ends at the step budget, because with a step
bound the engine would ignore requests to stop.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import fairseq2.recipe.base  # first: the engine's own modules import each other in this order
import torch
from fairseq2.composition import register_model_family
from fairseq2.datasets import DataReader
from fairseq2.evaluator import EvalUnit
from fairseq2.gang import Gangs
from fairseq2.metrics import MetricBag
from fairseq2.optim.lr_schedulers import LRScheduler
from fairseq2.recipe.base import Recipe, RecipeContext
from fairseq2.recipe.component import register_component
from fairseq2.recipe.config import (
    CommonSection,
    GangSection,
    GradAccumulationConfig,
    LRSchedulerSection,
    MixedPrecisionConfig,
    ModelSection,
    OptimizerSection,
    RegimeSection,
    TorchConfig,
    TrainerSection,
)
from fairseq2.recipe.run import run as run_recipe
from fairseq2.runtime.config_registry import ConfigRegistrar
from fairseq2.runtime.dependency import DependencyContainer, DependencyResolver
from fairseq2.task import Task as EngineTask
from fairseq2.task import TaskStopException
from fairseq2.trainer import Trainer, TrainUnit
from torch import Tensor, nn
from torch.optim import Optimizer
from torcheval.metrics import Mean

from supernet.batch import Batch, BatchReader, Task
from supernet.config import Config
from supernet.model import Recogniser
from supernet.optim import PiecewiseLinearLR, SkippingAdamW, parameter_groups
from supernet.phases import Method, Schedule
from supernet.scoring import count_errors, greedy
from supernet.step import Draw, Step
from supernet.tokens import Tokens

FAMILY = "supernet"
MAX_SKIPPED_IN_A_ROW = 10


class Divergence(RuntimeError):
    """Too many updates in a row had gradients that are not finite."""


class Observer(Protocol):
    """Who follows a training on rank 0."""

    def on_start(self, schedule: Schedule) -> None: ...

    def on_step(self, step: int) -> None: ...

    def on_publish(self, step: int, scores: list[float], gates: list[float] | None, values: Mapping[str, object]) -> None: ...

    def on_validated(self, step: int, values: Mapping[str, object]) -> None: ...


@dataclass(kw_only=True)
class _NoOptions:
    """A component of ours is configured by the run itself."""


@dataclass(kw_only=True)
class _EngineConfig:
    model: ModelSection
    trainer: TrainerSection
    optimizer: OptimizerSection
    lr_scheduler: LRSchedulerSection
    regime: RegimeSection
    common: CommonSection
    gang: GangSection = field(default_factory=GangSection)


def train(config: Config, method: Method, task: Task, tokens: Tokens, folder: Path, observer: Observer) -> Result:
    """Train until the step budget is used up, continuing from the newest checkpoint in ``folder``.

    Raises :class:`Divergence`, :class:`KeyboardInterrupt` after a requested stop (everything saved), OSError.
    """
    if config.device is not None:
        os.environ["FAIRSEQ2_DEVICE"] = config.device
    recipe = SupernetRecipe(config, method, task, tokens, observer)
    with _quiet():
        try:
            run_recipe(recipe, _engine_config(config), folder, no_progress=True)
        except TaskStopException:
            raise KeyboardInterrupt from None
    return recipe.result()


@dataclass(frozen=True)
class Result:
    """What training leaves in memory."""

    model: Recogniser
    schedule: Schedule
    is_main: bool
    """Whether this process is rank 0, which writes the results."""


def _engine_config(config: Config) -> _EngineConfig:
    t = config.train
    dtype = getattr(torch, t.precision)
    on_cpu = config.device == "cpu" or (config.device is None and not torch.cuda.is_available())
    mixed = MixedPrecisionConfig(mode="off" if on_cpu or dtype == torch.float32 else "auto", dtype=dtype)
    return _EngineConfig(
        model=ModelSection(family=FAMILY, arch="run"),
        trainer=TrainerSection(
            data_parallelism=t.parallelism,
            mixed_precision=mixed,
            max_grad_norm=t.max_grad_norm,
            grad_accumulation=GradAccumulationConfig(num_batches=t.accumulate),
        ),
        optimizer=OptimizerSection(name=FAMILY, config=_NoOptions()),
        lr_scheduler=LRSchedulerSection(name=FAMILY, config=_NoOptions()),
        regime=RegimeSection(
            num_data_epochs=2,  # one that holds the whole budget, and one that is empty: see StepBudget
            publish_metrics_every_n_steps=t.publish_every,
            validate_every_n_steps=t.validate_every,
            checkpoint_every_n_steps=t.checkpoint_every,
            keep_last_n_checkpoints=2,
        ),
        common=CommonSection(
            seed=config.seed, no_sweep_dir=True, cluster="none", torch=TorchConfig(num_threads=t.num_threads)
        ),
    )


class SupernetRecipe(Recipe):
    """Wires model, optimizer, data and units together."""

    def __init__(self, config: Config, method: Method, task: Task, tokens: Tokens, observer: Observer) -> None:
        self._config, self._method, self._task, self._tokens = config, method, task, tokens
        self._observer = observer
        self._result: Result | None = None

    @property
    def config_kls(self) -> type[object]:
        return _EngineConfig

    def has_static_autograd_graph(self, context: RecipeContext) -> bool:
        return False  # the phases differ in what they use

    def result(self) -> Result:
        assert self._result is not None
        return self._result

    def register(self, container: DependencyContainer) -> None:
        register_model_family(
            container, FAMILY, Recogniser, _NoOptions, factory=lambda _: self._build(), supports_meta=False
        )
        registrar = ConfigRegistrar(container, _NoOptions)
        registrar("run")(_NoOptions)
        register_component(container, Optimizer, FAMILY, _NoOptions, self._optimizer)
        register_component(container, LRScheduler, FAMILY, _NoOptions, self._scheduler)

    def _build(self) -> Recogniser:
        with torch.random.fork_rng():
            torch.manual_seed(self._config.seed)
            return Recogniser(self._config, len(self._tokens), initial_score=self._method.initial_score)

    def _optimizer(self, resolver: DependencyResolver, options: _NoOptions) -> Optimizer:
        model = resolver.resolve(nn.Module)
        bare = resolver.resolve(nn.Module, key="model")
        groups = parameter_groups(model, self._config.train)
        assert isinstance(bare, Recogniser)
        return SkippingAdamW(groups, self._config.train, bare.skipped_updates, bare.skipped_in_a_row)

    def _scheduler(self, resolver: DependencyResolver, options: _NoOptions) -> LRScheduler:
        return PiecewiseLinearLR(resolver.resolve(Optimizer), self._config.train)

    def create_task(self, context: RecipeContext) -> EngineTask:
        _log_to_file_only()
        rank, num_ranks = context.gangs.dp.rank, context.gangs.dp.size
        model = context.get_model_as(Recogniser)
        schedule = Schedule(self._method, model, self._config.seed)
        self._result = Result(model, schedule, rank == 0)
        reader = self._task.train_reader(self._tokens, seed=self._config.seed, rank=rank, num_ranks=num_ranks)
        budget = StepBudget(reader, self._config.train.num_steps, self._config.train.accumulate)
        unit = SupernetUnit(context.get_data_parallel_model(), model, schedule, budget, self._config, rank, self._observer)
        validation = Validation(model, schedule, self._tokens, self._observer)
        valid_reader = Once(lambda: iter(self._task.eval_batches("valid", self._tokens, rank=rank, num_ranks=num_ranks)))
        trainer = context.create_trainer(unit, budget, [validation], [valid_reader])
        if rank == 0:
            self._observer.on_start(schedule)
        return StoppableTask(trainer, context.gangs)


class StoppableTask(EngineTask):
    """The trainer, with Ctrl-C as a request to stop at the end of the step, with everything saved."""

    def __init__(self, trainer: Trainer, gangs: Gangs) -> None:
        self._trainer, self._alone = trainer, gangs.root.size == 1

    def run(self) -> None:
        # Ranks would stop at different steps: there the newest checkpoint is what remains.
        with self._on_interrupt() if self._alone else contextlib.nullcontext():
            self._trainer.run()

    @contextlib.contextmanager
    def _on_interrupt(self) -> Iterator[None]:
        def stop(signum: int, frame: object) -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # the second Ctrl-C is meant seriously
            self._trainer.request_stop()

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def request_stop(self) -> None:
        self._trainer.request_stop()

    def close(self) -> None:
        self._trainer.close()

    @property
    def step_nr(self) -> int:
        return self._trainer.step_nr


class SupernetUnit(TrainUnit[Batch]):  # type: ignore[type-var]
    """One training step: asks the schedule what to run and lets the (wrapped) model run it."""

    def __init__(
        self, wrapped: nn.Module, model: Recogniser, schedule: Schedule, budget: StepBudget, config: Config, rank: int,
        observer: Observer,
    ) -> None:
        self._wrapped, self._model, self._schedule, self._budget = wrapped, model, schedule, budget
        self._config, self._rank, self._observer = config, rank, observer
        self._step, self._micro_batch = 0, 0
        self._fresh: set[str] = set()

    def prepare_metric_bag(self, metric_bag: MetricBag) -> None:
        for name in self._schedule.loss_names():
            metric_bag.add(name, Mean())

    def set_step_nr(self, step_nr: int) -> None:
        self._step, self._micro_batch = step_nr - 1, 0
        self._budget.num_begun = step_nr
        self._schedule.begin(self._step)
        if self._rank == 0:
            self._observer.on_step(step_nr)

    def process_batch(self, batch: Batch, metric_bag: MetricBag) -> tuple[Tensor, int]:
        draw = Draw(self._config.seed, self._step, self._rank, self._micro_batch)
        self._micro_batch += 1
        loss = self._wrapped(batch, Step(self._schedule.plan(self._step), draw))
        for name, (total, num_frames) in loss.by_pass.items():
            self._update(metric_bag, f"ctc/{name}", total / num_frames, num_frames)
        for name, value in loss.penalties.items():
            self._update(metric_bag, f"penalty/{name}", value.detach(), 1)
        return loss.total, loss.num_frames

    def _update(self, metric_bag: MetricBag, name: str, value: Tensor, weight: float) -> None:
        metric_bag.get(name, Mean).update(value, weight=weight)
        self._fresh.add(name)

    def process_metric_values(self, values: MutableMapping[str, object]) -> None:
        for name in self._schedule.loss_names() - self._fresh:
            values.pop(name, None)
        self._fresh.clear()
        skipped, in_a_row = int(self._model.skipped_updates), int(self._model.skipped_in_a_row)
        values["skipped_updates"] = skipped
        gates = self._schedule.gates(self._step)
        self._observer.on_publish(
            self._step + 1, self._model.scores.tolist(), None if gates is None else gates.tolist(), values
        )
        if in_a_row >= MAX_SKIPPED_IN_A_ROW:
            raise Divergence(
                f"The gradient must be finite, but was not in the last {in_a_row} updates, from step "
                f"{self._step + 2 - in_a_row} on. Their updates were left out, and the newest checkpoint holds the "
                f"weights from before. Lower `train.lr` or `train.max_grad_norm`, or use float32."
            )


class Validation(EvalUnit[Batch]):  # type: ignore[type-var]
    """CTC loss and greedy word errors of every size on the validation split, all sizes in one walk."""

    def __init__(self, model: Recogniser, schedule: Schedule, tokens: Tokens, observer: Observer) -> None:
        self._model, self._schedule, self._tokens, self._observer = model, schedule, tokens, observer
        self._step = 0

    def prepare_metric_bag(self, metric_bag: MetricBag) -> None:
        self._subnets = self._schedule.subnets()
        for size in self._subnets:
            metric_bag.add(f"ctc/{size}", Mean())
            metric_bag.add(f"wer/{size}", Mean())

    def set_train_step_nr(self, step_nr: int) -> None:
        self._step = step_nr

    def process_batch(self, batch: Batch, metric_bag: MetricBag) -> None:
        for size, log_probs_BSV, lengths, losses_B in self._model.score_all(batch, self._subnets):
            texts = greedy(log_probs_BSV, lengths, self._tokens)
            errors, words = count_errors(batch.texts, texts)
            metric_bag.get(f"ctc/{size}", Mean).update(losses_B.sum() / sum(lengths), weight=sum(lengths))
            metric_bag.get(f"wer/{size}", Mean).update(torch.tensor(errors / words), weight=words)

    def process_metric_values(self, values: MutableMapping[str, object]) -> None:
        self._observer.on_validated(self._step, values)


class StepBudget(DataReader[Batch]):
    """The endless training reader, cut off after ``num_steps`` updates; then every further epoch is empty."""

    def __init__(self, reader: BatchReader, num_steps: int, num_accumulate: int) -> None:
        self._reader, self._num_steps, self._num_accumulate = reader, num_steps, num_accumulate
        self.num_begun = 0
        """Updates begun so far, counted by the trainer: one that overflows and is repeated counts once."""

    def __iter__(self) -> StepBudget:
        return self

    def __next__(self) -> list[Batch]:
        if self.num_begun >= self._num_steps:
            raise StopIteration
        return [next(self._reader) for _ in range(self._num_accumulate)]

    def reset(self) -> None:
        """The position stays: there is one pass through the budget."""

    def state_dict(self) -> dict[str, object]:
        return {"num_begun": self.num_begun, "reader": self._reader.state_dict()}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        self.num_begun = int(state_dict["num_begun"])  # type: ignore[call-overload]
        self._reader.load_state_dict(state_dict["reader"])  # type: ignore[arg-type]

    @property
    def num_accumulate(self) -> int:
        return self._num_accumulate


class Once(DataReader[Batch]):
    """A fixed list of batches, from the start at every reset."""

    def __init__(self, start: Callable[[], Iterator[Batch]]) -> None:
        self._start, self._batches = start, start()

    def __iter__(self) -> Once:
        return self

    def __next__(self) -> list[Batch]:
        return [next(self._batches)]

    def reset(self) -> None:
        self._batches = self._start()

    def state_dict(self) -> dict[str, object]:
        return {}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Nothing to restore."""

    @property
    def num_accumulate(self) -> int:
        return 1


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the engine's start off the console and out of its log file, and close that file at the end.

    At its start it logs every environment variable with its value: not into a folder that travels.
    """
    logging.getLogger("fairseq2").setLevel(logging.WARNING)
    logging.getLogger("py.warnings").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():  # the engine turns on its own, about its own parts
            logging.captureWarnings(True)
            yield
    finally:
        logging.captureWarnings(False)
        logging.getLogger("fairseq2").setLevel(logging.WARNING)
        root = logging.getLogger()
        for handler in list(root.handlers):
            root.removeHandler(handler)
            handler.close()


def _log_to_file_only() -> None:
    """From here on the engine's log goes to the run folder; the console is for progress and results."""
    for handler in logging.getLogger().handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.ERROR)
    logging.getLogger("fairseq2").setLevel(logging.INFO)
