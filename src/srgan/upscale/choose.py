"""Which engine and precision compute these weights on this machine."""

from __future__ import annotations

import ctypes.util
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

from srgan.errors import UsageError, WeightsError
from srgan.model.weights import Weights
from srgan.upscale.engine import Engine, EngineName, Precision
from srgan.upscale.int8 import MOST_LOST, Form, form_of


def choose(
    weights: Weights,
    engine: EngineName,
    precision: Precision,
    notify: Callable[[str], None],
    path: Path | None = None,
    threads: int | None = None,
) -> Engine:
    """The engine for these weights on this machine. Raises UsageError, MissingExtra.

    auto: PyTorch where it is installed and sees a GPU, else OpenVINO; there int8 where the weights have an int8
    form that loses little, else fp32; a mixture of two models is fp32 unless int8 is asked for.
    `path`: the weights' file, if they are not packaged.
    `threads`: of OpenVINO's, by default one for each core.
    """
    if engine == "auto":
        engine = "pytorch" if precision in ("auto", "bf16", "fp16") and _sees_gpu() else "openvino"
    if engine == "pytorch":
        from srgan.upscale.pytorch import PyTorchEngine

        return PyTorchEngine(weights, precision, notify=notify)
    if precision in ("bf16", "fp16"):
        raise UsageError(f"--precision {precision} needs the pytorch engine and a GPU; openvino has fp32 and int8.")
    from srgan.upscale.openvino import OpenVinoEngine

    return OpenVinoEngine(weights, _form(weights, precision, notify, path), threads)


def _form(weights: Weights, precision: Precision, notify: Callable[[str], None], path: Path | None) -> Form | None:
    """The int8 form to compute with, or None for fp32."""
    if precision == "fp32" or (precision == "auto" and weights.mixed_from is not None):
        return None
    try:
        form = form_of(weights, path)
    except WeightsError as error:
        if precision == "int8":
            raise
        notify(f"computing in fp32: {error}")
        return None
    if precision == "auto":
        return form if form is not None and form.lost <= MOST_LOST else None
    if form is None:
        raise UsageError(
            f"{weights.name} has no int8 form; --precision fp32 or auto computes it in fp32. "
            "`python -m srgan.upscale.calibrate` makes one."
        )
    return form


def _sees_gpu() -> bool:
    if not _may_have_gpu() or importlib.util.find_spec("torch") is None:
        return False
    from srgan.upscale.pytorch import gpu

    return gpu() is not None


def _may_have_gpu() -> bool:
    """Whether it is worth importing torch, which takes seconds, to look: by the drivers' traces alone."""
    if sys.platform == "linux":
        return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists() or Path("/dev/kfd").exists()
    return sys.platform == "darwin" or ctypes.util.find_library("nvcuda") is not None
