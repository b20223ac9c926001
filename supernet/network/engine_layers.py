"""fairseq2's layers, imported without PyTorch's compiler, which takes longer to import than the layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._compile import _disable_dynamo


def import_engine_layers() -> None:
    """Import fairseq2's layers without PyTorch's compiler, which is imported only when it is needed.

    Their module ``attention_bias`` exempts a function from compilation, with a decorator that imports the
    compiler at once. Importing only the modules that this project uses would not avoid it: attention needs
    ``attention_bias``, and importing any module of ``fairseq2.models.transformer`` runs the imports of the
    package first. Therefore, the decorator that PyTorch uses in its own modules, which waits until the
    function is called, takes the place of ``torch.compiler.disable`` during this one import.
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
