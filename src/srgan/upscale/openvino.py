"""The engine for CPUs: OpenVINO, fp32 and int8."""

from __future__ import annotations

import os
import threading
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from srgan.model import weights as weights_module
from srgan.model.weights import Weights
from srgan.upscale.engine import OutOfMemory, Planes
from srgan.upscale.graph import Part, build
from srgan.upscale.int8 import Form

FLAT = {"CPU_RUNTIME_CACHE_CAPACITY": "0"}
"""Keep nothing for sizes seen before: with 5,000 of them (the default) memory grows by 0.8 MB for each new one."""


class OpenVinoEngine:
    """One generator on the CPU; its graphs are compiled when first used, for any height and width."""

    name = "openvino"

    def __init__(self, weights: Weights, form: Form | None = None, threads: int | None = None) -> None:
        """In int8 where its `form` is given, else in fp32; `threads`: by default one for each core."""
        self.config = weights.config
        # measured with 64 maps at x4: 1,280 and 5,510 bytes a pixel; the rest is for converting the result
        self.body_bytes = 20 * weights.config.width + 20
        self.tail_bytes = (96 * weights.config.width + 400) * weights.config.scale**2 // 16
        self.precision = "fp32" if form is None else "int8"
        self._int8 = None if form is None else form.tensors
        self._tensors = weights_module.fold_batchnorm(weights)
        # Mixtures and users' files are too many to keep.
        self._cacheable = weights.mixed_from is None and weights.name in weights_module.packaged()
        self._core = openvino.Core()
        self._threads = {} if threads is None else {"INFERENCE_NUM_THREADS": threads}
        self._lock = threading.Lock()

    @cached_property
    def _whole(self) -> _Compiled:
        return self._compiled("whole")

    @cached_property
    def _body(self) -> _Compiled:
        return self._compiled("body")

    @cached_property
    def _tail(self) -> _Compiled:
        return self._compiled("tail")

    def run(self, lr_unit: Planes) -> Planes:
        """lr_unit (1,3,H,W) -> sr_signed (1,3,sH,sW)."""
        return self._whole(lr_unit)

    def body(self, lr_unit: Planes) -> Planes:
        """lr_unit (1,3,H,W) -> features (1,width,H,W)."""
        return self._body(lr_unit)

    def tail(self, features: Planes) -> Planes:
        """features (1,width,H,W) -> sr_signed (1,3,sH,sW)."""
        return self._tail(features)

    def release(self) -> None:
        """Give back the memory of activations: graphs are compiled anew when next used."""
        with self._lock:
            for part in ("_whole", "_body", "_tail"):
                self.__dict__.pop(part, None)

    def _compiled(self, part: Part) -> _Compiled:
        model = build(self.config, self._tensors, part, self._int8)
        # Names enter the cache's key; a counter of the process makes the default ones.
        for index, node in enumerate(model.get_ordered_ops()):
            node.friendly_name = f"{node.get_type_name()}_{index}"
        model.output(0).tensor.set_names({"output"})
        settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", **FLAT, **self._threads}
        if self._cacheable and (folder := cache_folder()):
            settings["CACHE_DIR"] = str(folder)
        return _Compiled(self._core.compile_model(model, "CPU", settings), self._lock)


def cache_folder() -> Path | None:
    """Where OpenVINO keeps compiled graphs between runs (0.2 s less each); None where nothing can be written."""
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = root / "srgan" / f"openvino-{openvino.__version__.partition('-')[0]}"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # a home that is read-only, or none
        return None
    return folder if os.access(folder, os.W_OK) else None


class _Compiled:
    """A compiled graph; one call at a time, since each keeps its activations."""

    def __init__(self, model: Any, lock: threading.Lock) -> None:
        self._request = model.create_infer_request()
        self._lock = lock

    def __call__(self, planes: Planes) -> Planes:
        with self._lock:
            try:
                self._request.infer([np.ascontiguousarray(planes)], share_inputs=True)
                return np.array(self._request.get_output_tensor().data, np.float32)
            except MemoryError as error:
                raise OutOfMemory(str(error)) from error
            except RuntimeError as error:
                if any(word in str(error).lower() for word in ("bad_alloc", "allocate", "memory")):
                    raise OutOfMemory(str(error).splitlines()[0]) from error
                raise
