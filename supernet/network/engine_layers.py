"""fairseq2's layers without PyTorch's compiler, which takes longer to import than all they need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._compile import _disable_dynamo


def import_engine_layers() -> None:
    """Import fairseq2's layers; the compiler is imported where something is compiled.

    One of their functions is exempt from compilation, by a decorator that imports the compiler at once. While
    they are imported, the decorator that PyTorch uses in its own modules, which waits until the function is
    called, takes its place.
    """
    immediate = torch.compiler.disable
    torch.compiler.disable = _disable
    try:
        import fairseq2.models.transformer  # noqa: F401
    finally:
        torch.compiler.disable = immediate


def _disable(fn: Callable[..., Any] | None = None, recursive: bool = True, *, reason: str = "") -> Any:
    """As ``torch.compiler.disable``, without the reason, which only messages of the compiler show."""
    return _disable_dynamo(fn, recursive)
