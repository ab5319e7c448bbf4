"""`python -m srgan.upscale.calibrate`: make the int8 form of a generator.

Ranges come from training pictures; which convolutions stay in fp32 is chosen on validation
pictures: the fastest of a few choices that loses less than what is allowed.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino
from numpy.typing import NDArray

from srgan import __version__, flags
from srgan.errors import DataError
from srgan.image.files import SUFFIXES, read_rgb8
from srgan.image.metrics import psnr, shave, y_from_image
from srgan.image.resize import cropped, downscaled
from srgan.model import weights as weights_module
from srgan.model.weights import Tensors, Weights
from srgan.upscale import colour, graph, int8
from srgan.upscale.openvino import OpenVinoEngine

ALLOWED = 0.04
"""dB of psnr_y on the validation pictures; below the 0.05 of `int8.MOST_LOST`, for other pictures lose more."""
SAMPLES = 2000
"""Values that are looked at of each activation of each crop, beside its extremes."""
CHOICES: tuple[tuple[str, ...], ...] = (
    ("head.conv",),
    ("head.conv", "tail.conv"),
    ("head.conv", "up.", "tail.conv"),
)
"""What stays in fp32, by beginnings of names; the fastest first. The head always: 0.7 % of the work, most of the loss."""


@dataclass(frozen=True, kw_only=True)
class QuantiseSettings:
    """What making an int8 form needs."""

    models: flags.Positional[tuple[str, ...]] = weights_module.packaged()  # noqa: RUF009
    """Packaged models or weights files; default: all packaged models."""
    pictures: Path
    """Folder of training pictures (high resolution)."""
    validation: Path
    """Folder of validation pictures (high resolution), as Kodak24."""
    crops: int = 48
    """LR crops that the ranges are taken from."""
    side: int = 48
    """Their side in LR pixels."""
    seed: int = 0
    """Chooses the crops."""


def main(argv: list[str]) -> int:
    """Make the forms, each beside its weights."""
    description = "Make the int8 form of generators."
    settings: QuantiseSettings = flags.parse(
        QuantiseSettings, argv, prog="python -m srgan.upscale.calibrate", description=description
    )
    crops = list(calibration(settings.pictures, settings.crops, settings.side, settings.seed))
    pairs = [(downscaled(hr), hr) for hr in map(cropped, map(read_rgb8, _pictures(settings.validation)))]
    for model in settings.models:
        weights = weights_module.read(model)
        form = quantised(weights, crops, pairs)
        path = int8.path_beside(weights_module.find_model(model))
        int8.write(path, form)
        print(f"{path}: loses {form.lost:.4f} dB on {len(pairs)} pictures; fp32: {form.metadata['fp32']}")
    return 0


def calibration(folder: Path, count: int, side: int, seed: int) -> Iterator[NDArray[np.uint8]]:
    """`count` LR crops (side, side, 3) from as many of the folder's pictures as there are, at random."""
    paths = _pictures(folder)
    random = np.random.default_rng(seed)
    order = random.permutation(np.resize(np.arange(len(paths)), count))
    for index in order:
        hr = read_rgb8(paths[index])
        if min(hr.shape[:2]) < 4 * side:
            continue
        top, left = (int(random.integers(0, size - 4 * side + 1)) for size in hr.shape[:2])
        yield downscaled(hr[top : top + 4 * side, left : left + 4 * side])


def quantised(
    weights: Weights,
    crops: Sequence[NDArray[np.uint8]],
    pairs: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]],
) -> int8.Form:
    """The int8 form that is fastest among those that lose at most ALLOWED dB on (lr, hr) pairs."""
    everything = statistics(weights, crops)
    exact = mean_psnr(OpenVinoEngine(weights), pairs)
    best: int8.Form | None = None
    for kept in CHOICES:
        tensors = {name: value for name, value in everything.items() if not name.startswith(kept)}
        form = int8.Form(tensors=tensors, sha256=weights.sha256, lost=0.0, metadata={})
        lost = exact - mean_psnr(OpenVinoEngine(weights, form), pairs)
        print(f"{weights.name}: fp32 {', '.join(kept)}: loses {lost:.4f} dB", file=sys.stderr)
        metadata = {
            "model": weights.name,
            "version": __version__,
            "fp32": ", ".join(kept),
            "calibration": f"{len(crops)} crops",
            "validation": f"{len(pairs)} pictures",
        }
        if best is None or lost < best.lost:
            best = dataclasses.replace(form, lost=round(lost, 4), metadata=metadata)
        if lost <= ALLOWED:
            break
    assert best is not None
    return best


def mean_psnr(engine: OpenVinoEngine, pairs: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> float:
    """Mean psnr_y in dB over (lr, hr) pairs, 4 pixels shaved."""
    found = []
    for lr, hr in pairs:
        signed = engine.run(colour.planes_from_pixels(lr))
        sr = colour.pixels_from_unit(colour.unit_from_signed(signed, grey=False), np.dtype(np.uint8))
        found.append(psnr(y_from_image(shave(sr)), y_from_image(shave(hr))))
    return float(np.mean(found))


def statistics(weights: Weights, crops: Sequence[NDArray[np.uint8]]) -> Tensors:
    """`<conv>.input` of every convolution: the range with the least squared error in 256 levels.

    Sums stay in fp32: on a CPU they cost nothing there, and the residual stream keeps its precision.
    """
    names, model = graph.inputs_of_convolutions(weights.config, weights_module.fold_batchnorm(weights))
    request = openvino.Core().compile_model(model, "CPU").create_infer_request()
    seen: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    random = np.random.default_rng(0)
    for crop in crops:
        request.infer([colour.planes_from_pixels(crop)])
        for index, name in enumerate(names):
            values = request.get_output_tensor(index).data.reshape(-1)
            extremes = np.array([values.min(), values.max()], np.float32)
            seen[name].append(np.concatenate([values[random.integers(0, values.size, SAMPLES)], extremes]))
    found = {f"{name}.input": best_range(np.concatenate(parts)) for name, parts in seen.items()}
    return found


def best_range(values: NDArray[np.float32], levels: int = 256) -> NDArray[np.float32]:
    """The range (low, high) that rounds `values` to `levels` steps with the least squared error.

    Searched by cutting the ends of the values' own range, one end after the other; 0 stays a step.
    """
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    best, least = _with_zero(low, high, levels), np.inf
    for _ in range(2):
        for end in (0, 1):
            ends = best.copy()
            for share in np.linspace(1.0, 0.3, 29):
                tried = ends.copy()
                tried[end] *= share
                tried = _with_zero(float(tried[0]), float(tried[1]), levels)
                error = _rounding_error(values, tried, levels)
                if error < least:
                    best, least = tried, error
    return best


def _with_zero(low: float, high: float, levels: int) -> NDArray[np.float32]:
    """The range moved a little so that 0, which padding brings, is one of the steps."""
    step = max((high - low) / (levels - 1), 1e-12)
    below = round(-low / step)
    return np.array([-below * step, (levels - 1 - below) * step], np.float32)


def _rounding_error(values: NDArray[np.float32], ends: NDArray[np.float32], levels: int) -> float:
    step = (ends[1] - ends[0]) / (levels - 1)
    rounded = np.clip(np.rint((values - ends[0]) / step), 0, levels - 1) * step + ends[0]
    return float(np.mean((rounded - values) ** 2))


def _pictures(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not found:
        raise DataError(f"{folder} holds no pictures.")
    return found


if __name__ == "__main__":
    from srgan.cli import guarded

    sys.exit(guarded(main, sys.argv[1:]))
