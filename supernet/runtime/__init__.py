"""Recognition on a device with exports of several sizes; needs NumPy and onnxruntime, and no PyTorch."""

from __future__ import annotations

from supernet.runtime.device_recognizer import DeviceRecognizer, Recognition
from supernet.runtime.device_stream import DeviceStream
from supernet.runtime.export_folder import Size

__all__ = ["DeviceRecognizer", "DeviceStream", "Recognition", "Size"]
