"""Networks read from checkpoints of other programs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from supernet.config import Config, ModelConfig, PassesConfig
from supernet.encoder_family import Decided, EncoderFamily, PretrainedError
from supernet.errors import ConfigError, UserError
from supernet.network.huggingface.family import HuggingFaceFamily
from supernet.network.supernet_ctc import SupernetCTC, weights
from supernet.pretrained.checkpoint import Checkpoint
from supernet.pretrained.places import CARD_FAMILY, reader_of
from supernet.pretrained.reading import read_checkpoint
from supernet.runs.model_file import Model
from supernet.settings.plugins import find_plugin, validated
from supernet.text.tokens import Tokens

T = TypeVar("T")

_SHOWN = 5
"""Missing or unknown tensors of which each is listed."""


def open_checkpoint(path: Path, granularity: str = "layer") -> Model:
    """Read a fine-tuned recognizer with its head, vocabulary and features.

    Raises:
        UserError: Everything that is wrong with it, one line per problem.
    """
    if (reader := reader_of(path)) is not None:
        return _of_family(path, reader, granularity)
    checkpoint = read_checkpoint(path)
    problems = list(checkpoint.problems)
    config = checkpoint_config(checkpoint, granularity, problems)
    if config is None:
        raise ConfigError(problems)
    tensors = _tensors(path, checkpoint, config, problems)
    if problems:
        raise ConfigError(problems)
    recognizer = SupernetCTC(config, len(checkpoint.order))
    recognizer.load_state_dict(tensors, strict=False)
    return Model(recognizer.eval(), checkpoint.tokens)


def fingerprint_of(path: Path) -> str:
    """A hash that identifies the weights of a checkpoint. Raises ``UserError`` if it is damaged."""
    if (reader := reader_of(path)) is not None:
        found = hashlib.sha256()
        for name, x in sorted(_asked(reader, lambda family: family.weights(str(path))).items()):
            found.update(name.encode() + x.contiguous().numpy().tobytes())
        return found.hexdigest()[:16]
    checkpoint = read_checkpoint(path)
    if checkpoint.problems:
        raise ConfigError(checkpoint.problems)
    return hash_of(checkpoint.files)


def hash_of(files: Iterable[Path]) -> str:
    """A hash that identifies the contents of ``files``."""
    found = hashlib.sha256()
    for file in files:
        with file.open("rb") as opened:
            while block := opened.read(1 << 20):
                found.update(block)
    return found.hexdigest()[:16]


def family_name(path: Path) -> str:
    """The family of encoders of a checkpoint. Raises ``UserError`` if it cannot be read."""
    return reader_of(path) or read_checkpoint(path).family


def checkpoint_tokens(path: Path) -> Tokens:
    """The tokens of a checkpoint. Raises ``UserError`` if it cannot be read, or has none."""
    if (reader := reader_of(path)) is None:
        return read_checkpoint(path).tokens
    if (tokens := _asked(reader, lambda family: family.tokens(str(path)))) is not None:
        return tokens
    if reader == CARD_FAMILY:
        raise UserError(
            f"'{path}' must be the card of a recognizer, with `model_family` wav2vec2_asr and the file of "
            "its SentencePiece model as `tokenizer`, but is not."
        )
    raise UserError(f"'{path}' must have a head with known tokens, but the encoder '{reader}' finds none.")


def _of_family(path: Path, reader: str, granularity: str) -> Model:
    tokens, problems = checkpoint_tokens(path), list[str]()
    decided: Decided = _asked(reader, lambda family: family.decide(str(path), None))
    if (config := _config(reader, decided, granularity, problems)) is None:
        raise ConfigError(problems)
    recognizer = SupernetCTC(config, len(tokens))
    found = _asked(reader, lambda family: family.weights(str(path)))
    try:
        missing, _ = recognizer.load_state_dict(found, strict=False)
        lost = [name for name in missing if name in weights(recognizer)]
        reason = f"it has no '{lost[0]}'" if lost else ""
    except RuntimeError as e:  # shapes
        reason = " ".join(str(e).split())[:300].rstrip(".")
    if reason:
        raise UserError(f"'{path}' must have the weights of a recognizer, but {reason}.")
    return Model(recognizer.eval(), tokens)


def _asked(reader: str, read: Callable[[type[EncoderFamily[Any]]], T]) -> T:
    """What the family ``reader`` reads; its errors speak of a training."""
    try:
        return read(find_plugin("encoder", reader))
    except PretrainedError as e:
        raise UserError(str(e).replace("`model.init`", "a checkpoint", 1)) from None


def checkpoint_config(checkpoint: Checkpoint, granularity: str, problems: list[str]) -> Config | None:
    """The configuration of the network of ``checkpoint``, with all its units as the only size."""
    family: type[HuggingFaceFamily] = find_plugin("encoder", checkpoint.family)
    try:
        decided = family.settings(checkpoint)
    # The library raises its own exceptions for invalid configurations.
    except Exception as e:
        problems.append(_invalid(checkpoint, e))
        return None
    return _config(checkpoint.family, decided, granularity, problems)


def _config(family: str, decided: Decided, granularity: str, problems: list[str]) -> Config | None:
    settings = {**decided.settings, "encoder": {"name": family, **decided.options}}
    model = validated(ModelConfig, settings, "model.", problems)
    if model is None:
        return None
    data = {"granularity": granularity, "sizes": (model.num_layers * len(model.modules),), "model": model}
    if granularity == "layer":
        data["sizes"] = (model.num_layers,)
    found: Config | None = validated(
        Config, {**data, "passes": PassesConfig(intermediate_weight=0.0)}, "", problems
    )
    return found


def _tensors(path: Path, checkpoint: Checkpoint, config: Config, problems: list[str]) -> dict[str, Tensor]:
    """The tensors for a network of ``config``; what does not fit is added to ``problems``."""
    family: type[HuggingFaceFamily] = find_plugin("encoder", checkpoint.family)
    if (empty := _empty(checkpoint, config, problems)) is None:
        return {}
    try:
        found = family.renamed(checkpoint)
    except (UserError, OSError) as e:
        problems.append(str(e))
        return {}
    if not found:  # its files are missing, which is among the problems already
        return {}
    wanted = {name: x for name, x in empty.state_dict().items() if name in weights(empty)}
    lines = list(
        _differences(path, wanted, found, lambda name: family.original(name, checkpoint.configuration))
    )
    problems += lines[:_SHOWN]
    if (more := len(lines) - _SHOWN) > 0:
        problems.append(f"'{path}' must fit its configuration, but {more} more tensors do not.")
    if not lines and not all(bool(x.isfinite().all()) for x in found.values()):
        problems.append(f"'{path}' must hold finite numbers, but does not.")
    return found


def _empty(checkpoint: Checkpoint, config: Config, problems: list[str]) -> SupernetCTC | None:
    """The network without memory for its tensors."""
    try:
        with torch.device("meta"):
            return SupernetCTC(config, len(checkpoint.order))
    # With arbitrary settings, PyTorch and the library can fail in many ways.
    except Exception as e:
        problems.append(_invalid(checkpoint, e))
        return None


def _invalid(checkpoint: Checkpoint, error: Exception) -> str:
    reason = (" ".join(str(error).split()) or type(error).__name__)[:200].rstrip(".")
    return f"'{checkpoint.name}' must have a valid configuration, but has not: {reason}."


def _differences(
    path: Path, wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], original: Callable[[str], str]
) -> Iterator[str]:
    for name, x in wanted.items():
        if name not in found:
            yield f"'{path}' must have the tensor '{original(name)}', but has not."
        elif found[name].shape != x.shape:
            shapes = f"{list(x.shape)}, but it is {list(found[name].shape)}"
            yield f"'{path}' must have the tensor '{original(name)}' of shape {shapes}."
    for name in found:
        if name not in wanted:
            yield f"'{path}' must have the tensors of its model only, but has '{original(name)}'."
