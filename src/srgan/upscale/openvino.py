"""The engine for CPUs: OpenVINO graphs in fp32 or int8, built straight from the weights."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino import opset13 as ops

from srgan.model.config import GeneratorConfig, Layer, generator_layers, trunk_index
from srgan.model.weights import Tensors, Weights, content_hash, fold_batchnorm
from srgan.upscale.engine import Engine, Nchw, OutOfMemory, Part
from srgan.upscale.int8 import Int8Ranges

NO_SHAPE_CACHE = {"CPU_RUNTIME_CACHE_CAPACITY": "0"}
"""Keep nothing for input sizes seen before: with 5,000 of them (the default) memory grows by 0.8 MB for each new one."""


class OpenVinoEngine(Engine):
    """One generator on the CPU: fp32, or int8 with `ranges`; `threads`: by default one for each core.

    A graph is compiled when it is first used, for any height and width; with `cache` it is kept on disk for later
    processes, which is for weights that many processes use.
    """

    name = "openvino"

    def __init__(
        self, weights: Weights, ranges: Int8Ranges | None = None, threads: int | None = None, cache: bool = False
    ) -> None:
        super().__init__()
        self.config = weights.config
        # Measured with 64 maps at x4: 1,290 bytes per pixel, and 5,510, or 2,430 where the last convolution is int8 too.
        # The rest is for converting the result.
        self.body_bytes = 20 * weights.config.width + 20
        per_map = 48 if ranges is not None and "tail.conv.input" in ranges.tensors else 96
        self.tail_bytes = (per_map * weights.config.width + 400) * weights.config.scale**2 // 16
        self.precision = "fp32" if ranges is None else "int8"
        self._ranges = None if ranges is None else ranges.tensors
        self._tensors = fold_batchnorm(weights)
        self._cache = cache
        self._threads = {} if threads is None else {"INFERENCE_NUM_THREADS": threads}
        self._requests: dict[Part, Any] = {}

    def release(self) -> None:
        """Give back the memory of activations: graphs are compiled again at their next use."""
        with self._lock:
            self._requests.clear()

    def _compute(self, part: Part, planes: Nchw) -> Nchw:
        with out_of_memory_named():
            if part not in self._requests:
                self._requests[part] = self._compile(part).create_infer_request()
            self._requests[part].infer([np.ascontiguousarray(planes)], share_inputs=True)
            return np.array(self._requests[part].get_output_tensor().data, np.float32)

    def _compile(self, part: Part) -> Any:
        model = build_graph(self.config, self._tensors, part, self._ranges)
        # OpenVINO's key for its cache is made from names, whose default comes from a counter of the process, and up to 2025.4
        # not from the weights: so each network has a folder of its own.
        for index, node in enumerate(model.get_ordered_ops()):
            node.friendly_name = f"{node.get_type_name()}_{index}"
        model.output(0).tensor.set_names({"output"})
        settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", **NO_SHAPE_CACHE, **self._threads}
        if self._cache and (folder := cache_folder()):
            contents = self._tensors | {f"ranges.{name}": tensor for name, tensor in (self._ranges or {}).items()}
            settings["CACHE_DIR"] = str(folder / content_hash(contents, self.config)[:16])
        return core().compile_model(model, "CPU", settings)


@contextlib.contextmanager
def out_of_memory_named() -> Iterator[None]:
    """Turn every way in which OpenVINO says that memory or threads ran out into `OutOfMemory`."""
    try:
        yield
    except MemoryError as error:
        raise OutOfMemory(str(error)) from error
    except RuntimeError as error:
        text = str(error).lower()
        if any(word in text for word in ("alloc", "memory", "resource temporarily unavailable")):
            raise OutOfMemory(str(error).strip().splitlines()[-1]) from error
        raise


@cache
def core() -> openvino.Core:
    """The process's only Core, which is never freed.

    Each Core sets the stack for signal handlers of the thread that compiles first, and puts the one before back when it is
    freed. Of two that are freed in their order of creation, the second puts back freed memory, and the next signal, such as
    Ctrl-C, ends the process with a segmentation fault.
    """
    return openvino.Core()


def cache_folder() -> Path | None:
    """Where OpenVINO keeps compiled graphs between runs (0.2 s less each); None where nothing can be written."""
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = root / "srgan" / f"openvino-{openvino.__version__.partition('-')[0]}"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # a home that is read-only, or none
        return None
    return folder if os.access(folder, os.W_OK) else None


def build_graph(config: GeneratorConfig, tensors: Tensors, part: Part, ranges: Tensors | None = None) -> openvino.Model:
    """A part of the generator with free height and width.

    `tensors` are folded (`weights.fold_batchnorm`); `ranges` are those of `Int8Ranges`.
    whole: lr_unit (1, 3, H, W) -> sr_signed (1, 3, sH, sW); body: lr_unit -> features (1, width, H, W);
    tail: features -> sr_signed.
    """
    layers = generator_layers(config)
    cut = trunk_index(layers) + 1
    channels = config.width if part == "tail" else config.channels
    start = ops.parameter([1, channels, -1, -1], np.float32, name="input")
    graph = _Graph(tensors, ranges or {})
    node = start
    if part != "tail":
        node = graph.body(layers[:cut], node)
    if part != "body":
        node = graph.tail(layers[cut:], node)
    return openvino.Model([node], [start], f"srgan-{part}")


class _Graph:
    """Builds nodes from layers."""

    def __init__(self, tensors: Tensors, ranges: Tensors) -> None:
        self._tensors, self._ranges = tensors, ranges

    def body(self, layers: Iterable[Layer], start: Any) -> Any:
        """Layer by layer as described; a norm is folded into its convolution."""
        outputs: dict[str, Any] = {"input": start}
        node = start
        for layer in layers:
            node = outputs[layer.source]
            if layer.kind == "conv":
                node = self._conv(layer.name, node, self._tensor(layer, "weight"), self._tensor(layer, "bias"))
            elif layer.kind == "prelu":
                node = ops.prelu(node, ops.constant(self._tensor(layer, "weight")))
            elif layer.kind == "add":
                node = ops.add(node, outputs[layer.other])
            outputs[layer.name] = node
        return node

    def tail(self, layers: Iterable[Layer], node: Any) -> Any:
        """The sub-pixel stages and the last convolution, rearranged for speed; the function is the same.

        A PReLU acts before its shuffle, with each slope four times, so that it fuses with the convolution.
        The last shuffle moves behind the last convolution, which then computes 12 maps of half the size with kernels
        of 5 x 5 (`kernel_before_shuffle`). Earlier shuffles read their channels in memory order.
        """
        *up, last = (layer for layer in layers if layer.kind == "conv")
        slopes = [self._tensor(layer, "weight") for layer in layers if layer.kind == "prelu"]
        for conv, slope in zip(up, slopes, strict=True):
            final = conv is up[-1]
            order = np.arange(conv.outputs) if final else channels_by_position(conv.outputs)
            weight, bias = self._tensor(conv, "weight")[order], self._tensor(conv, "bias")[order]
            node = self._conv(conv.name, node, weight, bias)
            node = ops.prelu(node, ops.constant(slope if slope.size == 1 else slope.repeat(4)[order]))
            if not final:
                node = ops.depth_to_space(node, "blocks_first", 2)
        weight, bias = kernel_before_shuffle(self._tensor(last, "weight")), self._tensor(last, "bias").repeat(4)
        return ops.depth_to_space(self._conv(last.name, node, weight, bias), "depth_first", 2)

    def _conv(self, name: str, node: Any, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> Any:
        pad = [weight.shape[2] // 2] * 2
        kernel = ops.constant(np.ascontiguousarray(weight))
        if f"{name}.input" in self._ranges:
            low, high = self._ranges[f"{name}.input"].reshape(2, 1, 1, 1, 1)
            # Weights take half of the 8 bits: without VNNI, a CPU adds two products in 16 bits, and more would overflow.
            limit = 2 * np.abs(weight).max(axis=(1, 2, 3), keepdims=True)
            node, kernel = _quantise(node, low, high, 256), _quantise(kernel, -limit, limit, 255)
        node = ops.convolution(node, kernel, [1, 1], pad, pad, [1, 1])
        node.set_friendly_name(name)
        return ops.add(node, ops.constant(bias.reshape(1, -1, 1, 1)))

    def _tensor(self, layer: Layer, part: str) -> NDArray[np.float32]:
        return self._tensors[f"{layer.name}.{part}"]


def channels_by_position(channels: int) -> NDArray[np.intp]:
    """Channels c * 4 + position, as a pixel shuffle reads them, ordered by position, then c."""
    return np.arange(channels).reshape(-1, 4).T.reshape(-1)


def kernel_before_shuffle(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """The kernel that, before a x2 shuffle and with its result shuffled, does what `kernel` does after the shuffle.

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


def _quantise(node: Any, low: NDArray[np.float32], high: NDArray[np.float32], levels: int) -> Any:
    """Round to `levels` steps from `low` to `high`; OpenVINO's CPU compiler makes int8 arithmetic of it."""
    ends = ops.constant(np.ascontiguousarray(low)), ops.constant(np.ascontiguousarray(high))
    return ops.fake_quantize(node, *ends, *ends, levels)
