"""What the engine's checkpoints are written and read with. They may come from a stranger: they hold numbers,
texts, lists and tensors, and nothing in them runs.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from fairseq2.gang import Gang
from fairseq2.io import TensorFileDumper, TensorFileDumpOptions, TensorFileLoader, TensorFileLoadOptions
from fairseq2.runtime.dependency import DependencyContainer
from fairseq2.utils.yaml import YamlDumper
from torch import Tensor

from supernet.errors import UserError

_PARTS = {
    "trainer": "rank_*.pt",
    "model": "pp_*/tp_*/sdp_*.pt",
    "optimizer": "pp_*/tp_*/sdp_*.pt",
    "data_reader": "dp_*.pt",
}
_PROTOCOL = 2
"""The newest that PyTorch's restricted unpickler reads."""
_PLAIN = (Tensor, str, int, float, type(None))


class CheckpointError(UserError):
    """A training cannot be continued from a checkpoint."""


class Damaged(CheckpointError):
    """A file of a checkpoint is missing or cut short, as after a full disk or a loss of power."""


class Writer(TensorFileDumper):
    """Writes what ``Reader`` reads."""

    def dump(
        self, data: Mapping[str, object], file: Path, options: TensorFileDumpOptions | None = None
    ) -> None:
        with open(file, "wb") as out:
            torch.save(data, out, pickle_protocol=_PROTOCOL)


class Reader(TensorFileLoader):
    """Reads tensors and plain data, whatever the engine asks for, and knows whether a training is being
    restored.
    """

    def __init__(self) -> None:
        self.restoring: Path | None = None
        """The file that the training is being restored from."""

    def load(self, file: Path, options: TensorFileLoadOptions | None = None) -> dict[str, object]:
        self.restoring = file
        return read(file)

    def end(self) -> None:
        """Everything has been restored."""
        self.restoring = None


class NoYaml(YamlDumper):
    """Writes nothing: the engine would put a configuration of its own over the run's."""

    def dump(self, obj: object, output: Path | IO[str]) -> None: ...


def use(container: DependencyContainer, reader: Reader) -> None:
    """Have the engine write and read with ours; it asks for unrestricted reading of all but the model."""
    ours: dict[type[Any], object] = {TensorFileLoader: reader, TensorFileDumper: Writer()}
    for kls, instance in (ours | {YamlDumper: NoYaml()}).items():
        del container._registrations[kls, None]
        container.register_instance(kls, instance)


def prepare(folder: Path, ranks: Gang) -> str | None:
    """See to it that the newest checkpoint in ``folder`` can be read, on the first rank before all others.

    A damaged one is set aside where an older one is intact; then returns a sentence that says so. Raises
    ``CheckpointError``.
    """
    note = _set_damaged_aside(folder, ranks.size) if ranks.rank == 0 else None
    ranks.barrier()
    return note


def _set_damaged_aside(folder: Path, num_ranks: int) -> str | None:
    damaged: dict[Path, Damaged] = {}
    for step in _newest_first(folder):
        try:
            _check(step, num_ranks)
        except Damaged as e:
            damaged[step] = e
            continue
        for bad in damaged:
            bad.rename(_free(bad.with_name(f"{bad.name}.damaged")))
        reasons = " ".join(map(str, damaged.values()))
        return f"{reasons} The training goes on from the older '{step.name}'." if damaged else None
    if damaged:
        reasons = "\n".join(map(str, damaged.values()))
        raise CheckpointError(f"{reasons}\nThere is no other checkpoint: delete '{folder}' to begin anew.")
    return None


def _free(path: Path) -> Path:
    names = (path.with_name(f"{path.name}{i or ''}") for i in range(1000))
    return next(name for name in names if not name.exists())


def _newest_first(folder: Path) -> list[Path]:
    numbers = {path: re.fullmatch(r"step_(\d{1,18})", path.name) for path in folder.glob("step_*")}
    steps = [(int(found[1]), path) for path, found in numbers.items() if found]
    return [path for _, path in sorted(steps, reverse=True)]


def _check(step: Path, num_ranks: int) -> None:
    """Read every file of a checkpoint. Raises ``CheckpointError``."""
    files = {part: sorted((step / part).glob(pattern)) for part, pattern in _PARTS.items()}
    for part, found in files.items():
        if not found:
            raise Damaged(f"The checkpoint '{step}' is damaged: '{part}' is missing.")
    if len(files["trainer"]) != num_ranks:
        raise CheckpointError(
            f"The training in '{step.parents[1]}' must be continued by as many processes as before, which "
            f"were {len(files['trainer'])}, but there are {num_ranks} now."
        )
    for file in (file for found in files.values() for file in found):
        read(file)


def read(file: Path) -> dict[str, object]:
    """A dictionary of tensors and plain data. Raises ``CheckpointError``, which names the file."""
    if not _is_whole(file):
        raise Damaged(f"The checkpoint '{file}' is damaged: it is cut short.")
    data: object = None
    try:
        if _is_stored(file):
            data = torch.load(file, "cpu", weights_only=True)
        if isinstance(data, dict) and _is_plain([data]):
            return data
    except pickle.UnpicklingError:
        pass
    except Exception as e:  # the restricted unpickler fails in many ways on bytes that are none of ours
        raise Damaged(f"The checkpoint '{file}' is damaged: {_first_line(e)}.") from None
    raise CheckpointError(
        f"The checkpoint '{file}' is not trusted: it holds something else than numbers, texts and tensors. "
        "Nothing in it was run. It is somebody else's, or an earlier version's: delete the folder "
        "'checkpoints' to begin anew."
    )


def _is_whole(file: Path) -> bool:
    """Whether a file is what was written at all: not empty, blank or the first part of an archive."""
    with open(file, "rb") as opened:
        start = opened.read(1 << 16)
    return bool(start.strip(b"\0")) and (not start.startswith(b"PK") or zipfile.is_zipfile(file))


def _is_stored(file: Path) -> bool:
    """Whether a file is an archive as PyTorch writes it, which is not compressed: none grows in memory."""
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())


def _is_plain(values: Iterable[object]) -> bool:
    return all(
        _is_plain([*value.keys(), *value.values()])
        if isinstance(value, dict)
        else _is_plain(value)
        if isinstance(value, (list, tuple))
        else isinstance(value, _PLAIN)
        for value in values
    )


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")
