"""The engine for any GPU with Vulkan (AMD, Intel, NVIDIA, Apple through MoltenVK): ncnn graphs, and which devices there are."""

import contextlib
import importlib.util
import logging
import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from srgan.errors import UsageError, missing_extra
from srgan.model.config import GeneratorConfig, Layer, generator_layers, trunk_index
from srgan.model.weights import Tensors, Weights, fold_batchnorm
from srgan.upscale.engine import DeviceLost, Engine, Nchw, OutOfMemory, Part, Precision

log = logging.getLogger("srgan")

MAGIC = "7767517"
HALF_TAG = 0x01306B47
"""Before a kernel stored in float16; 0 stands before one in float32."""
NO_MEMORY = -100
"""What ncnn returns where an allocation failed."""
LAYERS = {"conv": "Convolution", "prelu": "PReLU", "add": "BinaryOp", "shuffle": "PixelShuffle"}


class Graph(NamedTuple):
    """The contents of `.param` and `.bin`."""

    param: str
    weights: bytes


def build_graph(
    config: GeneratorConfig, tensors: Tensors, part: Part = "whole", *, half: bool = False, relu: bool = False
) -> Graph:
    """A part of the generator: the whole, its body up to the sub-pixel stages, or its tail from there on.

    Blob `data` in, blob `output` out; `tensors` are folded (`weights.fold_batchnorm`). `half`: kernels in float16;
    `relu`: nothing below 0 in the output.
    """
    layers, cut = generator_layers(config), trunk_index(generator_layers(config)) + 1
    layers = {"whole": layers, "body": layers[:cut], "tail": layers[cut:]}[part]
    # What each layer writes; a norm is folded into its convolution.
    blobs = {layers[0].source: "data"}
    for layer in layers:
        blobs[layer.name] = blobs[layer.source] if layer.kind == "norm" else layer.name
    blobs[layers[-1].name] = "output"
    nodes = [layer for layer in layers if layer.kind != "norm"]
    readers = Counter(blobs[source] for layer in nodes for source in _sources(layer))
    # A blob has one reader in ncnn; for more of them, a Split makes copies.
    lines, content, unread = list[str](), list[bytes](), dict[str, list[str]]()

    def add(kind: str, name: str, sources: list[str], output: str, options: str = "") -> None:
        lines.append(f"{kind} {name} {len(sources)} 1 {' '.join([*sources, output])} {options}".rstrip())
        unread[output] = [output]
        if (count := readers[output]) > 1:
            unread[output] = [f"{output}_{index}" for index in range(count)]
            lines.append(f"Split {output}_split 1 {count} {' '.join([output, *unread[output]])}")

    add("Input", "input.1", [], "data")
    for layer in nodes:
        sources = [unread[blobs[source]].pop(0) for source in _sources(layer)]
        options = _options(layer, tensors) + (" 9=1" if relu and layer is nodes[-1] else "")
        add(LAYERS[layer.kind], layer.name, sources, blobs[layer.name], options)
        content.append(_content(layer, tensors, half))
    blob_count = sum(int(line.split()[3]) for line in lines)
    return Graph("\n".join([MAGIC, f"{len(lines)} {blob_count}", *lines, ""]), b"".join(content))


def _sources(layer: Layer) -> list[str]:
    return [layer.source, layer.other] if layer.kind == "add" else [layer.source]


def _options(layer: Layer, tensors: Tensors) -> str:
    """A layer's numbers, by ncnn's keys."""
    if layer.kind == "conv":
        size = tensors[f"{layer.name}.weight"].size
        return f"0={layer.outputs} 1={layer.kernel} 4={layer.kernel // 2} 5=1 6={size}"
    if layer.kind == "prelu":
        return f"0={tensors[f'{layer.name}.weight'].size}"
    return "0=2" if layer.kind == "shuffle" else "0=0"


def _content(layer: Layer, tensors: Tensors, half: bool) -> bytes:
    """A layer's weights: a kernel after its tag, padded to 4 bytes; then, or alone, float32."""
    if layer.kind not in ("conv", "prelu"):
        return b""
    weight = tensors[f"{layer.name}.weight"]
    if layer.kind == "prelu":
        return weight.astype("<f4").tobytes()
    kernel = weight.astype("<f2" if half else "<f4").tobytes()
    tag = (HALF_TAG if half else 0).to_bytes(4, "little")
    return tag + kernel + bytes(-len(kernel) % 4) + tensors[f"{layer.name}.bias"].astype("<f4").tobytes()


