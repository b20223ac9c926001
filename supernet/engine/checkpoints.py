"""Reading and writing of the engine's checkpoints. They may come from untrusted sources, so that they contain
only numbers, strings, lists and tensors, and no code in them is ever run.
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
"""The newest protocol that PyTorch's restricted unpickler supports."""
_PLAIN = (Tensor, str, int, float, type(None))


class CheckpointError(UserError):
    """A training cannot be resumed from a checkpoint."""


class Damaged(CheckpointError):
    """A file of a checkpoint is missing or truncated, as after a full disk or a power failure."""


class Writer(TensorFileDumper):
    """Writes files that ``Reader`` can read."""

    def dump(
        self, data: Mapping[str, object], file: Path, options: TensorFileDumpOptions | None = None
    ) -> None:
        with open(file, "wb") as out:
            torch.save(data, out, pickle_protocol=_PROTOCOL)


class Reader(TensorFileLoader):
    """Reads only tensors and plain data, and keeps track of whether a training is being restored."""

    def __init__(self) -> None:
        self.restoring: Path | None = None
        """The file from which the training is being restored. None: it is not being restored."""

    def load(self, file: Path, options: TensorFileLoadOptions | None = None) -> dict[str, object]:
        self.restoring = file
        return read(file)

    def end(self) -> None:
        """End the restoration."""
        self.restoring = None


class NoYaml(YamlDumper):
    """Writes nothing; the engine would overwrite the run's configuration with its own."""

    def dump(self, obj: object, output: Path | IO[str]) -> None: ...


def use(container: DependencyContainer, reader: Reader) -> None:
    """Make the engine use our reader and writers; it would load all files but the model's unrestricted."""
    ours: dict[type[Any], object] = {TensorFileLoader: reader, TensorFileDumper: Writer()}
    for kls, instance in (ours | {YamlDumper: NoYaml()}).items():
        del container._registrations[kls, None]
        container.register_instance(kls, instance)


def prepare(folder: Path, ranks: Gang) -> str | None:
    """Ensure that the newest checkpoint in ``folder`` is readable, renaming damaged ones newer than an intact
    one. Rank 0 does so while the others wait.

    Returns:
        A sentence about the renamed checkpoints, if any.

    Raises:
        CheckpointError: There are only damaged checkpoints, or the newest is of another number of processes.
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
        return f"{reasons} The training resumes from the older '{step.name}'." if damaged else None
    if damaged:
        reasons = "\n".join(map(str, damaged.values()))
        raise CheckpointError(f"{reasons}\nThere is no other checkpoint: delete '{folder}' to start over.")
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
            f"The training in '{step.parents[1]}' must be resumed with as many processes as before, "
            f"{len(files['trainer'])}, but there are {num_ranks} now."
        )
    for file in (file for found in files.values() for file in found):
        read(file)


def read(file: Path) -> dict[str, object]:
    """Read a dictionary of tensors and plain data. Raises ``CheckpointError``, which names the file."""
    if not _is_whole(file):
        raise Damaged(f"The checkpoint '{file}' is damaged: it is truncated.")
    data: object = None
    try:
        if _is_stored(file):
            data = torch.load(file, "cpu", weights_only=True)
        if isinstance(data, dict) and _is_plain([data]):
            return data
    except pickle.UnpicklingError:
        pass
    except Exception as e:  # the restricted unpickler fails in many ways on arbitrary bytes
        raise Damaged(f"The checkpoint '{file}' is damaged: {_first_line(e)}.") from None
    raise CheckpointError(
        f"The checkpoint '{file}' is not trusted: it contains more than numbers, strings and tensors. "
        "No code in it was run. It was written by another program or an earlier version: delete the folder "
        "'checkpoints' to start over."
    )


def _is_whole(file: Path) -> bool:
    """Whether a file is complete: not empty, all zeros or a truncated archive."""
    with open(file, "rb") as opened:
        start = opened.read(1 << 16)
    return bool(start.strip(b"\0")) and (not start.startswith(b"PK") or zipfile.is_zipfile(file))


def _is_stored(file: Path) -> bool:
    """Whether a file is an uncompressed archive, like PyTorch's, which cannot expand in memory."""
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
