"""Which engine and precision compute these weights on this machine."""

from __future__ import annotations

import ctypes.util
import importlib.util
import logging
import sys
from pathlib import Path

from srgan.errors import UsageError, WeightsError
from srgan.model.weights import Weights
from srgan.upscale.engine import Engine, EngineName, Precision
from srgan.upscale.int8 import MAX_PSNR_DROP, Int8Ranges, ranges_for

log = logging.getLogger("srgan")


def choose_engine(
    weights: Weights,
    engine: EngineName,
    precision: Precision,
    *,
    path: Path | None = None,
    threads: int | None = None,
    cache: bool = False,
) -> Engine:
    """The engine for these weights on this machine.

    auto: PyTorch where it is installed and sees a GPU, else OpenVINO; there int8 where the weights have int8 ranges
    that lose little, else fp32.
    `path`: the weights' file, if they are not packaged. `threads`: of OpenVINO's, by default one for each core.
    `cache`: whether compiled graphs may be kept on disk for later processes.
    Raises UsageError, WeightsError, MissingExtra.
    """
    if engine == "auto":
        engine = "pytorch" if precision in ("auto", "bf16", "fp16") and _sees_gpu() else "openvino"
    if engine == "pytorch":
        from srgan.upscale.pytorch import PyTorchEngine

        return PyTorchEngine(weights, precision)
    if precision in ("bf16", "fp16"):
        raise UsageError(f"--precision {precision} needs the pytorch engine and a GPU; openvino has fp32 and int8.")
    from srgan.upscale.openvino import OpenVinoEngine

    return OpenVinoEngine(weights, _choose_ranges(weights, precision, path), threads, cache)


def _choose_ranges(weights: Weights, precision: Precision, path: Path | None) -> Int8Ranges | None:
    """The int8 ranges to compute with, or None for fp32."""
    if precision == "fp32":
        return None
    try:
        ranges = ranges_for(weights, path)
    except WeightsError as error:
        if precision == "int8":
            raise
        log.warning("computing in fp32: %s", error)
        return None
    if precision == "auto":
        return ranges if ranges is not None and ranges.psnr_drop <= MAX_PSNR_DROP else None
    if ranges is None:
        raise UsageError(
            f"{weights.name} has no int8 ranges; --precision fp32 or auto computes it in fp32. "
            "`python -m srgan.upscale.calibrate --pictures DIR --validation DIR` makes them."
        )
    return ranges


def _sees_gpu() -> bool:
    if not _may_have_gpu() or importlib.util.find_spec("torch") is None:
        return False
    from srgan.upscale.pytorch import gpu

    return gpu() is not None


def _may_have_gpu() -> bool:
    """Whether a driver's device exists; only then is it worth importing torch, which takes seconds, to look."""
    if sys.platform == "linux":
        return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists() or Path("/dev/kfd").exists()
    return sys.platform == "darwin" or ctypes.util.find_library("nvcuda") is not None