class Network:
    """A graph loaded into ncnn: on the CPU in fp32, or on a Vulkan device, there stored in fp16 if wanted."""

    def __init__(self, graph: Graph, *, device: int | None = None, half: bool = False) -> None:
        import ncnn

        self._net = ncnn.Net()
        options: Any = self._net.opt
        options.use_vulkan_compute = device is not None
        options.use_fp16_packed = options.use_fp16_storage = half
        options.use_fp16_arithmetic = False  # sums in float32
        options.use_bf16_packed = options.use_bf16_storage = False
        if device is not None:
            self._net.set_vulkan_device(device)
        with tempfile.TemporaryDirectory() as folder:
            param, content = Path(folder) / "model.param", Path(folder) / "model.bin"
            param.write_text(graph.param)
            content.write_bytes(graph.weights)
            if self._net.load_param(str(param)) or self._net.load_model(str(content)):
                raise DeviceLost("ncnn could not load the network")
        # ncnn switches off, without an error, what the device cannot do.
        if device is not None and not options.use_vulkan_compute:
            raise DeviceLost("ncnn has switched Vulkan off for it")
        self.half = bool(options.use_fp16_packed or options.use_fp16_storage)

    def __call__(self, planes: Nchw) -> Nchw:
        """(1, C, H, W) -> (1, C', sH, sW). Raises OutOfMemory, DeviceLost."""
        import ncnn

        extractor = self._net.create_extractor()
        array = np.ascontiguousarray(planes[0])
        extractor.input("data", ncnn.Mat(array).clone())  # a Mat does not keep the array, so it must live until here
        status, output = extractor.extract("output")
        if status == NO_MEMORY:
            raise OutOfMemory("ncnn has no memory left")
        if status:
            raise DeviceLost(f"ncnn stopped with {status}")
        return np.array(output, np.float32)[None]


KINDS = ("discrete GPU", "integrated GPU", "virtual GPU", "software")
"""By ncnn's number; software runs on the CPU and is slow."""
NVIDIA = 0x10DE
"""A vendor's number."""
TEST_SIDE = 48
"""Of the tile that a device must upscale as the CPU does, in LR pixels."""
ALLOWED_LEVELS = {"fp16": 3.0, "fp32": 1.0}
NO_DEVICE = (
    "there is no GPU with Vulkan here: install your GPU's driver (a software one is Debian's mesa-vulkan-drivers), "
    "or use the engine openvino."
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
                    driver=_version(info.driver_version(), info.vendor_id()),
                )
            )
    return tuple(found)


class NcnnEngine(Engine):
    """One generator on a Vulkan device, BatchNorm folded.

    `device`: by default the first that is not software. precision auto: fp16, for what is stored between layers.
    Raises MissingExtra, and UsageError for a device that does not exist or a precision that ncnn has not.
    """

    name = "ncnn"

    def __init__(self, weights: Weights, precision: Precision = "auto", device: int | None = None) -> None:
        if precision not in ("auto", "fp32", "fp16"):
            raise UsageError(f"precision {precision} needs another engine; ncnn has fp32 and fp16.")
        super().__init__()
        self.device = _find(device)
        self.device_name, self.device_memory = self.device.name, self.device.memory
        self.config = weights.config
        self.precision = "fp32" if precision == "fp32" or not _stores_half(self.device.index) else "fp16"
        # In fp32, with the copies of ncnn's Winograd convolutions: estimated from its layers at 64 maps.
        self.body_bytes = 6 * weights.config.width * 4
        self.tail_bytes = 4 * weights.config.width * weights.config.scale**2 * 4
        self._tensors = fold_batchnorm(weights)
        self._networks: dict[Part, Network] = {}

    def release(self) -> None:
        """Give back the device's memory."""
        with self._lock:
            self._networks.clear()

    def _compute(self, part: Part, planes: Nchw) -> Nchw:
        if part not in self._networks:
            graph = build_graph(self.config, self._tensors, part)
            self._networks[part] = Network(graph, device=self.device.index, half=self.precision == "fp16")
        return self._networks[part](planes)

    def _set_precision(self, precision: str) -> None:
        self.precision = precision
        self._networks.clear()


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


@cache
def _stores_half(device: int) -> bool:
    """Whether a device stores fp16, which ncnn tells of a loaded network, and any will do; False for a lost device."""
    try:
        return Network(Graph(f"{MAGIC}\n1 1\nInput input.1 0 1 data\n", b""), device=device, half=True).half
    except DeviceLost:
        return False


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


def _version(number: int, vendor: int) -> str:
    """A driver's version, as Vulkan packs it; NVIDIA has a way of its own."""
    if vendor == NVIDIA:
        return f"{number >> 22}.{number >> 14 & 0xFF}.{number >> 6 & 0xFF}"
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
