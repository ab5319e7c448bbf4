"""Each format: build the network, run it in the format's own runtime, write its files with metadata inside."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from srgan.errors import UsageError
from srgan.export.parity import Nchw
from srgan.model.weights import Weights, fold_batchnorm, unit_tail
from srgan.upscale.int8 import Int8Ranges
from srgan.upscale.ncnn import Network, build_graph

Format = Literal["onnx", "openvino", "torch", "ncnn"]
SUFFIXES = {
    "onnx": (".onnx",),
    "openvino": (".xml", ".bin"),
    "torch": (".pt2",),
    "ncnn": (".param", ".bin", ".json"),
}
"""Suffixes of the file that is named, and of those beside it."""
Metadata = Mapping[str, str]


class Exported(Protocol):
    """A network in one format, not yet on disk."""

    input: str = "lr: float32 (N, 3, H, W), RGB, 0..1"
    output: str = "sr: float32 (N, 3, {s}H, {s}W), RGB, 0..1, clamped"
    """Name, shape and range of what goes in and comes out, for the metadata."""

    def run(self, lr_unit: Nchw) -> Nchw:
        """lr_unit (N, 3, H, W) -> sr_unit (N, 3, sH, sW), clamped to 0..1."""

    def files(self, target: Path, metadata: Metadata) -> dict[Path, bytes]:
        """Contents of `target` and of the files beside it."""


def convert(format: Format, weights: Weights, *, precision: str, int8_ranges: Int8Ranges | None = None) -> Exported:
    """The network in a format: lr (N, 3, H, W) -> sr (N, 3, sH, sW), float32 RGB in 0..1, clamped; N, H, W free.

    fp16 stores (OpenVINO, ncnn) or also computes (ONNX, PyTorch) in half precision; int8 needs `int8_ranges`. Raises UsageError.
    """
    half = precision == "fp16"
    if precision == "int8" and (format != "openvino" or int8_ranges is None):
        reason = f"the format {format} has fp32 and fp16" if format != "openvino" else "this model has no int8 ranges"
        raise UsageError(f"--precision int8 is not available: {reason}.")
    if format == "onnx":
        return Onnx(weights, half=half)
    if format == "openvino":
        return OpenVino(weights, half=half, int8_ranges=int8_ranges if precision == "int8" else None)
    if format == "ncnn":
        return Ncnn(weights, half=half)
    return TorchExport(weights, half=half)


class Onnx(Exported):
    """ONNX, run by ONNX Runtime on the CPU."""

    def __init__(self, weights: Weights, *, half: bool) -> None:
        from srgan.export import onnx_graph

        self._model = onnx_graph.build(weights.config, fold_batchnorm(weights), half=half)
        self._session: Any = None

    def run(self, lr_unit: Nchw) -> Nchw:
        import onnxruntime

        if self._session is None:
            content = self._model.SerializeToString()
            self._session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        sr_unit: Nchw = self._session.run(["sr"], {"lr": lr_unit})[0]
        return sr_unit

    def files(self, target: Path, metadata: Metadata) -> dict[Path, bytes]:
        import onnx

        onnx.helper.set_model_props(self._model, dict(metadata))
        return {target: self._model.SerializeToString()}


class OpenVino(Exported):
    """OpenVINO IR (.xml and .bin): the upscaler's own graph; `half` halves only the stored weights."""

    def __init__(self, weights: Weights, *, half: bool, int8_ranges: Int8Ranges | None) -> None:
        self._model = _openvino_model(weights, int8_ranges)
        self._half = half
        self._compiled: Any = None

    def run(self, lr_unit: Nchw) -> Nchw:
        import openvino

        if self._compiled is None:
            with tempfile.TemporaryDirectory() as folder:
                self._save(Path(folder) / "model.xml")
                settings = {"INFERENCE_PRECISION_HINT": "f32"}
                self._compiled = openvino.Core().compile_model(Path(folder) / "model.xml", "CPU", settings)
        return np.array(self._compiled(lr_unit)["sr"], np.float32)

    def files(self, target: Path, metadata: Metadata) -> dict[Path, bytes]:
        for key, value in metadata.items():
            self._model.set_rt_info(value, ["srgan", key.removeprefix("srgan.")])
        with tempfile.TemporaryDirectory() as folder:
            saved = Path(folder) / "model.xml"
            self._save(saved)
            # The .bin comes first: a reader that sees the .xml finds its weights.
            return {
                target.with_suffix(".bin"): saved.with_suffix(".bin").read_bytes(),
                target: saved.read_bytes(),
            }

    def _save(self, path: Path) -> None:
        import openvino

        openvino.save_model(self._model, path, compress_to_fp16=self._half)


class TorchExport(Exported):
    """A `torch.export` program (.pt2), run by PyTorch."""

    def __init__(self, weights: Weights, *, half: bool) -> None:
        import torch

        free = torch.export.Dim.DYNAMIC
        example = torch.zeros(2, weights.config.channels, 16, 24)
        self._program = torch.export.export(
            unit_module(weights, half=half), (example,), dynamic_shapes={"lr": {0: free, 2: free, 3: free}}
        )
        self._module: Any = None

    def run(self, lr_unit: Nchw) -> Nchw:
        import torch

        if self._module is None:
            self._module = torch.export.load(io.BytesIO(self._bytes({}))).module()
        with torch.inference_mode():
            sr_unit: Nchw = self._module(torch.from_numpy(lr_unit)).numpy()
        return sr_unit

    def files(self, target: Path, metadata: Metadata) -> dict[Path, bytes]:
        return {target: self._bytes({"srgan.json": json.dumps(dict(metadata), indent=1)})}

    def _bytes(self, extra: dict[str, str]) -> bytes:
        import torch

        content = io.BytesIO()
        torch.export.save(self._program, content, extra_files=extra)
        return content.getvalue()


class Ncnn(Exported):
    """ncnn (.param and .bin; the metadata in .json): one image at a time.

    The graph ends in a ReLU: without it Real-ESRGAN-ncnn-vulkan makes 255 of a value below 0 where the driver's
    conversion to integers wraps. (A Clip is not compiled into that program.)
    """

    # The names are those that such programs ask for.
    input = "data: float32 (3, H, W), RGB, 0..1"
    output = "output: float32 (3, {s}H, {s}W), RGB, 0..1, clamped at 0, to be clamped at 1"

    def __init__(self, weights: Weights, *, half: bool) -> None:
        self._graph = build_graph(weights.config, unit_tail(fold_batchnorm(weights)), half=half, relu=True)
        self._network: Network | None = None

    def run(self, lr_unit: Nchw) -> Nchw:
        self._network = self._network or Network(self._graph)
        return np.concatenate([self._network(image[None]) for image in lr_unit]).clip(0, 1)

    def files(self, target: Path, metadata: Metadata) -> dict[Path, bytes]:
        return {
            target.with_suffix(".json"): json.dumps(dict(metadata), indent=1).encode(),
            target.with_suffix(".bin"): self._graph.weights,
            target: self._graph.param.encode(),
        }


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
