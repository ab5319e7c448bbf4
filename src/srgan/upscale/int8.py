"""The int8 form of a generator: the ranges of its activations, which turn the fp32 weights into int8 ones."""

from __future__ import annotations

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
from srgan.model.weights import Weights, find_model, packaged, sort_metadata

FORMAT = "1"
MOST_LOST = 0.05
"""dB of psnr_y: what `--precision auto` gives away for speed at most."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """How to compute a generator in int8.

    `tensors`: for each convolution that is quantised `<conv>.input` (2,), the smallest and largest value that
    enters it. A convolution without one stays in fp32. The weights' own scales (per output channel,
    symmetric) follow from the weights.
    """

    tensors: Mapping[str, NDArray[np.float32]]
    sha256: str
    """Of the weights that it was made from."""
    lost: float
    """dB of psnr_y lost on the validation pictures."""
    metadata: Mapping[str, str]


def path_beside(weights: Path) -> Path:
    """Where the int8 form of a weights file lies."""
    return weights.with_name(f"{weights.stem}.int8.safetensors")


def form_of(weights: Weights, beside: Path | None = None) -> Form | None:
    """The int8 form packaged for these weights, or lying beside their file; None where there is none.

    That of a mixture (`weights.interpolate`) is made from those of both. Raises WeightsError where there is
    one that was made from other weights.
    """
    if weights.mixed_from is not None:
        return _between(weights, weights.mixed_from)
    path = find_model(weights.name) if beside is None and weights.name in packaged() else beside
    if path is None or not path_beside(path).is_file():
        return None
    form = read(path_beside(path))
    if form.sha256 != weights.sha256:
        raise WeightsError(
            f"{path_beside(path)} was made from other weights than {weights.name} "
            f"({form.sha256[:12]}, not {weights.sha256[:12]}); make it again, or use --precision fp32."
        )
    _check(form, weights, path_beside(path))
    return form


def _between(weights: Weights, parents: tuple[Weights, Weights]) -> Form | None:
    """The form of a mixture: what both quantise, each range from the smaller least to the larger largest value.

    Its `lost` is the worse parent's; measured, a mixture loses 0.005 dB more at most.
    """
    first, second = (form_of(parent) for parent in parents)
    if first is None or second is None:
        return None
    tensors = {
        name: np.array([min(low, second.tensors[name][0]), max(high, second.tensors[name][1])], np.float32)
        for name, (low, high) in first.tensors.items()
        if name in second.tensors
    }
    lost = max(first.lost, second.lost)
    return Form(tensors=tensors, sha256=weights.sha256, lost=lost, metadata={"model": weights.name})


def read(path: Path) -> Form:
    """Read an int8 form. Raises WeightsError."""
    try:
        with safetensors.safe_open(path, framework="np") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no iterator)
        if metadata.get("srgan.int8") != FORMAT:
            raise WeightsError(f"{path} is not an int8 form of this version: srgan.int8 is not {FORMAT}.")
        return Form(tensors=tensors, sha256=metadata["sha256"], lost=float(metadata["lost"]), metadata=metadata)
    except (OSError, safetensors.SafetensorError, KeyError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read as an int8 form: {error}.") from error


def write(path: Path, form: Form) -> None:
    """Write an int8 form, atomically."""
    metadata = {
        **form.metadata,
        "srgan.int8": FORMAT,
        "sha256": form.sha256,
        "lost": json.dumps(form.lost),
    }
    tensors = {name: np.ascontiguousarray(form.tensors[name], np.float32) for name in sorted(form.tensors)}
    atomic_write(path, sort_metadata(safetensors.numpy.save(tensors, metadata=metadata)))


def _check(form: Form, weights: Weights, path: Path) -> None:
    """Every tensor has its place and shape, and is finite."""
    convolutions = {layer.name for layer in generator_layers(weights.config) if layer.kind == "conv"}
    for name, tensor in form.tensors.items():
        layer, _, part = name.rpartition(".")
        fits = layer in convolutions and part == "input" and tensor.shape == (2,) and tensor.dtype == np.float32
        if not fits or not np.isfinite(tensor).all() or not tensor[0] < tensor[1]:
            raise WeightsError(f"{path}: the tensor {name} does not fit its generator; the file is damaged.")
