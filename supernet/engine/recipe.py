"""The engine's recipe, which connects model, optimizer, data and training unit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from fairseq2.composition import register_model_family
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
from fairseq2.runtime.config_registry import ConfigRegistrar
from fairseq2.runtime.dependency import DependencyContainer, DependencyResolver
from fairseq2.task import Task as EngineTask
from fairseq2.utils.stopwatch import Stopwatch
from torch import Tensor, nn
from torch.optim import Optimizer

from supernet.config import Config
from supernet.engine.checkpoints import Reader, prepare, use
from supernet.engine.gradients import Gradients
from supernet.engine.readers import Once, StepBudget
from supernet.engine.sharding import save_parts, shard, whole
from supernet.engine.stopping import StoppableTask, log_to_file_only
from supernet.engine.train_unit import Observer, SupernetUnit, Validation
from supernet.method import Method
from supernet.network.adapters import add_adapters
from supernet.network.distillation import Teacher
from supernet.network.supernet_ctc import SupernetCTC
from supernet.system.devices import chosen_device, training_dtype
from supernet.system.processes import Processes
from supernet.task import Batch, Task
from supernet.text.tokens import Tokens
from supernet.training.averaging import Averages
from supernet.training.learning_rate import PiecewiseLinearLR
from supernet.training.optim import SkippingAdamW, parameter_groups
from supernet.training.parallel import Parallel
from supernet.training.schedule import Schedule
from supernet.training.step import supernet_of

FAMILY = "supernet"

Begin = Callable[[SupernetCTC], None]
"""Replaces the random weights of a new network by those from which the training starts."""


@dataclass(kw_only=True)
class _NoOptions:
    """The engine's options of our components, which have none: the run's configuration has their settings."""


@dataclass(kw_only=True)
class _EngineConfig:
    model: ModelSection
    trainer: TrainerSection
    optimizer: OptimizerSection
    lr_scheduler: LRSchedulerSection
    regime: RegimeSection
    common: CommonSection
    gang: GangSection = field(default_factory=GangSection)


@dataclass(frozen=True)
class TrainingRequest:
    """A training: the parts that the recipe connects, and the folder of its files."""

    config: Config
    method: Method[Any]
    task: Task
    tokens: Tokens
    folder: Path
    begin: Begin | None = None
    """Applied to a network that is not restored from a checkpoint."""
    teacher: Teacher | None = None
    """The network that is imitated."""


@dataclass(frozen=True)
class Result:
    """The result of a training, in memory."""

    model: SupernetCTC
    schedule: Schedule
    is_main: bool
    """Whether this process is rank 0, which writes the results."""
    other_memory: int = 0
    """The memory in bytes that other processes on this machine used at most in addition to this one's."""
    averages: Mapping[str, Tensor] | None = None
    """The averages of the weights by name of the parameter, see ``Averages``. None: there are none."""


def engine_config(config: Config, processes: Processes) -> _EngineConfig:
    t = config.train
    # The network casts by itself; the engine scales the loss where half precision needs that.
    dtype = training_dtype(t.precision, chosen_device(config.device))
    mixed = MixedPrecisionConfig(mode="auto" if dtype == torch.float16 else "off", dtype=dtype)
    # `train` sets the number of threads: the engine gives precedence to this variable and warns about it.
    num_threads = None if "OMP_NUM_THREADS" in os.environ else processes.num_threads
    return _EngineConfig(
        model=ModelSection(family=FAMILY, arch="run"),
        trainer=TrainerSection(
            data_parallelism=t.data_parallelism,
            mixed_precision=mixed,
            max_grad_norm=t.max_grad_norm,
            grad_accumulation=GradAccumulationConfig(num_batches=t.accumulate),
        ),
        optimizer=OptimizerSection(name=FAMILY, config=_NoOptions()),
        lr_scheduler=LRSchedulerSection(name=FAMILY, config=_NoOptions()),
        regime=RegimeSection(
            num_data_epochs=2,  # one with all steps and an empty one, see StepBudget
            publish_metrics_every_n_steps=t.publish_every,
            validate_every_n_steps=t.validate_every,
            checkpoint_every_n_steps=t.checkpoint_every,
            keep_last_n_checkpoints=t.keep_checkpoints,
        ),
        common=CommonSection(
            seed=config.seed, no_sweep_dir=True, cluster="none", torch=TorchConfig(num_threads=num_threads)
        ),
    )


