"""Training from a pretrained encoder: the settings that `model.init` determines, and its weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from supernet.encoder_family import Decided, PretrainedError, family_of
from supernet.network.supernet_ctc import SupernetCTC
from supernet.pretrained.places import is_checkpoint
from supernet.pretrained.reading import read_checkpoint
from supernet.runs import warm_start
from supernet.settings.plugins import find_plugin
from supernet.text.tokens import Tokens

Data = dict[str, Any]

USUAL = "wav2vec2"
"""The family of a fairseq2 checkpoint unless `model.encoder` names one."""


def completed(data: Data, problems: list[str]) -> Data:
    """Add the settings that `model.init` determines to ``data``, and contradictions to ``problems``."""
    model = data.get("model")
    if not isinstance(model, Mapping) or model.get("init") is None:
        return data
    init, given = str(model["init"]), model.get("encoder")
    given = {} if not isinstance(given, Mapping) else given
    try:
        if warm_start.is_own(init):
            return warm_start.completed(data, problems)
        if model.get("init_weights") is not None and not Path(init).exists():
            return data  # a saved configuration, complete
        usual = read_checkpoint(Path(init)).family if is_checkpoint(Path(init)) else USUAL
        name, known = given.get("name", usual), {key: given[key] for key in given if key != "name"}
        family = find_plugin("encoder", str(name))
        decided: Decided = family.decide(init, known or None)
    except ValueError as e:  # an unknown family, too
        problems.append(str(e))
        ours = ("init", "init_weights", "encoder", "freeze_frontend_steps")
        return {**data, "model": {name: value for name, value in model.items() if name not in ours}}
    if any(known.get(key, value) != value for key, value in decided.options.items()):
        problems.append(f"`model.init` must be what `model.encoder` describes, but '{init}' is not.")
    problems += [
        f"`model.{name}` must be {value!r} or left out with `model.init`, but is {model[name]!r} instead."
        for name, value in decided.settings.items()
        if model.get(name, value) not in (value, None)
    ]
    encoder = {"name": name, **known, **decided.options}
    result = {**data, "model": {**decided.defaults, **model, **decided.settings, "encoder": encoder}}
    return warm_start.reading(result, family.input)


def begin(recognizer: SupernetCTC, tokens: Tokens) -> None:
    """Give a new ``recognizer`` the weights of its `model.init`, if it has one.

    Raises ``PretrainedError``.
    """
    model = recognizer.config.model
    if model.init is None:
        return
    if model.init_weights is None:
        load_into(recognizer, model.init)
    else:
        warm_start.load_into(recognizer, tokens, model.init)


def load_into(recognizer: SupernetCTC, init: str) -> None:
    """Load the weights of ``init`` into ``recognizer``, built for it. Raises ``PretrainedError``."""
    found = family_of(recognizer.config.model).weights(init)
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
