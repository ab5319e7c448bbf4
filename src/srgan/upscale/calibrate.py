"""`python -m srgan.upscale.calibrate`: make the int8 ranges of a generator.

Ranges come from training images. Which convolutions stay in fp32 is chosen on validation images: the fastest of a few
choices that loses little enough.
"""

import dataclasses
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srgan import __version__, flags
from srgan.errors import DataError
from srgan.image.files import find_images, read_rgb8
from srgan.image.metrics import psnr, shave, y_from_image
from srgan.image.resize import cropped, downscaled
from srgan.model import weights as weights_module
from srgan.model.weights import Tensors, Weights
from srgan.upscale import int8
from srgan.upscale.openvino import OpenVinoEngine, convolution_inputs, core
from srgan.upscale.tiled import lr_unit_from_pixels, pixels_from_unit, unit_from_signed

log = logging.getLogger("srgan")

ALLOWED_DROP = 0.03
"""dB of psnr_y on the validation images; below the 0.05 of `int8.MAX_PSNR_DROP`, because other images lose more."""
SAMPLES = 2000
"""Values taken from each activation of each crop, beside its extremes."""
FP32_LAYERS: tuple[tuple[str, ...], ...] = (
    ("head.conv",),
    ("head.conv", "body.0.conv1", "tail.conv"),
    ("head.conv", "body.0.conv1", "up.", "tail.conv"),
)
"""Prefixes of the layers that stay in fp32, the fastest choice first. The head always: 0.7 % of the work, most of the loss."""


@dataclass(frozen=True, kw_only=True)
class CalibrateSettings:
    """What `python -m srgan.upscale.calibrate` does."""

    models: flags.Positional[tuple[str, ...]] = weights_module.packaged()  # noqa: RUF009
    """Packaged models or weights files; default: all packaged models."""
    pictures: Path
    """Folder of training images (high resolution)."""
    validation: Path
    """Folder of validation images (high resolution), such as Kodak24."""
    crops: int = 192
    """LR crops that the ranges come from."""
    side: int = 48
    """Their side in LR pixels."""
    seed: int = 0
    """Chooses the crops."""


def main(argv: list[str]) -> int:
    """Make the ranges, each file beside its weights."""
    description = "Make the int8 ranges of generators."
    settings: CalibrateSettings = flags.parse(
        CalibrateSettings, argv, prog="python -m srgan.upscale.calibrate", description=description
    )
    crops = list(random_crops(settings.pictures, settings.crops, settings.side, settings.seed))
    pairs = [(downscaled(hr), hr) for hr in map(cropped, map(read_rgb8, _images(settings.validation)))]
    for model in settings.models:
        ranges = calibrate(weights_module.read(model), crops, pairs)
        path = int8.path_beside(weights_module.find_model(model))
        int8.write(path, ranges)
        print(f"{path}: loses {ranges.psnr_drop:.4f} dB on {len(pairs)} images; fp32: {ranges.metadata['fp32']}")
    return 0


def random_crops(folder: Path, count: int, side: int, seed: int) -> Iterator[NDArray[np.uint8]]:
    """`count` LR crops (side, side, 3) at random places, spread over the folder's images."""
    paths = _images(folder)
    random = np.random.default_rng(seed)
    order = random.permutation(np.resize(np.arange(len(paths)), count))
    for index in order:
        hr = read_rgb8(paths[index])
        if min(hr.shape[:2]) < 4 * side:
            continue
        top, left = (int(random.integers(0, size - 4 * side + 1)) for size in hr.shape[:2])
        yield downscaled(hr[top : top + 4 * side, left : left + 4 * side])


