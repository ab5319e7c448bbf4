"""The generator as an ONNX graph, built from its layers without PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from srgan.model.config import GeneratorConfig, Layer, generator_layers
from srgan.model.weights import Tensors, unit_tail

OPSET = 17
"""From 2022: ONNX Runtime 1.12 and later read it, and every converter in use."""
IR_VERSION = 8


def build(config: GeneratorConfig, tensors: Tensors, *, half: bool = False) -> onnx.ModelProto:
    """lr (N, 3, H, W) -> sr (N, 3, sH, sW), both float32 RGB in 0..1, sr clamped; N, H and W free.

    `tensors` are folded (`weights.fold_batchnorm`). `half`: weights and arithmetic in float16 between two casts.
    """
    kind = np.float16 if half else np.float32
    constants = {
        name: value.reshape(-1, 1, 1) if name.endswith(".act.weight") else value
        for name, value in unit_tail(tensors).items()
    }
    nodes, outputs = [], {"input": "lr"}
    if half:
        nodes.append(helper.make_node("Cast", ["lr"], ["lr.half"], to=TensorProto.FLOAT16))
        outputs["input"] = "lr.half"
    for layer in generator_layers(config):
        outputs[layer.name] = outputs[layer.source] if layer.kind == "norm" else layer.name
        if layer.kind != "norm":  # folded into its convolution
            nodes.append(_node(layer, outputs))
    last = generator_layers(config)[-1].name
    if half:
        nodes.append(helper.make_node("Cast", [last], ["sr.float"], to=TensorProto.FLOAT))
        last = "sr.float"
    nodes.append(helper.make_node("Clip", [last, "clip.low", "clip.high"], ["sr"]))
    limits = {"clip.low": np.array(0, np.float32), "clip.high": np.array(1, np.float32)}
    values = {name: value.astype(kind) for name, value in constants.items()} | limits
    return _model(config, nodes, values)


def _node(layer: Layer, outputs: Mapping[str, str]) -> onnx.NodeProto:
    source, weight = outputs[layer.source], f"{layer.name}.weight"
    if layer.kind == "conv":
        pads = [layer.kernel // 2] * 4
        inputs = [source, weight, f"{layer.name}.bias"]
        return helper.make_node("Conv", inputs, [layer.name], layer.name, kernel_shape=[layer.kernel] * 2, pads=pads)
    if layer.kind == "prelu":
        return helper.make_node("PRelu", [source, weight], [layer.name], name=layer.name)
    if layer.kind == "add":
        return helper.make_node("Add", [source, outputs[layer.other]], [layer.name], name=layer.name)
    return helper.make_node("DepthToSpace", [source], [layer.name], layer.name, blocksize=2, mode="CRD")


def _model(config: GeneratorConfig, nodes: list[onnx.NodeProto], values: Mapping[str, NDArray[Any]]) -> onnx.ModelProto:
    lr_shape: list[str | int | None] = ["batch", config.channels, "height", "width"]
    sr_shape = [*lr_shape[:2], f"height_x{config.scale}", f"width_x{config.scale}"]
    lr = helper.make_tensor_value_info("lr", TensorProto.FLOAT, lr_shape)
    sr = helper.make_tensor_value_info("sr", TensorProto.FLOAT, sr_shape)
    constants = [numpy_helper.from_array(value, name) for name, value in values.items()]
    graph = helper.make_graph(nodes, "srgan", [lr], [sr], constants)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="srgan"
    )
    onnx.checker.check_model(model)
    return model
