"""The engine for any GPU with Vulkan (AMD, Intel, NVIDIA, Apple through MoltenVK): ncnn; and which devices there are."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from srgan.errors import UsageError, missing_extra
from srgan.model.weights import Weights, fold_batchnorm
from srgan.upscale.engine import DeviceLost, Engine, Nchw, OutOfMemory, Precision
from srgan.upscale.ncnn import Network, Part, build_graph

log = logging.getLogger("srgan")

KINDS = ("discrete GPU", "integrated GPU", "virtual GPU", "software")
"""By ncnn's number; software runs on the CPU and is slow."""
TEST_SIDE = 48
"""Of the tile that a device must upscale as the CPU does, in LR pixels."""
ALLOWED_LEVELS = {"fp16": 3.0, "fp32": 1.0}
NO_DEVICE = (
    "there is no GPU with Vulkan here: install your GPU's driver (a software one is Debian's mesa-vulkan-drivers), "
    "or use --engine openvino."
)
_lock = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class Device:
    """A Vulkan device, as ncnn sees it."""

    index: int
    name: str
    kind: str
    memory: int
    """Bytes that may be allocated on it."""
    driver: str


@cache
def devices() -> tuple[Device, ...]:
    """All Vulkan devices of the machine; none without a driver. Raises MissingExtra."""
    if importlib.util.find_spec("ncnn") is None:
        raise missing_extra("gpu", "The engine ncnn")
    with _lock, _quiet():
        import ncnn

        found = []
        for index in range(ncnn.get_gpu_count()):
            info = ncnn.get_gpu_info(index)
            found.append(
                Device(
                    index=index,
                    name=info.device_name(),
                    kind=KINDS[min(info.type(), len(KINDS) - 1)],
                    memory=ncnn.get_gpu_device(index).get_heap_budget() * 1024**2,
                    driver=_version(info.driver_version()),
                )
            )
    return tuple(found)


class NcnnEngine:
    """One generator on a Vulkan device, BatchNorm folded.

    `device`: by default the first that is not software. precision auto: fp16, for what is stored between layers; after
    a result that is not finite, fp32.
    Raises MissingExtra, and UsageError for a device that does not exist or a precision that ncnn has not.
    """

    name = "ncnn"

    def __init__(self, weights: Weights, precision: Precision = "auto", device: int | None = None) -> None:
        if precision not in ("auto", "fp32", "fp16"):
            raise UsageError(f"--precision {precision} needs another engine; ncnn has fp32 and fp16.")
        self.device = _find(device)
        self.device_name: str | None = self.device.name
        self.device_memory: int | None = self.device.memory
        self.config = weights.config
        self.precision = "fp32" if precision == "fp32" else "fp16"
        # In fp32, with the copies of ncnn's Winograd convolutions: estimated from its layers at 64 maps.
        self.body_bytes = 6 * weights.config.width * 4
        self.tail_bytes = 4 * weights.config.width * weights.config.scale**2 * 4
        self._tensors = fold_batchnorm(weights)
        self._networks: dict[Part, Network] = {}
        self._lock = threading.Lock()

    def run(self, lr_unit: Nchw) -> Nchw:
        """lr_unit (1, 3, H, W) -> sr_signed (1, 3, sH, sW). Raises OutOfMemory, DeviceLost."""
        return self._compute("whole", lr_unit)

    def body(self, lr_unit: Nchw) -> Nchw:
        """lr_unit (1, 3, H, W) -> features (1, width, H, W). Raises OutOfMemory, DeviceLost."""
        return self._compute("body", lr_unit)

    def tail(self, features: Nchw) -> Nchw:
        """features (1, width, H, W) -> sr_signed (1, 3, sH, sW). Raises OutOfMemory, DeviceLost."""
        return self._compute("tail", features)

    def release(self) -> None:
        """Give back the device's memory."""
        with self._lock:
            self._networks.clear()

    def _compute(self, part: Part, planes: Nchw) -> Nchw:
        with self._lock:
            result = self._network(part)(planes)
            if self.precision == "fp16" and not np.isfinite(result).all():
                log.warning("fp16 gives values that are not finite here: computing in fp32.")
                self.precision = "fp32"
                self._networks.clear()
                result = self._network(part)(planes)
            return result

    def _network(self, part: Part) -> Network:
        if part not in self._networks:
            graph = build_graph(self.config, self._tensors, part)
            self._networks[part] = Network(graph, device=self.device.index, half=self.precision == "fp16")
        return self._networks[part]


def fault_of(engine: Engine, reference: Engine) -> str | None:
    """What is wrong with an engine's upscaling of one small tile, beside the reference in fp32; None if nothing is.

    Some drivers give black images or values that are no numbers.
    """
    tile = _test_tile()
    try:
        result = engine.run(tile)
    except (OutOfMemory, DeviceLost) as error:
        return str(error)
    if not np.isfinite(result).all():
        return "its results are not finite"
    levels = float(np.abs(np.clip(result, -1, 1) - np.clip(reference.run(tile), -1, 1)).max()) * 127.5
    allowed = ALLOWED_LEVELS[engine.precision]
    return None if levels <= allowed else f"its results are {levels:.0f} levels off those of the CPU"


def _find(index: int | None) -> Device:
    known = devices()
    if not known:
        raise UsageError(NO_DEVICE)
    if index is None:
        return next((device for device in known if device.kind != "software"), known[0])
    if not 0 <= index < len(known):
        raise UsageError(f"there is no device {index}; `srgan info --devices` lists {len(known)}, from 0.")
    return known[index]


def _test_tile() -> Nchw:
    """A slope, an edge and noise, in every colour."""
    y, x = np.mgrid[:TEST_SIDE, :TEST_SIDE] / (TEST_SIDE - 1)
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, (3, TEST_SIDE, TEST_SIDE))
    return np.clip(np.stack([y, x, x > y]) + noise, 0, 1).astype(np.float32)[None]


def seconds_of(engine: Engine) -> float:
    """The shorter of two runs of the test tile, compiled before."""
    engine.run(_test_tile())
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        engine.run(_test_tile())
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _version(number: int) -> str:
    """A version as Vulkan packs it."""
    return f"{number >> 22}.{number >> 12 & 0x3FF}.{number & 0xFFF}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the lines that ncnn writes to stderr about each device."""
    try:
        saved = os.dup(2)
    except OSError:  # stderr is closed
        yield
        return
    try:
        with Path(os.devnull).open("wb") as null:
            os.dup2(null.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
