"""Which engine and precision compute these weights on this machine."""

from __future__ import annotations

import ctypes.util
import functools
import importlib.util
import logging
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from srgan.errors import UsageError, WeightsError
from srgan.model.weights import Weights
from srgan.upscale.engine import DeviceLost, Engine, EngineName, OutOfMemory, Precision
from srgan.upscale.int8 import MAX_PSNR_DROP, Int8Ranges, ranges_for

if TYPE_CHECKING:
    from srgan.upscale.ncnn import NcnnEngine

log = logging.getLogger("srgan")

_faults: dict[tuple[int, str], str | None] = {}
"""(device, precision) -> what is wrong with it."""
_faster: dict[Precision, int | None] = {}
"""Precision -> the device that `auto` takes instead of the CPU."""
_choosing = threading.Lock()


def choose_engine(
    weights: Weights,
    engine: EngineName,
    precision: Precision,
    *,
    path: Path | None = None,
    threads: int | None = None,
    cache: bool = False,
    device: int | None = None,
) -> Engine:
    """The engine for these weights on this machine.

    auto: PyTorch where it is installed and sees a GPU; ncnn where it is installed and a GPU upscales a small tile
    right and faster than the CPU; else OpenVINO, in int8 where the weights have int8 ranges that lose little.
    `path`: the weights' file, if they are not packaged. `threads`: of OpenVINO's, by default one for each core.
    `cache`: whether compiled graphs may be kept on disk for later processes. `device`: of ncnn's, by number.
    Raises UsageError, WeightsError, MissingExtra.
    """
    if device is not None and engine != "ncnn":
        raise UsageError("device is the number of a GPU for the engine ncnn; give both.")
    if engine == "auto" and precision in ("auto", "bf16", "fp16") and _sees_gpu():
        engine = "pytorch"
    if engine == "pytorch":
        from srgan.upscale.pytorch import PyTorchEngine

        return PyTorchEngine(weights, precision)
    on_gpu = None
    if engine == "ncnn":
        on_gpu = _trusted_gpu(weights, precision, device)
    elif engine == "auto":
        with _choosing:
            on_gpu = _faster_gpu(weights, precision, path, threads)
    if on_gpu is not None:
        _log_device(on_gpu.device.name, on_gpu.precision)
        return on_gpu
    if precision in ("bf16", "fp16"):
        raise UsageError(f"precision {precision} needs a GPU; on the CPU openvino has fp32 and int8.")
    return _on_cpu(weights, precision, path, threads, cache)


def _on_cpu(
    weights: Weights, precision: Precision, path: Path | None, threads: int | None, cache: bool = False
) -> Engine:
    from srgan.upscale.openvino import OpenVinoEngine

    return OpenVinoEngine(weights, _choose_ranges(weights, precision, path), threads, cache)


@functools.cache
def _log_device(device: str, precision: str) -> None:
    """Log, once in a process, which GPU computes."""
    log.info("computing on %s (ncnn, %s).", device, precision)


def _trusted_gpu(weights: Weights, precision: Precision, device: int | None) -> NcnnEngine:
    """The engine on a Vulkan device, if that upscales a small tile as the CPU does; tried once in a process."""
    from srgan.upscale import ncnn

    engine = ncnn.NcnnEngine(weights, precision, device)
    key = engine.device.index, engine.precision
    if key not in _faults:
        _faults[key] = ncnn.fault_of(engine, _on_cpu(weights, "fp32", None, None))
    if fault := _faults[key]:
        raise UsageError(f"{engine.device.name} cannot be used: {fault}; the engine openvino computes on the CPU.")
    return engine


def _faster_gpu(weights: Weights, precision: Precision, path: Path | None, threads: int | None) -> NcnnEngine | None:
    """The first real GPU that upscales a small tile right, and faster than the CPU; chosen once in a process."""
    if precision in ("int8", "bf16") or not _may_have_vulkan():
        return None
    if precision in _faster:
        index = _faster[precision]
        return None if index is None else _trusted_gpu(weights, precision, index)
    from srgan.upscale import ncnn

    _faster[precision] = None
    on_cpu = _on_cpu(weights, "fp32" if precision == "fp16" else precision, path, threads)
    for device in ncnn.devices():
        if device.kind == "software":
            continue
        try:
            engine = _trusted_gpu(weights, precision, device.index)
            is_faster = ncnn.seconds_of(engine) < ncnn.seconds_of(on_cpu)
        except UsageError as error:
            log.warning("%s", error)
            continue
        except (OutOfMemory, DeviceLost) as error:
            log.warning("%s cannot be used: %s.", device.name, error)
            continue
        if is_faster:
            _faster[precision] = device.index
            return engine
        log.info("%s is slower than the CPU on a small tile and is not used.", device.name)
    return None


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
            f"{weights.name} has no int8 ranges; precision fp32 or auto computes it in fp32. "
            "`scripts/calibrate-int8 FILE --pictures DIR --validation DIR` in a clone of the repository makes them."
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


def _may_have_vulkan() -> bool:
    """Whether ncnn is installed and a GPU's driver may exist; only then are the devices worth 0.2 s to ask for."""
    if importlib.util.find_spec("ncnn") is None:
        return False
    return sys.platform != "linux" or any(Path("/dev/dri").glob("renderD*")) or _may_have_gpu()
