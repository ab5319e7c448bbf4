"""The generator as an OpenVINO graph, built straight from its weights: no ONNX file in between."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13 as ops

from srgan.model.config import GeneratorConfig, Layer, generator_layers, trunk_index

Part = Literal["whole", "body", "tail"]
"""The whole network; up to the sub-pixel stages (LR resolution); the sub-pixel stages and after."""
Tensors = Mapping[str, NDArray[np.float32]]


def build(config: GeneratorConfig, tensors: Tensors, part: Part, int8: Tensors | None = None) -> openvino.Model:
    """A part of the generator with free height and width.

    `tensors` are folded (`weights.fold_batchnorm`). whole: lr_unit (1,3,H,W) -> sr_signed (1,3,sH,sW); body: lr_unit ->
    features (1,width,H,W); tail: features -> sr_signed. `int8`: the
    tensors of `srgan.upscale.int8.Form`.
    """
    network = generator_layers(config)
    cut = trunk_index(network) + 1
    channels = config.width if part == "tail" else config.channels
    start = ops.parameter([1, channels, -1, -1], np.float32, name="input")
    graph = _Graph(tensors, int8 or {})
    node = start
    if part != "tail":
        node = graph.body(network[:cut], node)
    if part != "body":
        node = graph.tail(network[cut:], node)
    return openvino.Model([node], [start], f"srgan-{part}")


def inputs_of_convolutions(config: GeneratorConfig, tensors: Tensors) -> tuple[list[str], openvino.Model]:
    """The names of all convolutions, and a graph that gives what enters each, in that order."""
    model = build(config, tensors, "whole")
    entering = {
        node.get_friendly_name(): node.input_value(0)
        for node in model.get_ordered_ops()
        if node.get_type_name() == "Convolution"
    }
    return list(entering), openvino.Model(list(entering.values()), model.get_parameters(), "inputs")


class _Graph:
    """Nodes from layers."""

    def __init__(self, tensors: Tensors, int8: Tensors) -> None:
        self.tensors, self.int8 = tensors, int8

    def body(self, network: Iterable[Layer], start: Any) -> Any:
        """Layer by layer as described; a norm is folded into its convolution."""
        outputs: dict[str, Any] = {"input": start}
        node = start
        for layer in network:
            node = outputs[layer.source]
            if layer.kind == "conv":
                node = self._conv(layer.name, node, self._of(layer, "weight"), self._of(layer, "bias"))
            elif layer.kind == "prelu":
                node = ops.prelu(node, ops.constant(self._of(layer, "weight")))
            elif layer.kind == "add":
                node = ops.add(node, outputs[layer.other])
            outputs[layer.name] = node
        return node

    def tail(self, network: Iterable[Layer], node: Any) -> Any:
        """The sub-pixel stages and what follows, computed where it costs least; the function is the same.

        A PReLU acts before its shuffle, with each slope four times, so that it fuses with the convolution.
        The last shuffle is left out: the convolution after it runs on the unshuffled half-size maps, as 12
        outputs that see 5 x 5 (see `unshuffled`), and only those 3 x 4 are shuffled. Earlier shuffles take
        their channels in the order that memory has them.
        """
        *up, last = (layer for layer in network if layer.kind == "conv")
        slopes = [self._of(layer, "weight") for layer in network if layer.kind == "prelu"]
        for conv, slope in zip(up, slopes, strict=True):
            final = conv is up[-1]
            order = np.arange(conv.outputs) if final else _memory_order(conv.outputs)
            weight, bias = self._of(conv, "weight")[order], self._of(conv, "bias")[order]
            node = self._conv(conv.name, node, weight, bias)
            node = ops.prelu(node, ops.constant(slope if slope.size == 1 else slope.repeat(4)[order]))
            if not final:
                node = ops.depth_to_space(node, "blocks_first", 2)
        node = self._conv(last.name, node, unshuffled(self._of(last, "weight")), self._of(last, "bias").repeat(4))
        node = ops.depth_to_space(node, "depth_first", 2)
        return node

    def _conv(self, name: str, node: Any, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> Any:
        pad = [weight.shape[2] // 2] * 2
        kernel = ops.constant(np.ascontiguousarray(weight))
        if f"{name}.input" in self.int8:
            low, high = self.int8[f"{name}.input"].reshape(2, 1, 1, 1, 1)
            # half of the 8 bits: without VNNI, a CPU adds two products in 16 bits, and more would overflow there
            most = 2 * np.abs(weight).max(axis=(1, 2, 3), keepdims=True)
            node, kernel = _quantised(node, low, high, 256), _quantised(kernel, -most, most, 255)
        node = ops.convolution(node, kernel, [1, 1], pad, pad, [1, 1])
        node.set_friendly_name(name)
        return ops.add(node, ops.constant(bias.reshape(1, -1, 1, 1)))

    def _of(self, layer: Layer, part: str) -> NDArray[np.float32]:
        return self.tensors[f"{layer.name}.{part}"]


def _memory_order(channels: int) -> NDArray[np.intp]:
    """Channels c * 4 + place, as a pixel shuffle takes them, in order of place, then c."""
    return np.arange(channels).reshape(-1, 4).T.reshape(-1)


def _quantised(node: Any, low: NDArray[np.float32], high: NDArray[np.float32], levels: int) -> Any:
    """Rounds to `levels` steps from `low` to `high`; the CPU's compiler turns this into int8 arithmetic."""
    ends = ops.constant(np.ascontiguousarray(low)), ops.constant(np.ascontiguousarray(high))
    return ops.fake_quantize(node, *ends, *ends, levels)


def unshuffled(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """The kernel that, before a x2 shuffle and with its result shuffled, does what `kernel` does after it.

    (O, C, k, k), k odd -> (4 O, 4 C, m, m). Zero padding stays exact: outside is outside in both.
    """
    outputs, inputs, size, _ = kernel.shape
    half = size // 2
    near = -(-half // 2)
    wide = np.zeros((outputs, 2, 2, inputs, 2, 2, 2 * near + 1, 2 * near + 1), np.float32)
    for row, column in np.ndindex(2, 2):
        for i, j in np.ndindex(size, size):
            y, x = row + i - half, column + j - half
            wide[:, row, column, :, y % 2, x % 2, y // 2 + near, x // 2 + near] = kernel[:, :, i, j]
    return wide.reshape(4 * outputs, 4 * inputs, 2 * near + 1, 2 * near + 1)
