"""The file format of the package `hama`: a table of names, types, shapes and places, then the numbers."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from supernet.encoder_family import PretrainedError

MAGIC = b"HAMAPK\x01\x02"
ALIGNMENT = 16
TYPES = {0: torch.float32, 1: torch.float16}


def is_packed(path: Path) -> bool:
    """Whether ``path`` is a file of this format, according to its first bytes."""
    if not path.is_file():
        return False
    with path.open("rb") as opened:
        return opened.read(len(MAGIC)) == MAGIC


def read_tensors(path: Path) -> Mapping[str, Tensor]:
    """The tensors of a file in single precision, by name. Nothing in it is run.

    Raises:
        PretrainedError: It is no such file, or damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as e:
        raise PretrainedError(f"`model.init` must be readable, but '{path}' is not: {e.strerror}.") from None
    if not content.startswith(MAGIC):
        raise PretrainedError(f"`model.init` must be a file of packed tensors, but '{path}' is not.")
    try:
        return _tensors(content)
    except (struct.error, KeyError, ValueError, RuntimeError, OverflowError):  # sizes, types, names
        raise PretrainedError(
            f"`model.init` must be a whole file of packed tensors, but '{path}' is damaged."
        ) from None


def _tensors(content: bytes) -> dict[str, Tensor]:
    (count,), place = struct.unpack_from("<I", content, len(MAGIC)), len(MAGIC) + 4
    entries = []
    for _ in range(count):
        (length,) = struct.unpack_from("<H", content, place)
        name = content[place + 2 : place + 2 + length].decode()
        kind, dimensions = struct.unpack_from("<BB", content, place + 2 + length)
        shape = struct.unpack_from(f"<{dimensions}I", content, place + 4 + length)
        place += 4 + length + 4 * dimensions
        start, _ = struct.unpack_from("<QQ", content, place)
        place += 16
        entries.append((name, TYPES[kind], shape, start))
    first, numbers = -(-place // ALIGNMENT) * ALIGNMENT, bytearray(content)  # writable, for PyTorch
    found = {}
    for name, kind, shape, start in entries:
        x = torch.frombuffer(numbers, dtype=kind, count=math.prod(shape), offset=first + start)
        found[name] = x.reshape(shape).float()
    return found
