"""Training from a network of this project: a finished run, or a model cut from one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from supernet.audio.features import LOG_MEL, InputName
from supernet.config import ModelConfig
from supernet.errors import UserError
from supernet.granularity import granularity_named
from supernet.network.supernet_ctc import SupernetCTC
from supernet.runs.model_file import Model, fingerprint, load, load_tokens
from supernet.settings.plugins import find_plugin
from supernet.text.spelling import Case
from supernet.text.tokens import Tokens

Data = dict[str, Any]
T = TypeVar("T")

_DECIDED = (
    "layer_type",
    "dim",
    "num_heads",
    "ffn_dim",
    "kernel",
    "positions",
    "streaming",
    "subsampling",
    "frontend_channels",
    "self_conditioning",
)
"""Settings of the network that are determined by its weights."""
_TAKEN_OVER = ("dropout", "ffn_dropout", "attention_dropout", "start_scale")
"""Settings that are inherited unless they are set."""


_LAYERS = "encoder.layers."


class WarmStartError(UserError):
    """No training can start from a network; the message says why."""


@dataclass(frozen=True)
class Origin:
    """The properties of a network to start from, without its weights."""

    init: str
    weights: str
    """Fingerprint of its weights."""
    model: ModelConfig
    layers: tuple[int, ...]
    """The numbers of its layers in its files."""
    granularity: str
    sizes: tuple[int, ...]


def is_own(init: str) -> bool:
    """Whether ``init`` is a folder of this project's: a run, or one that ``supernet.cut`` wrote."""
    return any((Path(init) / name).is_file() for name in ("model.json", "config.yaml"))


def origin(init: str) -> Origin:
    """The properties of the network in ``init``. Raises ``WarmStartError``."""
    files = [Path(init) / name for name in ("model.json", "model.safetensors")]
    if missing := [file.name for file in files if not file.is_file()]:
        raise WarmStartError(
            f"`model.init` must be a finished run or a cut model, but '{init}' has no {missing[0]}. "
            "Train it to the end first."
        )
    return _origin(init, tuple((file.stat().st_mtime_ns, file.stat().st_size) for file in files))


@lru_cache(maxsize=8)
def _origin(init: str, states: tuple[tuple[int, int], ...]) -> Origin:
    """Cached because a study needs it for each of its trainings."""
    model = _load(init)
    config = model.recognizer.config
    return Origin(
        init,
        fingerprint(Path(init) / "model"),
        config.model,
        _whole_layers(init, model.recognizer),
        config.granularity,
        tuple(config.sizes),
    )


def _load(init: str) -> Model:
    return _attempt(load, init)


def _attempt(read: Callable[[Path], T], init: str) -> T:
    try:
        return read(Path(init) / "model")
    except UserError as e:
        raise WarmStartError(f"`model.init` must be a finished run or a cut model: {e}") from None


def _whole_layers(init: str, recognizer: SupernetCTC) -> tuple[int, ...]:
    """The layers of a network. Raises ``WarmStartError`` if one lacks some of its modules."""
    config, units = recognizer.config, recognizer.table.units
    counts = {layer: sum(unit.layer == layer for unit in units) for layer in range(config.num_layers)}
    each = config.units_per_layer
    if granularity_named(config.granularity).drops_layers:
        counts = {layer: count for layer, count in counts.items() if count}
    if partial := [layer for layer, count in counts.items() if count < each]:
        raise WarmStartError(
            f"`model.init` must have whole layers, but layer {partial[0]} of '{init}' has lost "
            f"{each - counts[partial[0]]} of its {each} {config.granularity}s. "
            "Start from the run that it was cut from."
        )
    return tuple(counts)


def completed(data: Data, problems: list[str]) -> Data:
    """Add the settings that `model.init` determines to ``data``, and contradictions to ``problems``.

    Raises ``WarmStartError`` if it cannot be used.
    """
    model = data["model"]
    found = origin(str(model["init"]))
    data = {**data, "granularity": data.get("granularity") or found.granularity}
    num_layers = _num_layers(data, found, problems)
    decided = {name: getattr(found.model, name) for name in _DECIDED}
    decided["encoder"] = found.model.encoder.model_dump(mode="json")
    problems += [
        f"`model.{name}` must be {value!r}, as in `model.init` ('{found.init}'), or left out, but is "
        f"{model[name]!r} instead."
        for name, value in decided.items()
        if model.get(name) not in (None, value)
    ]
    if model.get("init_weights") not in (None, found.weights):
        problems.append(
            f"`model.init` must have the weights `model.init_weights` ({model['init_weights']}), but "
            f"'{found.init}' has changed and now has {found.weights}. Leave out `model.init_weights` to "
            "start from its current weights."
        )
    taken_over = {name: getattr(found.model, name) for name in _TAKEN_OVER}
    taken_over["max_frames"] = max(found.model.max_frames, ModelConfig().max_frames)
    known = {"init": found.init, "init_weights": found.weights, "num_layers": num_layers}
    result = {**data, "model": {**taken_over, **model, **decided, **known}}
    if data.get("sizes") is None and not data.get("budgets") and data["granularity"] == found.granularity:
        result["sizes"] = list(found.sizes)
    return reading(result, found.model.input)


