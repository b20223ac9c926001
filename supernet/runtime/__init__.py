"""Recognition on a device with exports of several sizes; needs NumPy and onnxruntime, and no PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supernet.runtime.device_recognizer import DeviceRecognizer, Recognition
    from supernet.runtime.device_stream import DeviceStream
    from supernet.runtime.export_folder import Size

__all__ = ["DeviceRecognizer", "DeviceStream", "Recognition", "Size"]


def __getattr__(name: str) -> object:
    """Import lazily: records of exports are read where there is no NumPy."""
    if name not in __all__:
        raise AttributeError(f"module 'supernet.runtime' has no attribute '{name}'")
    from supernet.runtime import device_recognizer, device_stream

    return getattr(device_stream if name == "DeviceStream" else device_recognizer, name)
