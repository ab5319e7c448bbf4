"""What several rooms' tests and the benchmarks share."""

import functools
import importlib.machinery
import io
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from srgan.image import resize
from srgan.image.source import ImageBytes
from srgan.model.config import GeneratorConfig, tensor_shapes
from srgan.model.vgg import LAYERS
from srgan.model.weights import Tensors, Weights, content_hash


def load_script(name: str) -> Any:
    """A file of scripts/ as a module."""
    path = Path(__file__).parents[1] / "scripts" / name
    loader = importlib.machinery.SourceFileLoader(name.replace("-", "_"), str(path))
    module = sys.modules[loader.name] = types.ModuleType(loader.name)
    module.__file__ = str(path)
    loader.exec_module(module)
    return module


def random_weights(config: GeneratorConfig | None = None, seed: int = 0) -> Weights:
    """A generator with random tensors and BatchNorm statistics that matter."""
    config = config or GeneratorConfig()
    generator = np.random.default_rng(seed)
    tensors: Tensors = {}
    for name, shape in tensor_shapes(config).items():
        if len(shape) == 4:
            deviation = np.sqrt(1.0 / np.prod(shape[1:]))
            value = generator.normal(0.0, deviation, shape)
        elif name.endswith((".bn.weight", ".bn1.weight", ".bn2.weight", ".running_var")):
            value = generator.uniform(0.5, 1.5, shape)
        elif name.endswith(".weight"):  # PReLU
            value = generator.uniform(0.1, 0.4, shape)
        else:
            value = generator.normal(0.0, 0.05, shape)
        tensors[name] = value.astype(np.float32)
    sha256 = content_hash(tensors, config)
    return Weights(tensors=tensors, config=config, metadata={}, name=f"random-{seed}", sha256=sha256)


def random_vgg() -> Tensors:
    """VGG19 with random kernels that keep the size of what passes through."""
    rng = np.random.default_rng(0)
    tensors: Tensors = {}
    for name, _, shape in LAYERS.values():
        deviation = np.float32((2 / (9 * shape[1])) ** 0.5)
        tensors[f"{name}.weight"] = rng.standard_normal(shape, dtype=np.float32) * deviation
        tensors[f"{name}.bias"] = rng.standard_normal(shape[0], dtype=np.float32) / 10
    return tensors


def resident_bytes() -> int:
    """Memory of this process, on Linux."""
    return 1024 * int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0])


Pixels = NDArray[np.uint8]


def photo(height: int = 200, width: int = 240, seed: int = 0) -> Pixels:
    """Smooth waves and a few edges, in colour, without noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    planes = []
    waves = sum(
        rng.normal() * np.sin(y * rng.uniform(0, 0.5) + x * rng.uniform(0, 0.5) + rng.uniform(0, 6)) for _ in range(12)
    )
    disc = (y - height / 2) ** 2 + (x - width / 3) ** 2 < (height / 4) ** 2
    for shift in (0, 20, -15):
        planes.append(128 + 18 * waves + shift * np.sin(x / 40) + 40 * disc)
    return np.clip(np.rint(np.stack(planes, axis=-1)), 0, 255).astype(np.uint8)


def encoded(pixels: Pixels, form: str = "JPEG", **options: Any) -> ImageBytes:
    """The pixels as a file that Pillow writes."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return ImageBytes(data=file.getvalue(), name=f"image.{form.lower()}")


def decoded(file: ImageBytes) -> Pixels:
    """(H, W) of a grey file, (H, W, 3) of others."""
    image = Image.open(io.BytesIO(file.data))
    return np.asarray(image if image.mode == "L" else image.convert("RGB"))


@functools.cache
def scene(seed: int) -> NDArray[np.uint8]:
    """Noise with a falling spectrum, in colour, 150 to 250 pixels a side."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(150, 250, 2)
    sums = np.zeros((height, width, 3), np.float64)
    for cells in (4, 8, 16, 32):
        sums += resize.bicubic(rng.normal(size=(cells, cells, 3)), int(height), int(width)) * (8 / cells)
    return np.clip(128 + 30 * sums, 0, 255).astype(np.uint8)


def half(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """At half the size."""
    return resize.bicubic(image, image.shape[0] // 2, image.shape[1] // 2).astype(np.uint8)