def calibrate(
    weights: Weights,
    crops: Sequence[NDArray[np.uint8]],
    pairs: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]],
) -> int8.Int8Ranges:
    """The int8 ranges that are fastest among those that lose at most ALLOWED_DROP dB on (lr, hr) pairs."""
    all_ranges = activation_ranges(weights, crops)
    fp32_psnr = mean_psnr(OpenVinoEngine(weights), pairs)
    best: int8.Int8Ranges | None = None
    for fp32_layers in FP32_LAYERS:
        # Measure this choice.
        tensors = {name: value for name, value in all_ranges.items() if not name.startswith(fp32_layers)}
        ranges = int8.Int8Ranges(tensors=tensors, sha256=weights.sha256, psnr_drop=0.0, metadata={})
        psnr_drop = fp32_psnr - mean_psnr(OpenVinoEngine(weights, ranges), pairs)
        log.info("%s: fp32 %s: loses %.4f dB", weights.name, ", ".join(fp32_layers), psnr_drop)
        # Keep the best; stop at the first that is good enough.
        metadata = {
            "model": weights.name,
            "version": __version__,
            "fp32": ", ".join(fp32_layers),
            "calibration": f"{len(crops)} crops",
            "validation": f"{len(pairs)} images",
        }
        if best is None or psnr_drop < best.psnr_drop:
            best = dataclasses.replace(ranges, psnr_drop=round(psnr_drop, 4), metadata=metadata)
        if psnr_drop <= ALLOWED_DROP:
            break
    assert best is not None
    return best


def mean_psnr(engine: OpenVinoEngine, pairs: Sequence[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> float:
    """Mean psnr_y in dB over (lr, hr) pairs, 4 pixels shaved."""
    values = []
    for lr, hr in pairs:
        sr_signed = engine.run(lr_unit_from_pixels(lr))
        sr = pixels_from_unit(unit_from_signed(sr_signed), np.dtype(np.uint8))
        values.append(psnr(y_from_image(shave(sr)), y_from_image(shave(hr))))
    return float(np.mean(values))


def activation_ranges(weights: Weights, crops: Sequence[NDArray[np.uint8]]) -> Tensors:
    """`<conv>.input` of every convolution: the range with the least squared error in 256 levels.

    The last convolution's input keeps its whole range: cutting its ends lost 1 dB on smooth images (docs/log.md). Sums
    stay in fp32: on a CPU this costs nothing, and the residual stream keeps its precision.
    """
    names, model = convolution_inputs(weights.config, weights_module.fold_batchnorm(weights))
    request = core().compile_model(model, "CPU").create_infer_request()
    samples: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    random = np.random.default_rng(0)
    for crop in crops:
        request.infer([lr_unit_from_pixels(crop)])
        for index, name in enumerate(names):
            values = request.get_output_tensor(index).data.reshape(-1)
            extremes = np.array([values.min(), values.max()], np.float32)
            samples[name].append(np.concatenate([values[random.integers(0, values.size, SAMPLES)], extremes]))
    values = {name: np.concatenate(parts) for name, parts in samples.items()}
    return {
        f"{name}.input": whole_range(each) if name == "tail.conv" else best_range(each) for name, each in values.items()
    }


def whole_range(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The range (low, high) of `values`; 0 is a step of 256."""
    return int8.with_zero(min(float(values.min()), 0.0), max(float(values.max()), 0.0))


def best_range(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The range (low, high) that rounds `values` to 256 levels with the least squared error.

    Searches by cutting the ends of the values' own range, one end after the other; 0 stays a step.
    """
    best, least = whole_range(values), np.inf
    for _ in range(2):
        for end in (0, 1):
            ends = best.copy()
            for share in np.linspace(1.0, 0.3, 29):
                candidate = ends.copy()
                candidate[end] *= share
                candidate = int8.with_zero(float(candidate[0]), float(candidate[1]))
                error = _rounding_error(values, candidate)
                if error < least:
                    best, least = candidate, error
    return best


def _rounding_error(values: NDArray[np.float32], ends: NDArray[np.float32]) -> float:
    step = (ends[1] - ends[0]) / 255
    rounded = np.clip(np.rint((values - ends[0]) / step), 0, 255) * step + ends[0]
    return float(np.mean((rounded - values) ** 2))


def _images(folder: Path) -> list[Path]:
    images = find_images(folder)
    if not images:
        raise DataError(f"{folder} holds no images.")
    return images


if __name__ == "__main__":
    from srgan.cli import exit_code_of

    sys.exit(exit_code_of(main, sys.argv[1:]))