class SupernetRecipe(Recipe):
    """Connects model, optimizer, data and training unit."""

    def __init__(self, request: TrainingRequest, observer: Observer, processes: Processes) -> None:
        self._request, self._config, self._observer = request, request.config, observer
        self._processes = processes
        self.reader = Reader()
        self._result: Result | None = None
        self._unit: SupernetUnit | None = None
        self._updater: SkippingAdamW | None = None
        self._averages: Averages | None = None
        self._gradients: Gradients | None = None
        self._parallel: Parallel | None = None

    @property
    def config_kls(self) -> type[object]:
        return _EngineConfig

    def has_static_autograd_graph(self, context: RecipeContext) -> bool:
        return False  # phases use different parameters

    def result(self) -> Result:
        """The result of the training, which must be complete; ends its other processes."""
        assert self._result is not None
        memory = 0 if self._parallel is None else self._parallel.workers.other_memory()
        self.close()
        return replace(self._result, other_memory=memory)

    def register(self, container: DependencyContainer) -> None:
        use(container, self.reader)
        register_model_family(
            container,
            FAMILY,
            SupernetCTC,
            _NoOptions,
            factory=lambda _: self._build(),
            supports_meta=False,
            fsdp_applier=shard,
        )
        registrar = ConfigRegistrar(container, _NoOptions)
        registrar("run")(_NoOptions)
        register_component(container, Optimizer, FAMILY, _NoOptions, self._optimizer)
        register_component(container, LRScheduler, FAMILY, _NoOptions, self._scheduler)

    def _build(self) -> SupernetCTC:
        with torch.random.fork_rng():
            torch.manual_seed(self._config.seed)
            model = supernet_of(self._request.method, len(self._request.tokens))
            if self._request.begin is not None:
                self._request.begin(model)
            add_adapters(model)
        model.teacher = self._request.teacher
        return model

    def _optimizer(self, resolver: DependencyResolver, config: _NoOptions) -> Optimizer:
        model = resolver.resolve(nn.Module)
        bare = resolver.resolve(nn.Module, key="model")
        groups = parameter_groups(model, self._config.train)
        assert isinstance(bare, SupernetCTC)
        skipped, in_a_row = bare.skipped_updates, bare.skipped_in_a_row
        optimizer = SkippingAdamW(groups, self._config.train, skipped, in_a_row, self._after_step, self._norm)
        if bare.is_sharded:
            save_parts(optimizer)
        self._updater = optimizer
        return optimizer

    def _norm(self) -> Tensor:
        assert self._gradients is not None
        return self._gradients.norm()

    def _after_step(self, lr: float) -> None:
        assert self._unit is not None
        self._unit.after_step(lr)
        if self._averages is not None:
            self._averages.update(self._unit.step)

    def _scheduler(self, resolver: DependencyResolver, config: _NoOptions) -> LRScheduler:
        optimizer = resolver.resolve(Optimizer)
        return PiecewiseLinearLR(optimizer, self._config.train, self._request.method.travels())

    def close(self) -> None:
        """End the other processes. Idempotent."""
        if self._parallel is not None:
            self._parallel.close()
            self._parallel = None

    def create_task(self, context: RecipeContext) -> EngineTask:
        log_to_file_only()
        if note := prepare(self._request.folder / "checkpoints", context.gangs.root):
            self._observer.on_note(note)
        rank, num_ranks = context.gangs.dp.rank, context.gangs.dp.size
        model = context.get_model_as(SupernetCTC)
        schedule = Schedule(self._request.method, model, self._config.seed)
        if self._processes.count > 1:
            self._parallel = Parallel(model, self._request.method, self._config.seed, self._processes)
        self._result = Result(model, schedule, rank == 0)
        task, tokens, seed = self._request.task, self._request.tokens, self._config.seed
        reader = task.train_reader(tokens, seed=seed, rank=rank, num_ranks=num_ranks)
        t = self._config.train
        budget = StepBudget(reader, t.num_steps, t.accumulate, schedule.side)
        wrapped = context.get_data_parallel_model()
        self._gradients = Gradients(wrapped, context.gangs.dp)
        self._unit = unit = SupernetUnit(
            wrapped,
            model,
            schedule,
            budget,
            rank,
            self._observer,
            self.reader.end,
            self._gradients,
            self._parallel,
            self._end,
        )
        validation = Validation(model, schedule, tokens, self._observer, self._parallel)
        valid_reader = Once(lambda: self._valid_batches(rank, num_ranks), context.gangs.dp)
        trainer = context.create_trainer(unit, budget, [validation], [valid_reader])
        if self._config.train.average_from is not None:
            assert self._updater is not None
            self._averages = Averages(model, schedule, self._config.train, self._updater)
        trainer._compute_watch = Stopwatch()  # its own would wait for the device after every step
        if rank == 0:
            self._observer.on_start(schedule)
        return StoppableTask(trainer, context.get_checkpoint_manager(), context.gangs)

    def _end(self) -> None:
        """Collect the averages once all steps are done, and the whole network on every process if it was
        divided.
        """
        assert self._result is not None
        if self._averages is not None:
            averages = {name: whole(value) for name, value in self._averages.result().items()}
            self._result = replace(self._result, averages=averages)
        if (sharded := self._result.model).is_sharded:
            model = self._build().to(sharded.device)
            model.load_state_dict({name: whole(value) for name, value in sharded.state_dict().items()})
            self._result = replace(self._result, model=model)

    def _valid_batches(self, rank: int, num_ranks: int) -> Iterator[Batch]:
        task, tokens = self._request.task, self._request.tokens
        return iter(task.eval_batches("valid", tokens, rank=rank, num_ranks=num_ranks))
