"""Generators small enough to be quick, with every kind of layer."""

from __future__ import annotations

from pathlib import Path

import pytest

from srgan import weights as weights_module
from srgan.architecture import GeneratorConfig
from srgan.weights import Weights

SMALL = GeneratorConfig(blocks=1, width=8)


@pytest.fixture(scope="session")
def small() -> Weights:
    """One block of width 8: reaches 10 pixels."""
    return weights_module.random(SMALL, seed=3)


@pytest.fixture(scope="session")
def small_file(small: Weights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in a file."""
    path = tmp_path_factory.mktemp("models") / "small.safetensors"
    weights_module.write(path, small.tensors, config=small.config, metadata={"recipe": "none"})
    return path
