"""Generators small enough to be quick, with every kind of layer."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from srgan.image import files
from srgan.image.files import Image
from srgan.model import weights as weights_module
from srgan.model.config import GeneratorConfig
from srgan.model.weights import Weights
from tests.support import random_weights

SMALL = GeneratorConfig(blocks=1, width=8)


@pytest.fixture(scope="session")
def small() -> Weights:
    """One block of width 8: reaches 10 pixels."""
    return random_weights(SMALL, seed=3)


@pytest.fixture(scope="session")
def loud(small: Weights) -> Weights:
    """Its activations exceed fp16, not fp32."""
    head = {"head.conv.weight": small.tensors["head.conv.weight"] * np.float32(1e6)}
    return dataclasses.replace(small, tensors={**small.tensors, **head})


@pytest.fixture(scope="session")
def small_file(small: Weights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in a file."""
    path = tmp_path_factory.mktemp("models") / "small.safetensors"
    weights_module.write(path, small.tensors, config=small.config, metadata={"recipe": "none"})
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """in/a.png (RGB), in/sub/b.png (grey, 16 bit), in/c.png (RGBA), in/z.png (no picture)."""
    (tmp_path / "in/sub").mkdir(parents=True)
    random = np.random.default_rng(0)
    files.write_array(tmp_path / "in/a.png", random.integers(0, 256, (9, 14, 3), np.uint8))
    files.write_array(tmp_path / "in/sub/b.png", random.integers(0, 65536, (8, 8), np.uint16))
    pixels, alpha = random.integers(0, 256, (10, 6, 3), np.uint8), random.integers(0, 256, (10, 6), np.uint8)
    files.write_image(tmp_path / "in/c.png", Image(pixels=pixels, alpha=alpha))
    (tmp_path / "in/z.png").write_text("no picture")
    return tmp_path
