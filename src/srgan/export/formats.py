"""Each format: build the network, run it in the format's own runtime, write its files with metadata inside."""

import io
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from srgan.errors import UsageError
from srgan.export.parity import Nchw, Run
from srgan.model.config import GeneratorConfig, generator_layers
from srgan.model.weights import Tensors, Weights, fold_batchnorm, unit_tail
from srgan.upscale.int8 import Int8Ranges
from srgan.upscale.ncnn import Network, build_graph

Format = Literal["onnx", "openvino", "torch", "ncnn"]
SUFFIXES = {"onnx": (".onnx",), "openvino": (".xml", ".bin"), "torch": (".pt2",), "ncnn": (".param", ".bin", ".json")}
"""Suffixes of the file that is named, and of those beside it."""
Metadata = Mapping[str, str]
ONNX_OPSET = 17
"""From 2022: ONNX Runtime 1.12 and later read it, and every converter in use."""
ONNX_IR_VERSION = 8


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A network in one format, loaded by the format's own runtime, not yet on disk."""

    run: Run
    """lr_unit (N, 3, H, W) -> sr_unit (N, 3, sH, sW), clamped to 0..1."""
    files: Callable[[Path, Metadata], dict[Path, bytes]]
    """(file to write, metadata) -> contents of that file and of those beside it, in the order to write them."""
    input: str = "lr: float32 (N, 3, H, W), RGB, 0..1"
    output: str = "sr: float32 (N, 3, {s}H, {s}W), RGB, 0..1, clamped"
    """Name, shape and range of what goes in and comes out, for the metadata."""


def convert(format: Format, weights: Weights, *, precision: str, int8_ranges: Int8Ranges | None = None) -> Exported:
    """The network in a format: lr (N, 3, H, W) -> sr (N, 3, sH, sW), float32 RGB in 0..1, clamped; N, H, W free.

    fp16 stores (OpenVINO, ncnn) or also computes (ONNX, PyTorch) in half precision; int8 needs `int8_ranges`. Raises UsageError.
    """
    if precision == "int8" and (format != "openvino" or int8_ranges is None):
        reason = f"the format {format} has fp32 and fp16" if format != "openvino" else "this model has no int8 ranges"
        raise UsageError(f"--precision int8 is not available: {reason}.")
    half = precision == "fp16"
    if format == "openvino":
        return _openvino(weights, half, int8_ranges if precision == "int8" else None)
    return {"onnx": _onnx, "torch": _torch, "ncnn": _ncnn}[format](weights, half)


def _onnx(weights: Weights, half: bool) -> Exported:
    import onnx
    import onnxruntime

    model = onnx_model(weights.config, fold_batchnorm(weights), half=half)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def files(target: Path, metadata: Metadata) -> dict[Path, bytes]:
        onnx.helper.set_model_props(model, dict(metadata))
        return {target: model.SerializeToString()}

    return Exported(run=lambda lr_unit: session.run(["sr"], {"lr": lr_unit})[0], files=files)


def _openvino(weights: Weights, half: bool, int8_ranges: Int8Ranges | None) -> Exported:
    """OpenVINO IR (.xml and .bin): the upscaler's own graph; `half` halves only the stored weights."""
    import openvino

    from srgan.upscale.openvino import core

    model = _openvino_model(weights, int8_ranges)

    def files(target: Path, metadata: Metadata) -> dict[Path, bytes]:
        for key, value in metadata.items():
            model.set_rt_info(value, ["srgan", key.removeprefix("srgan.")])
        with tempfile.TemporaryDirectory() as folder:
            saved = Path(folder) / "model.xml"
            openvino.save_model(model, saved, compress_to_fp16=half)
            # The .bin comes first: a reader that sees the .xml finds its weights.
            return {target.with_suffix(".bin"): saved.with_suffix(".bin").read_bytes(), target: saved.read_bytes()}

    xml = Path("model.xml")
    saved = files(xml, {})
    read = core().read_model(saved[xml], openvino.Tensor(np.frombuffer(saved[xml.with_suffix(".bin")], np.uint8)))
    compiled = core().compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return Exported(run=lambda lr_unit: np.array(compiled(lr_unit)["sr"], np.float32), files=files)


def _torch(weights: Weights, half: bool) -> Exported:
    """A `torch.export` program (.pt2)."""
    import torch

    free = torch.export.Dim.DYNAMIC
    example = torch.zeros(2, weights.config.channels, 16, 24)
    program = torch.export.export(
        unit_module(weights, half=half), (example,), dynamic_shapes={"lr": {0: free, 2: free, 3: free}}
    )

    def files(target: Path, metadata: Metadata) -> dict[Path, bytes]:
        content = io.BytesIO()
        torch.export.save(program, content, extra_files={"srgan.json": json.dumps(dict(metadata), indent=1)})
        return {target: content.getvalue()}

    module = torch.export.load(io.BytesIO(files(Path(), {})[Path()])).module()

    @torch.inference_mode()
    def run(lr_unit: Nchw) -> Nchw:
        sr_unit: Nchw = module(torch.from_numpy(lr_unit)).numpy()
        return sr_unit

    return Exported(run=run, files=files)


