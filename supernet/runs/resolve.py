"""Resolve layers of settings into a validated configuration, reporting all problems together."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from supernet.audio.features import INPUTS
from supernet.budget import BudgetError, Prices, Quantity
from supernet.config import Config, ModelConfig
from supernet.encoder_family import family_of
from supernet.errors import ConfigError
from supernet.method import Method
from supernet.network.unit_prices import NetworkPrices
from supernet.runs import teacher
from supernet.runs.mended import mended
from supernet.runs.pretrained import completed
from supernet.settings.listing import Setting, settings_of
from supernet.settings.names import PluginKind
from supernet.settings.plugins import find_plugin, load_plugin, validated
from supernet.settings.presets import Data, merge, named, with_preset
from supernet.system.devices import chosen_device, device_problem, usual_precision
from supernet.task import Task

_PLUGINS: dict[str, PluginKind] = {
    "task": "task",
    "method": "method",
    "model.encoder": "encoder",
    "model.head": "head",
}
"""By the name of its setting, the kind of a plug-in."""

ASSUMED_TOKENS = 30
"""The assumed number of tokens, if the corpus is not prepared yet."""


@dataclass(frozen=True)
class Resolved:
    """A valid, complete configuration and its plug-ins."""

    config: Config
    method: Method[Any]
    task: Task

    def with_sizes(self, sizes: tuple[int, ...]) -> Resolved:
        """The same run for some of its sizes."""
        return self._with_config(self.config.model_copy(update={"sizes": sizes}))

    def only(self, budget: str) -> Resolved:
        """The same run for one of its budgets."""
        return self._with_config(self.config.only(budget))

    def with_precision(self, saved: Mapping[str, Any] | None = None) -> Resolved:
        """The same run with what a precision of ``auto`` stands for.

        Args:
            saved: The configuration of the run to continue, if any, whose precision stays.
        """
        if self.config.train.precision != "auto":
            return self
        place = chosen_device(self.config.device)
        precision = usual_precision(place) if saved is None else saved_precision(saved, place)
        train = self.config.train.model_copy(update={"precision": precision})
        return self._with_config(self.config.model_copy(update={"train": train}))

    def imitating(self, teacher: str) -> Resolved:
        """The same run with a teacher, which need not exist yet: to know what such a run costs."""
        passes = self.config.passes.model_copy(update={"teacher": teacher})
        return self._with_config(self.config.model_copy(update={"passes": passes}))

    def _with_config(self, config: Config) -> Resolved:
        return Resolved(config, _with_config(self.method, config), self.task)

    def priced(self, num_tokens: int, known: Mapping[Quantity, Prices] | None = None) -> Resolved:
        """The same run with prices for the tokens of its corpus; ``known`` are those of an earlier session.

        Raises ``BudgetError`` where a budget cannot be met.
        """
        prices = NetworkPrices(self.config, num_tokens, known)
        method = type(self.method)(self.method.options, self.config, prices)
        assert method.budgets
        return replace(self, method=method)


def resolve(
    layers: Iterable[Mapping[str, Any]],
    saved: Mapping[str, Any] | None = None,
    problems: Iterable[str] = (),
) -> Resolved:
    """Merge layers of settings and validate the result.

    Args:
        layers: Settings in increasing priority; a layer may name a preset as its base.
        saved: The configuration of the run to continue, if any: it records what `model.init` decided, in case
            that no longer exists.
        problems: Known problems, reported together with those found here.

    Raises:
        ConfigError: All problems.
    """
    found, saved = list(problems), saved or {}
    known = [_without_unknown_preset(layer, found) for layer in layers]
    data = completed(_known(merged(known), saved), found)
    return _validated(teacher.completed(data, saved, found), found)


def _without_unknown_preset(layer: Mapping[str, Any], problems: list[str]) -> Mapping[str, Any]:
    try:
        with_preset(layer)
    except ConfigError as e:
        problems += e.problems
        return {key: value for key, value in layer.items() if key != "preset"}
    return layer


def merged(layers: Iterable[Mapping[str, Any]]) -> Data:
    """Merge ``layers``, in increasing priority, with their presets; the result is not validated."""
    data: Data = {kind: {"name": Config.model_fields[kind].default.name} for kind in ("task", "method")}
    for layer in layers:
        data = merge(data, with_preset(layer))
    return _placed(data)


def settings(data: Mapping[str, Any]) -> list[Setting]:
    """All settings of a configuration with the task and method of ``data``."""
    found = list[Setting]()
    for setting in settings_of(Config):
        path = setting.name.removesuffix(".name")
        if path == setting.name or path not in _PLUGINS:
            found.append(setting)
            continue
        section, _, leaf = path.rpartition(".")
        fields = ModelConfig.model_fields if section == "model" else Config.model_fields
        field, part = fields[leaf], data.get(section, {}) if section else data
        found.append(Setting(path, field.default.name, field.description or "", field))
        plugin = part.get(leaf, field.default.name) if isinstance(part, Mapping) else None
        with contextlib.suppress(ValueError):  # validation reports it
            name = plugin.get("name") if isinstance(plugin, Mapping) else plugin
            found += settings_of(find_plugin(_PLUGINS[path], str(name)).Options, f"{path}.")
    return found


def setting_names(data: Mapping[str, Any]) -> list[str]:
    """The names of ``settings``."""
    return [setting.name for setting in settings(data)]


def _placed(data: Data) -> Data:
    """``data`` with an absolute path as `model.init`, if it is a path."""
    model = data.get("model")
    if not isinstance(model, Mapping) or not isinstance(model.get("init"), str):
        return data
    path = Path(model["init"]).expanduser()
    return {**data, "model": {**model, "init": str(path.absolute())}} if path.exists() else data


def _known(data: Data, saved: Mapping[str, Any]) -> Data:
    """``data`` with the network of ``saved`` if its `model.init` is the same and no longer exists."""
    models = [part.get("model") for part in (data, saved)]
    init, before = (model.get("init") if isinstance(model, Mapping) else None for model in models)
    if not (isinstance(init, str) and isinstance(before, str)):
        return data
    if Path(before).exists() or Path(init).expanduser().absolute() != Path(before):
        return data
    return merge({"model": named(saved["model"])}, merge(data, {"model": {"init": before}}))


def _validated(data: Data, problems: list[str]) -> Resolved:
    """Validate ``data`` and load its plug-ins. Raises ``ConfigError`` if there are any ``problems``."""
    try:
        return _checked(data, problems)
    except ConfigError as e:
        if (without := mended(data)) is None:
            raise
        try:
            _checked(without, [])
        except ConfigError as others:
            lines = dict.fromkeys([*e.problems, *others.problems])
            raise ConfigError(list(lines), {*e.names, *others.names}) from None
        raise


def _checked(data: Data, problems: list[str]) -> Resolved:
    names = partial(setting_names, data)
    method_kls, method_options = load_plugin("method", data["method"], problems, names=names)
    task_kls, task_options = load_plugin("task", data["task"], problems, names=names)
    config = validated(Config, data, "", problems, names)
    if problems or config is None or method_kls is None or task_kls is None:
        raise ConfigError(problems)
    config = config.model_copy(
        update={
            "method": _named(config.method.name, absolute(method_options)),
            "task": _named(config.task.name, absolute(task_options)),
        }
    )
    method: Method[Any] = method_kls(method_options, config, NetworkPrices(config, ASSUMED_TOKENS))
    if problem := device_problem(config.device) or _input_problem(config):
        raise ConfigError([problem])
    _check_method(method)
    task: Task = task_kls(task_options)  # with paths as given, for its messages
    if problem := _length_problem(config, task.max_seconds):
        raise ConfigError([problem])
    return Resolved(config, method, task)


def _length_problem(config: Config, max_seconds: float | None) -> str | None:
    longest = family_of(config.model).max_frames
    if max_seconds is None or longest is None:
        return None
    input = INPUTS[config.model.input]
    needed = input.num_stream_frames(round(max_seconds * input.rate))
    if needed <= longest:
        return None
    return (
        f"`task.max_seconds` must fit `model.max_frames`, which is {longest}, but {max_seconds:g} s are "
        f"{needed} frames. Lower the former or raise the latter."
    )


def absolute(options: BaseModel) -> BaseModel:
    """The options with absolute paths; ``~`` is the home folder."""
    changed: Data = {}
    for name, value in options:
        if isinstance(value, BaseModel):
            changed[name] = absolute(value)
        elif isinstance(value, Path):
            changed[name] = value.expanduser().absolute()
    return options.model_copy(update=changed)


def resolve_trained(data: Mapping[str, Any], *changes: Mapping[str, Any]) -> Resolved:
    """Resolve the configuration of a trained run, for use on any machine.

    The device is dropped, and so is the feature cache: an untrusted run must not decide where commands write.
    """
    task = data.get("task")
    own = [{"task": {"cache": None}}] if isinstance(task, Mapping) and "cache" in task else []
    # The decisions of `model.init` are recorded.
    return _validated(merged([data, {"device": None}, *own, *changes]), [])


def saved_precision(saved: Mapping[str, Any], device: torch.device) -> str:
    """The precision of a run. Formerly, ``auto`` was kept."""
    train = saved.get("train")
    precision = str(train.get("precision", "auto") if isinstance(train, Mapping) else "auto")
    return "float32" if precision == "auto" and device.type == "cpu" else precision


def _input_problem(config: Config) -> str | None:
    given = config.task.options.get("input", "log-mel")
    if given == config.model.input:
        return None
    return f"`task.input` must be '{config.model.input}', which the network reads, but is '{given}' instead."


def _check_method(method: Method[Any]) -> None:
    """Raises ``ConfigError``. A latency is not measured for that, but when the training begins."""
    wishes, found, names = method.config.wishes, list[str](), list[str]()
    if wishes[0].quantity == "latency":
        return
    for wish in wishes:
        try:
            wish.priced(method.prices[wish.quantity])
        except BudgetError as e:
            found, names = [*found, *e.problems], [*names, *e.names]
    try:
        found += [problem for one in _each_run(method) for problem in one.problems()]
    except BudgetError as e:  # of a problem that needs the budgets
        found, names = (found, names) if found else (list(e.problems), list(e.names))
    if found:
        raise ConfigError(found, names)


def _each_run(method: Method[Any]) -> list[Method[Any]]:
    """The method of every run there will be: one, or one for each budget."""
    if not method.separate_runs:
        return [method]
    config = method.config
    return [_with_config(method, config.only(name)) for name in config.names]


def _with_config(method: Method[Any], config: Config) -> Method[Any]:
    """The same method for other sizes or budgets."""
    # A supernet as deep as its largest size has other units for other sizes, and other prices.
    is_same_net = config.num_layers == method.config.num_layers
    prices = method.prices if is_same_net else NetworkPrices(config, ASSUMED_TOKENS)
    return type(method)(method.options, config, prices)


def _named(name: str, options: BaseModel) -> Any:
    return Config.model_fields["task"].annotation(name=name, **options.model_dump(mode="json"))  # type: ignore[misc]
