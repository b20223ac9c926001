"""A stand-in for a GPU that fails wherever the host would wait for a real one.

Tensors on PyTorch's "meta" device have shapes and no values: the GPU of these tests. A dispatch mode sees
every operation, forward and backward, so that copies between it and the host are visible.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch
from fairseq2 import gang
from fairseq2.nn import batch_layout
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import _foreach_utils
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from supernet.system.devices import sent

GPU = torch.device("meta")

READS = {
    "_local_scalar_dense",
    "is_nonzero",
    "equal",
    "nonzero",
    "nonzero_static",
    "masked_select",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "bincount",
    "histc",
    "_ctc_loss",
    "_cudnn_ctc_loss",
    "_use_cudnn_ctc_loss",
}
"""Operations whose kernels for a GPU read its values, or copy lengths to it from unpinned memory."""
COPIES = {"_to_copy", "copy_"}
MAKERS = {torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor, Tensor.new}
"""They copy numbers from memory that is not pinned."""
INDEXING = {Tensor.__getitem__, Tensor.__setitem__}


class Waits(AssertionError):
    """The host would wait for the device."""


class _Calls(TorchFunctionMode):
    """Fails where a call from Python copies numbers to ``GPU``: dispatch modes see the result alone."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in MAKERS and isinstance(result, Tensor) and result.device == GPU:
            raise Waits("a tensor is made from numbers of the host on the device")
        if func in INDEXING and args[0].device == GPU:
            parts = args[1] if isinstance(args[1], tuple) else (args[1],)
            if any(
                isinstance(part, list) or (isinstance(part, Tensor) and part.device != GPU) for part in parts
            ):
                raise Waits("a tensor of the device is indexed by numbers of the host")
        return result


class NeverWaiting(TorchDispatchMode):
    """Fails where the host would wait for ``GPU``, and counts the operations on it that are no views."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: Counter[str] = Counter()
        self._pinned: set[int] = set()
        self._kept: list[Tensor] = []
        self._calls = _Calls()

    def __enter__(self) -> NeverWaiting:
        super().__enter__()  # type: ignore[no-untyped-call]
        self._calls.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        self._calls.__exit__(*error)  # type: ignore[no-untyped-call]
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, func.overloadpacket.__name__
        if name == "is_pinned":
            return args[0].untyped_storage()._cdata in self._pinned
        if name == "_pin_memory":
            return self._pin(args[0])
        if name == "_weight_norm_interface_backward":  # PyTorch has none for tensors without values
            return torch.empty_like(args[1]), torch.empty_like(args[2])
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        result = func(*args, **kwargs)
        made = [x for x in tree_leaves(result) if isinstance(x, Tensor)]
        on_gpu = [x for x in (*given, *made) if x.device == GPU]
        if on_gpu:
            self._check(name, args, kwargs, given, made)
            if not any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns):
                self.operations[name] += 1
        return result

    def _pin(self, tensor: Tensor) -> Tensor:
        pinned = tensor.clone()
        self._pinned.add(pinned.untyped_storage()._cdata)
        self._kept.append(pinned)  # so that no other storage gets its number
        return pinned

    def _check(self, name: str, args: Any, kwargs: Any, given: list[Tensor], made: list[Tensor]) -> None:
        if name in READS or (name == "repeat_interleave" and kwargs.get("output_size") is None):
            raise Waits(f"`{name}` needs values of the device")
        if name in ("index", "index_put_", "_unsafe_index") and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        ):
            raise Waits(f"`{name}` by a mask needs the number of its values")
        host = [x for x in given if x.device.type == "cpu"]
        if name in COPIES:
            self._check_copy(name, args, kwargs, [*host, *(x for x in made if x.device.type == "cpu")])
        elif any(x.ndim for x in host):  # scalars are arguments of a kernel
            raise Waits(f"`{name}` gets tensors of the host and of the device")

    def _check_copy(self, name: str, args: Any, kwargs: Any, host: list[Tensor]) -> None:
        if not host:
            return
        source = args[1] if name == "copy_" else args[0]
        if source.device == GPU:
            raise Waits("values are copied to the host")
        non_blocking = kwargs.get("non_blocking", name == "copy_" and len(args) > 2 and args[2])
        if source.untyped_storage()._cdata not in self._pinned:
            raise Waits("memory that is not pinned is copied to the device")
        if not non_blocking:
            raise Waits("a copy to the device blocks")

    @property
    def num_copies(self) -> int:
        """Of tensors that were pinned."""
        return len(self._pinned)

    @property
    def num_operations(self) -> int:
        return sum(self.operations.values())


def _to_tensor(data: Any, *, dtype: torch.dtype | None = None, device: torch.device) -> Tensor:
    """As fairseq2's for a GPU."""
    return sent(torch.tensor(data, dtype=dtype), device)


@contextmanager
def as_gpu() -> Iterator[None]:
    """Let PyTorch and fairseq2 treat ``GPU`` as they treat "cuda", the only name of a GPU that they know."""
    with pytest.MonkeyPatch.context() as patch:
        for kind in ("fused", "foreach"):
            name = f"_get_{kind}_kernels_supported_devices"
            kinds = [*getattr(_foreach_utils, name)(), GPU.type]
            for module in (sys.modules["torch.optim.optimizer"], _foreach_utils):
                patch.setattr(module, name, partial(list, kinds))
        for module in (batch_layout, gang):
            patch.setattr(module, "to_tensor", _to_tensor)
        yield