def _ncnn(weights: Weights, half: bool) -> Exported:
    """ncnn (.param and .bin; the metadata in .json): one image at a time.

    The graph ends in a ReLU: without it Real-ESRGAN-ncnn-vulkan makes 255 of a value below 0 where the driver's
    conversion to integers wraps. (A Clip is not compiled into that program.)
    """
    graph = build_graph(weights.config, unit_tail(fold_batchnorm(weights)), half=half, relu=True)
    network = Network(graph)
    return Exported(
        run=lambda lr_unit: np.concatenate([network(image[None]) for image in lr_unit]).clip(0, 1),
        files=lambda target, metadata: {
            target.with_suffix(".json"): json.dumps(dict(metadata), indent=1).encode(),
            target.with_suffix(".bin"): graph.weights,
            target: graph.param.encode(),
        },
        # The names are those that such programs ask for.
        input="data: float32 (3, H, W), RGB, 0..1",
        output="output: float32 (3, {s}H, {s}W), RGB, 0..1, clamped at 0, to be clamped at 1",
    )


def unit_module(weights: Weights, *, half: bool) -> Any:
    """The folded generator as a PyTorch module with 0..1 on both sides; `half`: float16 inside."""
    import torch
    from torch import Tensor, nn

    from srgan.model.generator import generator_from_weights

    class UnitGenerator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dtype = torch.float16 if half else torch.float32
            self.generator = generator_from_weights(weights, folded=True).to(self.dtype).requires_grad_(False)

        def forward(self, lr: Tensor) -> Tensor:
            sr_signed: Tensor = self.generator(lr.to(self.dtype)).float()
            return ((sr_signed + 1) / 2).clamp(0, 1)

    return UnitGenerator().eval()


def _openvino_model(weights: Weights, int8_ranges: Int8Ranges | None) -> Any:
    """The upscaler's graph with names, 0..1 on both sides and any batch."""
    import openvino
    from openvino import opset13 as ops

    from srgan.upscale.openvino import build_graph

    int8 = None if int8_ranges is None else int8_ranges.tensors
    inner = build_graph(weights.config, fold_batchnorm(weights), "whole", int8)
    inner.reshape([-1, weights.config.channels, -1, -1])
    lr = inner.get_parameters()[0]
    sr_signed = inner.get_results()[0].input_value(0)
    half = ops.constant(np.float32(0.5))
    sr = ops.clamp(ops.add(ops.multiply(sr_signed, half), half), 0.0, 1.0)
    model = openvino.Model([sr], [lr], "srgan")
    model.inputs[0].tensor.set_names({"lr"})
    model.outputs[0].tensor.set_names({"sr"})
    lr.set_friendly_name("lr")
    return model


def onnx_model(config: GeneratorConfig, tensors: Tensors, *, half: bool = False) -> Any:
    """An `onnx.ModelProto`: lr (N, 3, H, W) -> sr (N, 3, sH, sW), float32 RGB in 0..1, sr clamped; N, H and W free.

    `tensors` are folded (`weights.fold_batchnorm`). `half`: weights and arithmetic in float16 between two casts.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    # Nodes.
    nodes, outputs = [], {"input": "lr"}

    def add(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    if half:
        outputs["input"] = add("Cast", ["lr"], "lr.half", to=TensorProto.FLOAT16)
    for layer in generator_layers(config):
        source, weight = outputs[layer.source], f"{layer.name}.weight"
        if layer.kind == "conv":
            sides = {"kernel_shape": [layer.kernel] * 2, "pads": [layer.kernel // 2] * 4}
            add("Conv", [source, weight, f"{layer.name}.bias"], layer.name, **sides)
        elif layer.kind == "prelu":
            add("PRelu", [source, weight], layer.name)
        elif layer.kind == "add":
            add("Add", [source, outputs[layer.other]], layer.name)
        elif layer.kind == "shuffle":
            add("DepthToSpace", [source], layer.name, blocksize=2, mode="CRD")
        outputs[layer.name] = source if layer.kind == "norm" else layer.name  # a norm is in its convolution
    last = layer.name
    if half:
        last = add("Cast", [last], "sr.float", to=TensorProto.FLOAT)
    add("Clip", [last, "clip.low", "clip.high"], "sr")

    # Constants, then the model.
    constants = {"clip.low": np.array(0, np.float32), "clip.high": np.array(1, np.float32)}
    for name, value in unit_tail(tensors).items():
        slopes = name.endswith(".act.weight")
        constants[name] = (value.reshape(-1, 1, 1) if slopes else value).astype(np.float16 if half else np.float32)
    lr_shape: list[str | int | None] = ["batch", config.channels, "height", "width"]
    sr_shape = [*lr_shape[:2], f"height_x{config.scale}", f"width_x{config.scale}"]
    lr = helper.make_tensor_value_info("lr", TensorProto.FLOAT, lr_shape)
    sr = helper.make_tensor_value_info("sr", TensorProto.FLOAT, sr_shape)
    values = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "srgan", [lr], [sr], values)
    opset = helper.make_opsetid("", ONNX_OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=ONNX_IR_VERSION, producer_name="srgan")
    onnx.checker.check_model(model)
    return model
