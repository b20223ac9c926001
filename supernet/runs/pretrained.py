"""Training from a pretrained encoder: the settings that `model.init` determines, and its weights."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from supernet.audio.features import LOG_MEL_80MS
from supernet.config import ModelConfig
from supernet.encoder_family import Decided, PretrainedError, family_of
from supernet.network.supernet_ctc import SupernetCTC
from supernet.pretrained.places import CARD_FAMILY, is_checkpoint, reader_of
from supernet.pretrained.reading import read_checkpoint
from supernet.runs import warm_start
from supernet.runs.checkpoint_model import family_name, hash_of
from supernet.settings.plugins import find_plugin
from supernet.text.tokens import Tokens

Data = dict[str, Any]

_OURS = (
    "init",
    "init_weights",
    "init_checkpoint",
    "init_head",
    "encoder",
    "freeze_frontend_steps",
    "freeze_layers",
    "freeze_layers_steps",
    "lora_rank",
)
"""Settings that make no sense without a usable `model.init`."""

_HEAD, _CTC = "heads.shared.", "ctc"


def completed(data: Data, problems: list[str]) -> Data:
    """Add the settings that `model.init` or `model.subsampling` determines to ``data``, and contradictions to
    ``problems``.
    """
    model = data.get("model")
    if not isinstance(model, Mapping) or model.get("init") is None:
        is_coarse = isinstance(model, Mapping) and model.get("subsampling") == 8
        return warm_start.reading(data, LOG_MEL_80MS.name) if is_coarse else data
    init, given = str(model["init"]), model.get("encoder")
    given = {} if not isinstance(given, Mapping) else given
    try:
        if warm_start.is_own(init):
            return warm_start.completed(data, problems)
        if model.get("init_weights") is not None and not Path(init).exists():
            return data  # a saved configuration, complete
        usual = family_name(Path(init)) if is_checkpoint(Path(init)) else CARD_FAMILY
        name, known = given.get("name", usual), {key: given[key] for key in given if key != "name"}
        family = find_plugin("encoder", str(name))
        decided: Decided = family.decide(init, known or None)
        keeps = model.get("init_head", "auto") != "replace" and Path(init).exists()
        tokens: Tokens | None = family.tokens(init) if keeps else None
    except ValueError as e:  # an unknown family, too
        problems += str(e).splitlines()
        return {**data, "model": {name: value for name, value in model.items() if name not in _OURS}}
    if any(known.get(key, value) != value for key, value in decided.options.items()):
        problems.append(f"`model.init` must be what `model.encoder` describes, but '{init}' is not.")
    problems += [
        f"`model.{name}` must be {value!r} or left out with `model.init`, but is {model[name]!r} instead."
        for name, value in decided.settings.items()
        if model.get(name, value) not in (value, None)
    ]
    encoder = {"name": name, **known, **decided.options}
    more = {**decided.settings, "encoder": encoder, **_fingerprint(init, model, problems)}
    result = {**data, "model": {**decided.defaults, **model, **more}}
    return warm_start.reading(result, family.input, "as-is" if tokens is None else tokens.case)


def _fingerprint(init: str, model: Mapping[str, Any], problems: list[str]) -> Data:
    """The setting that identifies the weights of a checkpoint, unless reading them all would be slow."""
    path = Path(init)
    if not is_checkpoint(path) or reader_of(path) is not None:
        return {}
    files = tuple(file for file in read_checkpoint(path).files if file.is_file())  # shards may be missing
    found = _hash_of(files, tuple((file.stat().st_mtime_ns, file.stat().st_size) for file in files))
    if (given := model.get("init_checkpoint")) not in (None, found):
        problems.append(
            f"`model.init` must have the weights `model.init_checkpoint` ({given}), but '{init}' has changed "
            f"and now has {found}. Leave out `model.init_checkpoint` to start from its current weights."
        )
    return {"init_checkpoint": found}


@lru_cache(maxsize=8)
def _hash_of(files: tuple[Path, ...], states: tuple[tuple[int, int], ...]) -> str:
    """Cached because a study needs it for each of its trainings."""
    return hash_of(files)


def tokens_of(model: ModelConfig, wanted: Tokens) -> Tokens:
    """The tokens of a training on a corpus with the tokens ``wanted``: those of `model.init` if it keeps its
    head.

    Raises ``PretrainedError``.
    """
    is_foreign = model.init_weights is None and model.head.name == _CTC
    if model.init is None or model.init_head == "replace" or (model.init_head == "auto" and not is_foreign):
        return wanted
    theirs = _theirs(model)
    if model.init_head == "keep":
        if theirs is None:
            raise PretrainedError(
                f"`model.init_head` must be 'replace' with '{model.init}', which has no head with known "
                "tokens, but is 'keep' instead."
            )
        return theirs
    return theirs if theirs is not None and theirs.spells(wanted) else wanted


def _theirs(model: ModelConfig) -> Tokens | None:
    """The tokens of `model.init`. None: it has no head."""
    init = str(model.init)
    return family_of(model).tokens(init) if model.init_weights is None else warm_start.tokens_at(init)


def said(model: ModelConfig, tokens: Tokens) -> str:
    """A description of the head with which a training with ``tokens`` starts, for the user."""
    head, theirs = "a new head", None if model.init_head == "replace" else _theirs(model)
    if theirs == tokens:
        head = "its head"
    elif theirs is not None:
        head += ", because its tokens differ"
        if lost := sorted(set(tokens.symbols) - set(theirs.symbols)):
            head += f": {', '.join(map(repr, lost[:5]))} {'is' if len(lost) == 1 else 'are'} not among them"
    return f"starts from {model.init}, with {head}"


def begin(recognizer: SupernetCTC, tokens: Tokens) -> None:
    """Give a new ``recognizer`` the weights of its `model.init`, if it has one.

    Raises ``PretrainedError``.
    """
    model = recognizer.config.model
    if model.init is None:
        return
    if model.init_weights is None:
        load_into(recognizer, tokens, model.init)
    else:
        warm_start.load_into(recognizer, tokens, model.init)


def load_into(recognizer: SupernetCTC, tokens: Tokens, init: str) -> None:
    """Load the weights of the checkpoint ``init`` into ``recognizer``, which is built for it: all, with the
    head if it is for the same ``tokens``.

    Raises ``PretrainedError``.
    """
    model = recognizer.config.model
    found = dict(family_of(model).weights(init))
    head = {name: found.pop(name) for name in [*found] if name.startswith(_HEAD)}
    if model.head.name == _CTC and model.init_head != "replace" and _theirs(model) == tokens:
        for name in recognizer.heads:
            found |= {f"heads.{name}.{key.removeprefix(_HEAD)}": x for key, x in head.items()}
    try:
        missing, unexpected = recognizer.load_state_dict(found, strict=False)
        lost = [*unexpected, *(name for name in missing if name.startswith(("frontend.", "encoder.")))]
        reason = f"e.g. {lost[0]}" if lost else ""
    except RuntimeError as e:  # shapes
        reason = " ".join(str(e).split())[:300]
    if reason:
        raise PretrainedError(
            f"`model.init` must have weights that fit its configuration, but '{init}' does not: {reason}"
        )
