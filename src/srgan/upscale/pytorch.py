"""The engine for GPUs: PyTorch on CUDA, MPS or the CPU."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from srgan.errors import UsageError
from srgan.model.generator import generator_from_weights
from srgan.model.weights import Weights
from srgan.upscale.engine import Nchw, OutOfMemory, Precision

log = logging.getLogger("srgan")

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def gpu() -> torch.device | None:
    """CUDA, else MPS, else None."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return None


class PyTorchEngine:
    """One generator, BatchNorm folded.

    precision auto: bf16 on a CUDA device that has it, else fp32. Where a half-precision result is not finite, the
    engine warns and computes in fp32 from there on.
    """

    name = "pytorch"
    device_name: str | None = None
    device_memory: int | None = None

    def __init__(self, weights: Weights, precision: Precision = "auto", *, device: torch.device | None = None) -> None:
        self.config = weights.config
        self.device = device or gpu() or torch.device("cpu")
        self.precision = _choose_precision(precision, self.device)
        size = 4 if self.precision == "fp32" else 2
        # Measured with 64 maps at x4.
        self.body_bytes = 6 * weights.config.width * size
        self.tail_bytes = 3 * weights.config.width * weights.config.scale**2 * size
        self._weights = weights
        self._lock = threading.Lock()
        self._set_precision(self.precision)

    def run(self, lr_unit: Nchw) -> Nchw:
        """lr_unit (1, 3, H, W) -> sr_signed (1, 3, sH, sW)."""
        return self._compute(lambda: self._generator, lr_unit)

    def body(self, lr_unit: Nchw) -> Nchw:
        """lr_unit (1, 3, H, W) -> features (1, width, H, W)."""
        return self._compute(lambda: self._generator.features, lr_unit)

    def tail(self, features: Nchw) -> Nchw:
        """features (1, width, H, W) -> sr_signed (1, 3, sH, sW)."""
        return self._compute(lambda: self._generator.upsample, features)

    def release(self) -> None:
        """Give back the memory that torch caches."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        elif self.device.type == "mps":
            torch.mps.empty_cache()

    def _compute(self, part: Callable[[], Callable[[Tensor], Tensor]], planes: Nchw) -> Nchw:
        with self._lock, torch.inference_mode():
            try:
                result = self._forward(part(), planes)
                if self.precision != "fp32" and not np.isfinite(result).all():
                    log.warning("%s gives values that are not finite here: computing in fp32.", self.precision)
                    self._set_precision("fp32")
                    result = self._forward(part(), planes)
                return result
            except torch.OutOfMemoryError as error:
                raise OutOfMemory(str(error).splitlines()[0]) from error

    def _forward(self, part: Callable[[Tensor], Tensor], planes: Nchw) -> Nchw:
        inputs = torch.tensor(planes).to(self.device, _DTYPES[self.precision])
        outputs = part(inputs.contiguous(memory_format=self._memory_format))
        result: Nchw = outputs.float().cpu().contiguous().numpy()
        return result

    def _set_precision(self, precision: str) -> None:
        self.precision = precision
        # Channels last is 2.3 times faster on a CPU; Apple's GPUs prefer the other order.
        self._memory_format = torch.contiguous_format if self.device.type == "mps" else torch.channels_last
        generator = generator_from_weights(self._weights, folded=True)
        self._generator = generator.to(self.device, _DTYPES[precision]).to(memory_format=self._memory_format)


def _choose_precision(precision: Precision, device: torch.device) -> str:
    if precision == "int8":
        raise UsageError("--precision int8 needs --engine openvino; pytorch has fp32, bf16 and fp16.")
    if precision != "auto":
        return precision
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
