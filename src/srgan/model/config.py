"""The generator of figure 4 as data, which OpenVINO, ncnn and the exports follow; `generator.py` is the same in PyTorch."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """What a generator is; stored in every weights file and part of its hash."""

    blocks: int = 16
    """Residual blocks, B of figure 4 (1 to 64)."""
    width: int = 64
    """Feature maps of every layer, n64 of figure 4 (1 to 1024)."""
    scale: int = 4
    """Upscaling factor: 4 (two sub-pixel stages) or 2 (one)."""
    channels: int = 3
    """Channels of the image: 3, RGB."""
    slopes: Literal["channel", "layer"] = "channel"
    """PReLU: one learned slope per channel (He et al. 2015) or one per layer."""
    tail: Literal["linear"] = "linear"
    """After the last convolution: nothing. Part of every weights file and of its hash."""

    def __post_init__(self) -> None:
        ranges = {"blocks": (1, 64), "width": (1, 1024)}
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ValueError(f"{name} is a whole number from {low} to {high}, got {value!r}")
        if self.scale not in (2, 4):
            raise ValueError(f"scale is 2 or 4, got {self.scale!r}")
        if self.channels != 3:
            raise ValueError(f"channels is 3 (RGB; grey images are upscaled as RGB), got {self.channels!r}")
        if self.slopes not in ("channel", "layer"):
            raise ValueError(f"slopes is 'channel' or 'layer', got {self.slopes!r}")
        if self.tail != "linear":
            raise ValueError(f"tail is 'linear' (imported generators with a tanh are not supported), got {self.tail!r}")


Kind = Literal["conv", "norm", "prelu", "add", "shuffle"]


class Layer(NamedTuple):
    """One layer: takes the output of `source` ("input" = the image) and, for "add", that of `other` too."""

    kind: Kind
    name: str
    source: str
    inputs: int
    outputs: int
    kernel: int = 1
    bias: bool = False
    other: str = ""


class ReceptiveField(NamedTuple):
    """Radius in LR pixels of what one output pixel depends on: whole network, before the sub-pixel stages, from them on."""

    total: int
    body: int
    tail: int


def generator_layers(config: GeneratorConfig) -> tuple[Layer, ...]:
    """Figure 4, in order of computation. No bias where BatchNorm follows; no tanh at the end."""
    width, layers = config.width, list[Layer]()

    def add(kind: Kind, name: str, source: str, inputs: int = width, outputs: int = width, **more: Any) -> str:
        layers.append(Layer(kind, name, source, inputs, outputs, **more))
        return name

    x = head = add("prelu", "head.act", add("conv", "head.conv", "input", config.channels, kernel=9, bias=True))
    for i in range(config.blocks):
        block = f"body.{i}"
        y = add("norm", f"{block}.bn1", add("conv", f"{block}.conv1", x, kernel=3))
        y = add("prelu", f"{block}.act", y)
        y = add("norm", f"{block}.bn2", add("conv", f"{block}.conv2", y, kernel=3))
        x = add("add", f"{block}.add", y, other=x)
    x = add("add", "trunk.add", add("norm", "trunk.bn", add("conv", "trunk.conv", x, kernel=3)), other=head)
    for i in range(upsampling_stages(config)):
        x = add("conv", f"up.{i}.conv", x, width, 4 * width, kernel=3, bias=True)
        x = add("shuffle", f"up.{i}.shuffle", x, 4 * width, width)
        x = add("prelu", f"up.{i}.act", x)
    add("conv", "tail.conv", x, width, config.channels, kernel=9, bias=True)
    return tuple(layers)


def upsampling_stages(config: GeneratorConfig) -> int:
    """Number of x2 sub-pixel stages."""
    return {2: 1, 4: 2}[config.scale]


def _convolutions(config: GeneratorConfig) -> Iterator[tuple[Layer, int, bool]]:
    """Each convolution, how many of its pixels are one LR pixel's side, and whether it is in the sub-pixel stages or the tail."""
    resolution = 1
    for layer in generator_layers(config):
        if layer.kind == "shuffle":
            resolution *= 2
        elif layer.kind == "conv":
            yield layer, resolution, layer.name.startswith(("up.", "tail."))


def receptive_field(config: GeneratorConfig) -> ReceptiveField:
    """The receptive field: each kernel adds half its width at its own resolution."""
    body = sum(layer.kernel // 2 for layer, _, is_tail in _convolutions(config) if not is_tail)
    tail = sum((layer.kernel // 2) / resolution for layer, resolution, is_tail in _convolutions(config) if is_tail)
    return ReceptiveField(total=math.ceil(body + tail), body=body, tail=math.ceil(tail))


def tensor_shapes(config: GeneratorConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of a weights file, in order, with its shape."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in generator_layers(config):
        if layer.kind == "conv":
            shapes[f"{layer.name}.weight"] = (layer.outputs, layer.inputs, layer.kernel, layer.kernel)
            if layer.bias:
                shapes[f"{layer.name}.bias"] = (layer.outputs,)
        elif layer.kind == "norm":
            for part in ("weight", "bias", "running_mean", "running_var"):
                shapes[f"{layer.name}.{part}"] = (layer.outputs,)
        elif layer.kind == "prelu":
            shapes[f"{layer.name}.weight"] = (layer.outputs if config.slopes == "channel" else 1,)
    return shapes


def trunk_index(layers: tuple[Layer, ...]) -> int:
    """Index of the last layer before the sub-pixel stages."""
    return next(i for i, layer in enumerate(layers) if layer.name == "trunk.add")


def multiply_adds(config: GeneratorConfig) -> tuple[float, float]:
    """Multiply-adds per LR pixel before the sub-pixel stages and from there on."""
    work = {False: 0.0, True: 0.0}
    for layer, resolution, is_tail in _convolutions(config):
        work[is_tail] += layer.kernel**2 * layer.inputs * layer.outputs * resolution**2
    return work[False], work[True]
