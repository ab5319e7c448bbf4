"""What several rooms' tests and the benchmarks share."""

from pathlib import Path

import numpy as np

from srgan.model.config import GeneratorConfig, tensor_shapes
from srgan.model.vgg import LAYERS
from srgan.model.weights import Tensors, Weights, content_hash


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
