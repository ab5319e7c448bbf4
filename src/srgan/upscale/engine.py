"""The contract of an engine."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from srgan.model.config import GeneratorConfig

EngineName = Literal["auto", "openvino", "pytorch", "ncnn"]
Precision = Literal["auto", "fp32", "bf16", "fp16", "int8"]
Nchw = NDArray[np.float32]
"""(1, C, H, W) float32: lr_unit with 3 channels, features with `config.width`, sr_signed with 3."""


class OutOfMemory(Exception):
    """A tile did not fit; a smaller one may."""


class DeviceLost(Exception):
    """A GPU stopped working; another engine may do it."""


class Engine(Protocol):
    """Runs one generator on inputs of any size. Calls from several threads are allowed."""

    name: str
    precision: str
    device_name: str | None
    """Of a GPU."""
    device_memory: int | None
    """Bytes that a GPU has for one program, where known."""
    config: GeneratorConfig
    body_bytes: int
    """Bytes held per LR pixel of `body`'s input."""
    tail_bytes: int
    """Bytes held per LR pixel of `tail`'s input."""

    def run(self, lr_unit: Nchw) -> Nchw:
        """lr_unit (1, 3, H, W) in 0..1 -> sr_signed (1, 3, sH, sW), not clamped. Raises OutOfMemory."""

    def body(self, lr_unit: Nchw) -> Nchw:
        """lr_unit -> features (1, width, H, W): everything before the sub-pixel stages."""

    def tail(self, features: Nchw) -> Nchw:
        """features -> sr_signed: `tail(body(x))` is `run(x)`."""

    def release(self) -> None:
        """Give back the activations held between calls."""
