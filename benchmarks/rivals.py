"""The contestants of `srgan bench upscale`: each makes a function from an LR picture to its x4, all in uint8."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srgan.model.weights import Weights
from srgan.upscale.tiled import lr_unit_from_pixels, pixels_from_unit, unit_from_signed

Picture = NDArray[np.uint8]
Run = Callable[[Picture], Picture]


def _signed(compute: Callable[[Any], Any]) -> Run:
    """From a function lr_unit -> sr_signed."""

    def run(lr: Picture) -> Picture:
        unit = unit_from_signed(compute(lr_unit_from_pixels(lr)), grey=False)
        return pixels_from_unit(unit, np.dtype(np.uint8))

    return run


def _eager(weights: Weights, path: Path | None, *, channels_last: bool = False) -> Run:
    """The network that is trained, as PyTorch runs it; in its own memory format, or as an expert would place it."""
    import torch

    from srgan.model.generator import generator_from_weights

    form = torch.channels_last if channels_last else torch.contiguous_format
    generator = generator_from_weights(weights).eval().to(memory_format=form)

    def compute(lr_unit: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            lr = torch.from_numpy(lr_unit).contiguous(memory_format=form)
            found: NDArray[np.float32] = generator(lr).contiguous().numpy()
        return found

    return _signed(compute)


def _onnx(weights: Weights, path: Path | None) -> Run:
    """ONNX Runtime on this package's own export."""
    import onnxruntime

    from srgan.export.onnx_graph import build
    from srgan.model.weights import fold_batchnorm

    model = build(weights.config, fold_batchnorm(weights)).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return _signed(lambda lr_unit: session.run(None, {"lr": lr_unit})[0] * np.float32(2) - np.float32(1))


def _engine(weights: Weights, path: Path | None) -> Run:
    from srgan.upscale.pytorch import PyTorchEngine

    return _signed(PyTorchEngine(weights, "fp32").run)


def _fp32(weights: Weights, path: Path | None) -> Run:
    from srgan.upscale.openvino import OpenVinoEngine

    return _signed(OpenVinoEngine(weights).run)


def _int8(weights: Weights, path: Path | None) -> Run | None:
    from srgan.upscale.int8 import ranges_for
    from srgan.upscale.openvino import OpenVinoEngine

    ranges = ranges_for(weights, path)
    return None if ranges is None else _signed(OpenVinoEngine(weights, ranges).run)


RIVALS: dict[str, Callable[[Weights, Path | None], Run | None]] = {
    "pytorch eager": _eager,
    "pytorch channels_last": partial(_eager, channels_last=True),
    "onnxruntime": _onnx,
    "srgan pytorch fp32": _engine,
    "srgan openvino fp32": _fp32,
    "srgan openvino int8": _int8,
}
"""By name; None where the weights have no such form."""

_CHILD = """
import json, sys
import numpy as np
from srgan.model import weights
from tests.support import random_weights
from benchmarks.rivals import RIVALS
from benchmarks.memory import peak_resident
name, model, side = json.loads(sys.argv[1])
generator = random_weights() if model == "random" else weights.read(model)
run = RIVALS[name](generator, None if model == "random" else weights.find_model(model))
lr = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
run(lr)
print(peak_resident() or "")
"""


def peak_memory(name: str, model: str, side: int) -> float | None:
    """Peak resident memory, MB, of a fresh process that upscales one picture; None where it cannot be known."""
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, json.dumps([name, model, side])],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout) / 1e6 if done.stdout.strip() else None
