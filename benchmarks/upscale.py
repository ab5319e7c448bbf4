"""`srgan bench upscale`: this package's engines, PyTorch and ONNX Runtime: same weights, same image, in turns."""

from __future__ import annotations

import json
import logging
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from srgan import __version__, flags
from srgan.config import to_mapping
from srgan.errors import UsageError, did_you_mean
from srgan.fs import atomic_write
from srgan.image.metrics import psnr, shave, y_from_image
from srgan.model import weights
from srgan.model.config import multiply_adds
from srgan.model.weights import Weights
from srgan.upscale.engine import Precision
from srgan.upscale.tiled import lr_unit_from_pixels, pixels_from_unit, unit_from_signed

log = logging.getLogger("srgan")

Rgb8 = NDArray[np.uint8]
Run = Callable[[Rgb8], Rgb8]
BASE = "pytorch eager"


def _signed(compute: Callable[[Any], Any]) -> Run:
    """A contestant from a function lr_unit -> sr_signed."""

    def run(lr: Rgb8) -> Rgb8:
        unit = unit_from_signed(compute(lr_unit_from_pixels(lr)))
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
            values: NDArray[np.float32] = generator(lr).contiguous().numpy()
        return values

    return _signed(compute)


def _onnx(weights: Weights, path: Path | None) -> Run:
    """ONNX Runtime on this package's own export."""
    import onnxruntime

    from srgan.export.formats import onnx_model
    from srgan.model.weights import fold_batchnorm

    model = onnx_model(weights.config, fold_batchnorm(weights)).SerializeToString()
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


def _ncnn(weights: Weights, path: Path | None, *, precision: Precision) -> Run | None:
    from srgan.upscale.ncnn import NcnnEngine, devices

    real = any(device.kind != "software" for device in devices())
    return _signed(NcnnEngine(weights, precision).run) if real else None


RIVALS: dict[str, Callable[[Weights, Path | None], Run | None]] = {
    "pytorch eager": _eager,
    "pytorch channels_last": partial(_eager, channels_last=True),
    "onnxruntime": _onnx,
    "srgan pytorch fp32": _engine,
    "srgan openvino fp32": _fp32,
    "srgan openvino int8": _int8,
    "srgan ncnn fp32": partial(_ncnn, precision="fp32"),
    "srgan ncnn fp16": partial(_ncnn, precision="fp16"),
}
"""By name; None where the weights have no such form, or the machine no GPU."""


@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """Measure this package's engines against PyTorch eager and ONNX Runtime, in turns."""

    model: str = "srresnet"
    """A packaged model or a weights file; "random" for random weights."""
    side: int = 256
    """Side of the square LR image that is timed."""
    seconds: float = 60.0
    """How long to measure; every contestant has at least two turns."""
    pictures: Path | None = None
    """Folder of image_SRF_4 pairs (as Set14): scored by each contestant, for the difference in dB."""
    only: tuple[str, ...] = tuple(RIVALS)
    """Contestants."""
    memory: bool = True
    """Measure each contestant's peak memory too, in a process of its own."""
    json: Path | None = None
    """Write the figures here, too."""
    quiet: bool = False
    """Print the table alone."""


@dataclass(kw_only=True)
class Row:
    """One contestant's figures; times in seconds of wall clock per image."""

    name: str
    times: list[float]
    peak_mb: float | None
    levels: int
    """Largest difference of a byte from PyTorch eager in fp32, or from the first contestant."""
    different: float
    """Share of the bytes that differ."""
    psnr_y: float | None
    """Mean over the scored images, dB."""

    @property
    def median(self) -> float:
        return statistics.median(self.times)


def main(argv: list[str]) -> int:
    """Run the bench; the table goes to stdout."""
    settings = flags.parse(BenchSettings, argv, prog="srgan bench upscale")
    flags.check_json(settings.json)
    if unknown := [name for name in settings.only if name not in RIVALS]:
        known = ", ".join(RIVALS)
        raise UsageError(f"there is no contestant '{unknown[0]}' ({known}).{did_you_mean(unknown[0], RIVALS)}")
    generator, path = read_model(settings.model)
    runs = {}
    for name in settings.only:
        if (run := RIVALS[name](generator, path)) is None:
            missing = (
                "these weights have no int8 ranges" if name.endswith("int8") else "there is no real GPU with Vulkan"
            )
            log.warning(f"{name} is left out: {missing}.")
        else:
            runs[name] = run
    if not runs:
        raise UsageError("none of these contestants runs on this machine.")
    lr = _test_image(settings.side)
    rows, rates = measured(runs, lr, settings.seconds)
    rate = statistics.median(rates)
    for row in rows:
        if settings.memory:
            row.peak_mb = peak_memory(row.name, settings.model, settings.side)
        if settings.pictures is not None:
            row.psnr_y = _mean_psnr(runs[row.name], settings.pictures)
    report = _report(rows, rate, generator, settings)
    print(table(report))
    if settings.json is not None:
        atomic_write(settings.json, f"{json.dumps(report, indent=2)}\n".encode())
    return 0


