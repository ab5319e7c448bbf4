"""The generator as an OpenVINO graph, built straight from its weights: no ONNX file in between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13 as ops

from srgan.architecture import GeneratorConfig, Layer, layers
from srgan.upscaling.engine import trunk_index

Part = Literal["whole", "body", "tail"]
"""The whole network; up to the sub-pixel stages (LR resolution); the sub-pixel stages and after."""


def build(config: GeneratorConfig, tensors: Mapping[str, NDArray[np.float32]], part: Part) -> openvino.Model:
    """A part of the generator with free height and width.

    `tensors` are folded (`weights.fold`). whole: lr_unit (1,3,H,W) -> sr_signed (1,3,sH,sW); body: lr_unit ->
    features (1,width,H,W); tail: features -> sr_signed.
    """
    network = layers(config)
    cut = trunk_index(network)
    if part == "body":
        chosen = network[: cut + 1]
    elif part == "tail":
        chosen = network[cut + 1 :]
    else:
        chosen = network
    entry = network[cut].name if part == "tail" else "input"
    channels = config.width if part == "tail" else config.channels
    node = ops.parameter([1, channels, -1, -1], np.float32, name="input")
    outputs: dict[str, Any] = {entry: node}
    for layer in chosen:
        outputs[layer.name] = _output(layer, outputs, tensors)
    return openvino.Model([outputs[chosen[-1].name]], [node], f"srgan-{part}")


def _output(layer: Layer, outputs: dict[str, Any], tensors: Mapping[str, NDArray[np.float32]]) -> Any:
    source = outputs[layer.source]
    if layer.kind == "conv":
        pad = [layer.kernel // 2] * 2
        node = ops.convolution(
            source, ops.constant(tensors[f"{layer.name}.weight"]), [1, 1], pad, pad, [1, 1]
        )
        return ops.add(node, ops.constant(tensors[f"{layer.name}.bias"].reshape(1, -1, 1, 1)))
    if layer.kind == "prelu":
        return ops.prelu(source, ops.constant(tensors[f"{layer.name}.weight"]))
    if layer.kind == "add":
        return ops.add(source, outputs[layer.other])
    if layer.kind == "shuffle":
        return ops.depth_to_space(source, "depth_first", 2)
    if layer.kind == "tanh":
        return ops.tanh(source)
    return source  # norm: folded into its convolution
