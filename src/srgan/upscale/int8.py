"""Ranges of a generator's activations, with which its fp32 weights are computed in int8."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from srgan.errors import WeightsError
from srgan.fs import atomic_write
from srgan.model.config import generator_layers
from srgan.model.weights import Tensors, Weights, find_model, packaged, sort_metadata

FORMAT = "1"
MAX_PSNR_DROP = 0.05
"""dB of psnr_y that `--precision auto` gives up for speed at most."""


@dataclass(frozen=True, kw_only=True)
class Int8Ranges:
    """Activation ranges of one generator.

    `tensors`: for each convolution computed in int8 `<conv>.input` (2,), the smallest and largest value of its input.
    A convolution without one is computed in fp32. The scales of the weights (per output channel, symmetric) follow
    from the weights.
    """

    tensors: Tensors
    sha256: str
    """Hash of the weights that they belong to."""
    psnr_drop: float
    """dB of psnr_y lost on the validation images."""
    metadata: Mapping[str, str]


def path_beside(weights: Path) -> Path:
    """Where the int8 ranges of a weights file are stored."""
    return weights.with_name(f"{weights.stem}.int8.safetensors")


def ranges_for(weights: Weights, beside: Path | None = None) -> Int8Ranges | None:
    """The int8 ranges packaged for these weights, or stored beside their file; None where there are none.

    Those of a mixture (`weights.mix`) are made from those of its parts. Raises WeightsError for ranges that belong to
    other weights, or are damaged.
    """
    if weights.mixed_from:
        return _mixed_ranges(weights)
    path = find_model(weights.name) if beside is None and weights.name in packaged() else beside
    if path is None or not path_beside(path).is_file():
        return None
    ranges = read(path_beside(path))
    if ranges.sha256 != weights.sha256:
        raise WeightsError(
            f"{path_beside(path)} was made from other weights than {weights.name} "
            f"({ranges.sha256[:12]}, not {weights.sha256[:12]}); make it again, or use precision fp32."
        )
    # Every tensor belongs to a convolution, has its shape, and is finite.
    convolutions = {layer.name for layer in generator_layers(weights.config) if layer.kind == "conv"}
    for name, tensor in ranges.tensors.items():
        layer, _, part = name.rpartition(".")
        fits = layer in convolutions and part == "input" and tensor.shape == (2,) and tensor.dtype == np.float32
        if not fits or not np.isfinite(tensor).all() or not tensor[0] < tensor[1]:
            raise WeightsError(
                f"{path_beside(path)}: the tensor {name} does not fit its generator; the file is damaged."
            )
    return ranges


def _mixed_ranges(weights: Weights) -> Int8Ranges | None:
    """The ranges of a mixture: its parts' ranges, mixed by the same shares and a tenth wider.

    Of the convolutions that all parts compute in int8. Its `psnr_drop` is the largest of the parts'; measured, mixtures
    lose at most 0.03 dB (a range that holds those of all parts: up to 0.26 dB).
    """
    parts = [(ranges_for(part), share) for part, share in weights.mixed_from]
    known = [(ranges, share) for ranges, share in parts if ranges is not None]
    if len(known) < len(parts):
        return None
    names = set.intersection(*(set(ranges.tensors) for ranges, _ in known))
    tensors = {}
    for name in sorted(names):
        low, high = 1.1 * np.sum([share * ranges.tensors[name].astype(np.float64) for ranges, share in known], axis=0)
        tensors[name] = with_zero(min(float(low), 0.0), max(float(high), 0.0))
    psnr_drop = max(ranges.psnr_drop for ranges, _ in known)
    return Int8Ranges(tensors=tensors, sha256=weights.sha256, psnr_drop=psnr_drop, metadata={"model": weights.name})


def with_zero(low: float, high: float) -> NDArray[np.float32]:
    """The range (2,), shifted a little so that 0, the value of the padding, is one of its 256 levels."""
    step = max((high - low) / 255, 1e-12)
    below = round(-low / step)
    return np.array([-below * step, (255 - below) * step], np.float32)


def read(path: Path) -> Int8Ranges:
    """Read int8 ranges. Raises WeightsError."""
    try:
        with safetensors.safe_open(path, framework="np") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no iterator)
        if metadata.get("srgan.int8") != FORMAT:
            raise WeightsError(f"{path} holds no int8 ranges of this version: srgan.int8 is not {FORMAT}.")
        psnr_drop = float(metadata["psnr_drop"])
        return Int8Ranges(tensors=tensors, sha256=metadata["sha256"], psnr_drop=psnr_drop, metadata=metadata)
    except (OSError, safetensors.SafetensorError, KeyError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read as int8 ranges: {error}.") from error


def write(path: Path, ranges: Int8Ranges) -> None:
    """Write int8 ranges, atomically. Raises OSError."""
    metadata = {
        **ranges.metadata,
        "srgan.int8": FORMAT,
        "sha256": ranges.sha256,
        "psnr_drop": json.dumps(ranges.psnr_drop),
    }
    tensors = {name: np.ascontiguousarray(ranges.tensors[name], np.float32) for name in sorted(ranges.tensors)}
    atomic_write(path, sort_metadata(safetensors.numpy.save(tensors, metadata=metadata)))