def reading(data: Data, input: InputName, case: Case = "as-is") -> Data:
    """Set the task's input, and the case of its texts, to those of the network unless ``data`` sets them."""
    task = data.get("task", {})
    known: dict[str, str] = {} if input == LOG_MEL.name else {"input": input}
    if case != "as-is" and "case" in _options(str(task.get("name"))):
        known["case"] = case
    return {**data, "task": {**known, **task}} if known else data


def _options(task: str) -> Collection[str]:
    """The names of the options of ``task``; none if there is no such task, which validation reports."""
    try:
        return find_plugin("task", task).Options.model_fields  # type: ignore[no-any-return]
    except ValueError:
        return ()


def _num_layers(data: Mapping[str, Any], found: Origin, problems: list[str]) -> int:
    """The number of layers of the new network: at least those of the old one, more if requested."""
    wanted, here = data["model"].get("num_layers"), len(found.layers)
    if isinstance(wanted, int) and wanted < here:
        problems.append(
            f"`model.num_layers` must be at least {here}, the layers of `model.init` ('{found.init}'), but "
            f"is {wanted} instead. Cut it first with supernet.cut, and start from the cut model."
        )
    return max(here, _asked_for(data, found))


def _asked_for(data: Mapping[str, Any], found: Origin) -> int:
    wanted, sizes = data["model"].get("num_layers"), data.get("sizes")
    if isinstance(wanted, int):
        return wanted
    numbers = [size for size in sizes if isinstance(size, int)] if isinstance(sizes, (list, tuple)) else []
    largest = max(numbers, default=0)
    try:
        per_layer = len(granularity_named(str(data.get("granularity"))).units(0, found.model.modules))
    except ValueError:  # reported by the validation
        return largest
    return -(-largest // per_layer)


def load_into(recognizer: SupernetCTC, tokens: Tokens, init: str) -> None:
    """Load the frontend and the layers of ``init`` into a new ``recognizer``, and its head if the ``tokens``
    are the same. Scores and additional layers keep their initial values.

    Raises ``WarmStartError``.
    """
    model = _load(init)
    new_tensors = recognizer.state_dict()
    taken = _body(model.recognizer, _whole_layers(init, model.recognizer))
    if _has_same_head(model, recognizer, tokens):
        taken |= _heads(model.recognizer, recognizer)
    if wrong := [name for name, tensor in taken.items() if new_tensors[name].shape != tensor.shape]:
        raise WarmStartError(f"`model.init` must fit this network, but '{init}' does not, e.g. {wrong[0]}.")
    recognizer.load_state_dict(taken, strict=False)


def tokens_at(init: str) -> Tokens:
    """The tokens of the network in ``init``, without its weights. Raises ``WarmStartError``."""
    return _attempt(load_tokens, init)


def _has_same_head(old: Model, new: SupernetCTC, tokens: Tokens) -> bool:
    """Whether ``new`` takes over the head. Raises ``WarmStartError`` if it must, but cannot."""
    before, now = old.recognizer.config.model.head, new.config.model
    if now.init_head == "keep" and before != now.head:
        raise WarmStartError(
            f"`model.head` must be that of `model.init`, '{before.name}', with `model.init_head` 'keep', but "
            "is another one instead."
        )
    return now.init_head != "replace" and old.tokens == tokens and before == now.head


def _body(old: SupernetCTC, layers: tuple[int, ...]) -> dict[str, Tensor]:
    """The tensors of the frontend and the encoder, with ``layers`` renumbered without gaps."""
    numbers = {str(layer): str(i) for i, layer in enumerate(layers)}
    found: dict[str, Tensor] = {}
    for name, tensor in old.state_dict().items():
        if name.startswith(_LAYERS):
            layer, rest = name.removeprefix(_LAYERS).split(".", 1)
            found[f"{_LAYERS}{numbers[layer]}.{rest}"] = tensor
        elif name.startswith(("frontend.", "encoder.")):
            found[name] = tensor
    return found


def _heads(old: SupernetCTC, new: SupernetCTC) -> dict[str, Tensor]:
    """The tensors for each head of ``new``, from the head for that size in ``old``."""
    found: dict[str, Tensor] = {}
    for name in new.heads:
        size = old.sizes[-1] if name == "shared" else int(name)
        before: nn.Module = old.heads[old.head(size)]
        found |= {f"heads.{name}.{key}": tensor for key, tensor in before.state_dict().items()}
    if old.conditioning is not None and new.conditioning is not None:
        found |= {f"conditioning.{key}": tensor for key, tensor in old.conditioning.state_dict().items()}
    return found
