"""The engine for GPUs: PyTorch on CUDA, MPS or the CPU."""

import torch

from srgan.errors import UsageError
from srgan.fs import first_line
from srgan.model.generator import generator_from_weights
from srgan.model.weights import Weights
from srgan.upscale.engine import Engine, Nchw, OutOfMemory, Part, Precision

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_PARTS = {"whole": "forward", "body": "features", "tail": "upsample"}
"""Of `Generator`."""


def gpu() -> torch.device | None:
    """CUDA, else MPS, else None."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return None


class PyTorchEngine(Engine):
    """One generator, BatchNorm folded. precision auto: fp16 on CUDA, else fp32.

    On an H100 fp16 is within 0.7 levels of fp32 and bf16 within 6 (docs/log.md).
    """

    name = "pytorch"

    def __init__(self, weights: Weights, precision: Precision = "auto", *, device: torch.device | None = None) -> None:
        super().__init__()
        self.config = weights.config
        self.device = device or gpu() or torch.device("cpu")
        self.precision = _choose_precision(precision, self.device)
        size = 4 if self.precision == "fp32" else 2
        # Measured with 64 maps at x4.
        self.body_bytes = 6 * weights.config.width * size
        self.tail_bytes = 3 * weights.config.width * weights.config.scale**2 * size
        self._weights = weights
        self._set_precision(self.precision)

    def release(self) -> None:
        """Give back the memory that torch caches."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        elif self.device.type == "mps":
            torch.mps.empty_cache()

    @torch.inference_mode()
    def _compute(self, part: Part, planes: Nchw) -> Nchw:
        try:
            inputs = torch.tensor(planes).to(self.device, _DTYPES[self.precision])
            outputs = getattr(self._generator, _PARTS[part])(inputs.contiguous(memory_format=self._memory_format))
            result: Nchw = outputs.float().cpu().contiguous().numpy()
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(first_line(error)) from error
        return result

    def _set_precision(self, precision: str) -> None:
        self.precision = precision
        # Channels last is 2.3 times faster on a CPU; Apple's GPUs prefer the other order.
        self._memory_format = torch.contiguous_format if self.device.type == "mps" else torch.channels_last
        generator = generator_from_weights(self._weights, folded=True)
        self._generator = generator.to(self.device, _DTYPES[precision]).to(memory_format=self._memory_format)


def _choose_precision(precision: Precision, device: torch.device) -> str:
    if precision == "int8":
        raise UsageError("precision int8 needs the engine openvino; pytorch has fp32, bf16 and fp16.")
    if precision != "auto":
        return precision
    return "fp16" if device.type == "cuda" else "fp32"
