"""ncnn: the generator as its `.param` and `.bin` files, and as a network that ncnn runs."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from srgan.model.config import GeneratorConfig, Layer, generator_layers, trunk_index
from srgan.model.weights import Tensors
from srgan.upscale.engine import DeviceLost, Nchw, OutOfMemory

Part = Literal["whole", "body", "tail"]
MAGIC = "7767517"
HALF_TAG = 0x01306B47
"""Before a kernel stored in float16; 0 stands before one in float32."""
NO_MEMORY = -100
"""What ncnn returns where an allocation failed."""
KINDS = {"conv": "Convolution", "prelu": "PReLU", "add": "BinaryOp", "shuffle": "PixelShuffle"}


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
        add(KINDS[layer.kind], layer.name, sources, blobs[layer.name], options)
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
