"""What every engine is."""

import abc
import logging
import threading
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from srgan.model.config import GeneratorConfig

log = logging.getLogger("srgan")

EngineName = Literal["auto", "openvino", "pytorch", "ncnn"]
Precision = Literal["auto", "fp32", "bf16", "fp16", "int8"]
Part = Literal["whole", "body", "tail"]
"""The whole network; its body, up to the sub-pixel stages (LR resolution); its tail, from there on."""
Nchw = NDArray[np.float32]
"""(1, C, H, W) float32: lr_unit with 3 channels, features with `config.width`, sr_signed with 3."""


class OutOfMemory(Exception):
    """A tile did not fit; a smaller one may."""


class DeviceLost(Exception):
    """A GPU stopped working; another engine may do it."""


class Engine(abc.ABC):
    """Runs one generator on inputs of any size. Calls from several threads are allowed.

    Where a half-precision result is not finite, the engine warns and computes in fp32 from there on.
    """

    name: str
    precision: str
    device_name: str | None = None
    """Of a GPU."""
    device_memory: int | None = None
    """Bytes that a GPU has for one program, where known."""
    config: GeneratorConfig
    body_bytes: int
    """Bytes held per LR pixel of `body`'s input."""
    tail_bytes: int
    """Bytes held per LR pixel of `tail`'s input."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def run(self, lr_unit: Nchw) -> Nchw:
        """lr_unit (1, 3, H, W) in 0..1 -> sr_signed (1, 3, sH, sW), not clamped. Raises OutOfMemory, DeviceLost."""
        return self._finite("whole", lr_unit)

    def body(self, lr_unit: Nchw) -> Nchw:
        """lr_unit -> features (1, width, H, W): everything before the sub-pixel stages."""
        return self._finite("body", lr_unit)

    def tail(self, features: Nchw) -> Nchw:
        """features -> sr_signed: `tail(body(x))` is `run(x)`."""
        return self._finite("tail", features)

    def _finite(self, part: Part, planes: Nchw) -> Nchw:
        with self._lock:
            result = self._compute(part, planes)
            if self.precision in ("bf16", "fp16") and not np.isfinite(result).all():
                log.warning("%s gives values that are not finite here: computing in fp32.", self.precision)
                self._set_precision("fp32")
                result = self._compute(part, planes)
            return result

    @abc.abstractmethod
    def _compute(self, part: Part, planes: Nchw) -> Nchw:
        """The result of a part; one call at a time. Raises OutOfMemory, DeviceLost."""

    @abc.abstractmethod
    def release(self) -> None:
        """Give back the activations held between calls."""

    def _set_precision(self, precision: str) -> None:
        """Compute in this precision from now on."""
        self.precision = precision
