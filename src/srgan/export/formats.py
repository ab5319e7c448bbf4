"""Each format: make the file's bytes, run them as its users will, and say so in its metadata."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from srgan.errors import UsageError
from srgan.export.parity import Planes
from srgan.model import weights as weights_module
from srgan.model.weights import Weights
from srgan.upscale.int8 import Form

Format = Literal["onnx", "openvino", "torch"]
Metadata = Mapping[str, str]


class Exported(Protocol):
    """A network in one format, not yet on disk."""

    def run(self, lr_unit: Planes) -> Planes:
        """lr_unit (N, 3, H, W) -> sr_unit (N, 3, sH, sW), clamped, by the format's own runtime."""

    def files(self, target: Path, metadata: Metadata) -> dict[Path, bytes]:
        """What to write at `target` and beside it, with `metadata` inside."""


class Onnx:
    """ONNX, run by ONNX Runtime on the CPU."""

    def __init__(self, weights: Weights, *, half: bool) -> None:
        from srgan.export import onnx_graph

        self._model = onnx_graph.build(weights.config, weights_module.fold_batchnorm(weights), half=half)

    def run(self, lr_unit: Planes) -> Planes:
        import onnxruntime

        if not hasattr(self, "_session"):
            content = self._model.SerializeToString()
            self._session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        sr_unit: Planes = self._session.run(["sr"], {"lr": lr_unit})[0]
        return sr_unit

    def files(self, target: Path, metadata: Metadata) -> dict[Path, bytes]:
        import onnx

        onnx.helper.set_model_props(self._model, dict(metadata))
        return {target: self._model.SerializeToString()}


class OpenVino:
    """OpenVINO IR (.xml and .bin), run by OpenVINO on the CPU; fp16 halves the stored weights alone."""

    def __init__(self, weights: Weights, *, half: bool, form: Form | None) -> None:
        from srgan.export import openvino_graph

        self._model = openvino_graph.build(weights, form)
        self._half = half

    def run(self, lr_unit: Planes) -> Planes:
        import openvino

        if not hasattr(self, "_compiled"):
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
            # the .bin first: whoever sees the .xml finds its weights
            found = {target.with_suffix(".bin"): saved.with_suffix(".bin").read_bytes()}
            return found | {target: saved.read_bytes()}

    def _save(self, path: Path) -> None:
        import openvino

        openvino.save_model(self._model, path, compress_to_fp16=self._half)


class TorchExport:
    """A `torch.export` program (.pt2), run by PyTorch."""

    def __init__(self, weights: Weights, *, half: bool) -> None:
        from srgan.export import torch_module

        self._program: Any = torch_module.exported(weights.config, weights_module.fold_batchnorm(weights), half=half)

    def run(self, lr_unit: Planes) -> Planes:
        import torch

        if not hasattr(self, "_module"):
            self._module = torch.export.load(io.BytesIO(self._bytes({}))).module()
        with torch.inference_mode():
            sr_unit: Planes = self._module(torch.from_numpy(lr_unit)).numpy()
        return sr_unit

    def files(self, target: Path, metadata: Metadata) -> dict[Path, bytes]:
        return {target: self._bytes({"srgan.json": json.dumps(dict(metadata), indent=1)})}

    def _bytes(self, extra: dict[str, str]) -> bytes:
        import torch

        content = io.BytesIO()
        torch.export.save(self._program, content, extra_files=extra)
        return content.getvalue()


def make(format: Format, weights: Weights, *, precision: str, form: Form | None = None) -> Exported:
    """The network in a format; int8 with `form`. Raises UsageError."""
    half = precision == "fp16"
    if precision == "int8" and (format != "openvino" or form is None):
        reason = f"the format {format} has fp32 and fp16" if format != "openvino" else "the model has no int8 form"
        raise UsageError(f"--precision int8 cannot be: {reason}.")
    if format == "onnx":
        return Onnx(weights, half=half)
    if format == "openvino":
        return OpenVino(weights, half=half, form=form if precision == "int8" else None)
    return TorchExport(weights, half=half)
