"""An exported network against its source: run at three unlike sizes, refused beyond a bound."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from srgan.errors import WeightsError
from srgan.model.config import Layer, generator_layers
from srgan.model.weights import BATCH_NORM_EPSILON, Weights

Nchw = NDArray[np.float32]
Run = Callable[[Nchw], Nchw]
"""lr_unit (N, 3, H, W) -> sr_unit (N, 3, sH, sW), clamped."""

SIZES = ((1, 24, 24), (2, 17, 43), (1, 61, 9))
"""(N, H, W): square; odd, wide and two images; odd, tall and narrower than the receptive field."""


BOUNDS = {"fp32": (0.05, 0.005), "fp16": (2.0, 0.25), "int8": (64.0, 2.0)}
"""Allowed differences in levels of 255: the largest, the mean.

Trained generators stay at a hundredth of the first two. The loss of int8 is bounded in dB when its ranges are made."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Largest and mean absolute difference at one size (N, H, W of the LR), in levels of 255."""

    size: tuple[int, int, int]
    largest: float
    mean: float

    def __str__(self) -> str:
        batch, height, width = self.size
        return f"{batch}x{height}x{width}: {self.largest:.2g} at most, {self.mean:.2g} on average"


def reference(weights: Weights) -> Run:
    """The generator as it was trained, with its BatchNorm layers: in NumPy, so that no format needs PyTorch."""

    def run(lr_unit: Nchw) -> Nchw:
        outputs: dict[str, Nchw] = {"input": lr_unit}
        for layer in generator_layers(weights.config):
            prefix = f"{layer.name}."
            tensors = {name.removeprefix(prefix): t for name, t in weights.tensors.items() if name.startswith(prefix)}
            outputs[layer.name] = sr_signed = _layer(layer, outputs, tensors)
        return np.clip((sr_signed + 1) / 2, 0, 1)

    return run


def _layer(layer: Layer, outputs: Mapping[str, Nchw], tensors: Mapping[str, Nchw]) -> Nchw:
    """One layer's output; `tensors`: its own, by their last name."""
    x = outputs[layer.source]
    batch, channels, height, width = x.shape
    if layer.kind == "add":
        return x + outputs[layer.other]
    if layer.kind == "shuffle":
        pixels = x.reshape(batch, channels // 4, 2, 2, height, width).transpose(0, 1, 4, 2, 5, 3)
        return pixels.reshape(batch, channels // 4, 2 * height, 2 * width)
    flat = {name: tensor.reshape(-1, 1, 1) for name, tensor in tensors.items() if tensor.ndim == 1}
    if layer.kind == "prelu":
        return np.where(x > 0, x, flat["weight"] * x)
    if layer.kind == "norm":
        unit: Nchw = (x - flat["running_mean"]) / np.sqrt(flat["running_var"] + np.float32(BATCH_NORM_EPSILON))
        return unit * flat["weight"] + flat["bias"]
    sums = _correlated(x, tensors["weight"])
    return sums + flat["bias"] if "bias" in flat else sums


def _correlated(x: Nchw, kernel: Nchw) -> Nchw:
    """(N, C, H, W) with (O, C, k, k) -> (N, O, H, W), zeros around: a product for each row of the kernel."""
    batch, channels, height, width = x.shape
    outputs, size, reach = kernel.shape[0], kernel.shape[2], kernel.shape[2] // 2
    padded = np.pad(x, ((0, 0), (0, 0), (reach, reach), (reach, reach)))
    rows = np.ascontiguousarray(kernel.transpose(2, 3, 0, 1)).reshape(size, size * outputs, channels)
    total = np.zeros((batch, outputs, height, width), np.float32)
    for i, row in enumerate(rows):
        products = row @ padded[:, :, i : i + height].reshape(batch, channels, -1)
        products = products.reshape(batch, size, outputs, height, -1)
        for j in range(size):
            total += products[:, j, ..., j : j + width]
    return total


def images(size: tuple[int, int, int], seed: int = 0) -> Nchw:
    """Images (N, 3, H, W) in 0..1 with the statistics of photographs: smooth areas, edges and grain."""
    batch, height, width = size
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    planes = np.empty((batch, 3, height, width))
    for plane in planes.reshape(-1, height, width):
        a, b, c = rng.uniform(-4, 4, 3)
        edges = 0.25 * np.sign(np.sin(2 * np.pi * (a * x + b * y) + c))
        plane[:] = 0.5 + 0.2 * np.sin(a * x - b * y + c) + edges + rng.normal(0, 0.02, (height, width))
    return np.clip(planes, 0, 1).astype(np.float32)


def compare(exported: Run, original: Run) -> tuple[Difference, ...]:
    """The differences at each of SIZES. Raises WeightsError when the output has another size."""
    differences = []
    for size in SIZES:
        lr_unit = images(size)
        expected, output = original(lr_unit), exported(lr_unit)
        if output.shape != expected.shape:
            sizes = f"{output.shape} for {lr_unit.shape}, expected {expected.shape}"
            raise WeightsError(f"the exported network returns {sizes}.")
        distance = 255.0 * np.abs(output.astype(np.float64) - expected)
        differences.append(Difference(size=size, largest=float(distance.max()), mean=float(distance.mean())))
    return tuple(differences)


def check(differences: tuple[Difference, ...], precision: str, what: str) -> None:
    """Raise WeightsError when a difference is beyond the precision's bound, or NaN."""
    largest, mean = BOUNDS[precision]
    beyond = [d for d in differences if not (d.largest <= largest and d.mean <= mean)]
    if beyond:
        hint = "" if precision == "fp32" else " Export it as fp32."
        raise WeightsError(
            f"{what} as {precision} is too far from its source and was not written: {beyond[0]} levels of "
            f"255 (allowed: {largest:g} and {mean:g}).{hint}"
        )