def read_model(model: str) -> tuple[Weights, Path | None]:
    """The weights of a model, or random ones, and where they are."""
    if model == "random":
        from tests.support import random_weights

        return random_weights(), None
    return weights.read(model), weights.find_model(model)


def measured(runs: dict[str, Run], lr: Rgb8, seconds: float) -> tuple[list[Row], list[float]]:
    """Every contestant once per turn, after one turn that does not count; and the matrix-multiply rates (FLOP/s)."""
    results = {name: run(lr) for name, run in runs.items()}
    base = results.get(BASE, next(iter(results.values())))
    rows = []
    for name, sr in results.items():
        off = np.abs(sr.astype(int) - base)
        levels, different = int(off.max()), float((off > 0).mean())
        rows.append(Row(name=name, times=[], peak_mb=None, levels=levels, different=different, psnr_y=None))
    rates: list[float] = []
    began = time.perf_counter()
    while len(rates) < 2 or time.perf_counter() - began < seconds:
        rates.append(matrix_rate())
        for row in rows:
            start = time.perf_counter()
            runs[row.name](lr)
            row.times.append(time.perf_counter() - start)
    return rows, rates


def matrix_rate(side: int = 1536) -> float:
    """FLOP/s of this machine's own float32 matrix product (NumPy's BLAS)."""
    a = np.random.default_rng(0).random((side, side), np.float32)
    np.dot(a, a)
    began = time.perf_counter()
    np.dot(a, a)
    return 2.0 * side**3 / (time.perf_counter() - began)


def table(report: dict[str, Any]) -> str:
    """The figures as a Markdown table."""
    lines = [
        f"{report['side']}x{report['side']} -> x4, {report['model']}, {report['machine']}, "
        f"matrix product {report['matrix_gflops']:.0f} GFLOP/s; levels, bytes and dB against {report['base']}",
        "",
        f"| | median s | spread s | x {report['base']} | MP/s out | peak MB | of the matrix rate | levels | bytes off | dB |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        lost = "-" if row["lost_db"] is None else f"{row['lost_db']:+.4f}"
        peak = "-" if row["peak_mb"] is None else f"{row['peak_mb']:.0f}"
        lines.append(
            f"| {row['name']} | {row['median_s']:.3f} | {row['fastest_s']:.3f} to {row['slowest_s']:.3f} | "
            f"{row['times_base']:.2f} | {row['megapixels_per_s']:.2f} | {peak} | {row['of_matrix_rate']:.0%} | "
            f"{row['levels']} | {row['bytes_off']:.1e} | {lost} |"
        )
    return "\n".join(lines)


def _report(rows: Sequence[Row], rate: float, generator: Weights, settings: BenchSettings) -> dict[str, Any]:
    flop = 2 * sum(multiply_adds(generator.config)) * settings.side**2
    base = next((row for row in rows if row.name == BASE), rows[0])
    scale = generator.config.scale
    return {
        "model": generator.name,
        "base": base.name,
        "sha256": generator.sha256,
        "version": __version__,
        "side": settings.side,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "matrix_gflops": rate / 1e9,
        "rows": [
            {
                "name": row.name,
                "median_s": row.median,
                "fastest_s": min(row.times),
                "slowest_s": max(row.times),
                "turns": len(row.times),
                "times_base": base.median / row.median,
                "megapixels_per_s": (scale * settings.side) ** 2 / 1e6 / row.median,
                "peak_mb": row.peak_mb,
                "of_matrix_rate": flop / row.median / rate,
                "levels": row.levels,
                "bytes_off": row.different,
                "psnr_y": row.psnr_y,
                "lost_db": None if row.psnr_y is None or base.psnr_y is None else row.psnr_y - base.psnr_y,
            }
            for row in rows
        ],
        "settings": to_mapping(settings),
    }


def _test_image(side: int) -> Rgb8:
    """An image with flat parts, edges and noise, the same everywhere."""
    y, x = np.mgrid[:side, :side] / side
    waves = np.stack([np.sin(9 * x + 3 * y), np.sign(np.sin(40 * x * y)), np.cos(25 * y)], axis=2)
    noise = np.random.default_rng(0).normal(0, 0.05, waves.shape)
    return np.clip(127.5 + 100 * (waves + noise), 0, 255).astype(np.uint8)


def _mean_psnr(run: Run, folder: Path) -> float:
    from srgan.image.files import read_rgb8

    values = []
    for path in sorted(folder.glob("*_LR.png")):
        hr = read_rgb8(path.with_name(path.name.replace("_LR", "_HR")))
        values.append(psnr(y_from_image(shave(run(read_rgb8(path)))), y_from_image(shave(hr))))
    return float(np.mean(values))


_CHILD = """
import json, sys
import numpy as np
from benchmarks.upscale import RIVALS, read_model
from benchmarks import peak_resident
name, model, side = json.loads(sys.argv[1])
run = RIVALS[name](*read_model(model))
lr = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
run(lr)
print(peak_resident() or "")
"""


def peak_memory(name: str, model: str, side: int) -> float | None:
    """Peak resident memory, MB, of a fresh process that upscales one image; None where it cannot be known."""
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, json.dumps([name, model, side])],
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout) / 1e6 if done.stdout.strip() else None
