"""The weights file: what goes in comes out, and nothing else is taken for a generator."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from numpy.typing import NDArray

from srgan.errors import WeightsError
from srgan.model import weights
from srgan.model.config import GeneratorConfig, tensor_shapes
from srgan.model.weights import Weights
from tests.support import random_weights

SMALL = GeneratorConfig(blocks=2, width=4)
A, B = random_weights(SMALL, seed=1), random_weights(SMALL, seed=2)


def written(path: Path, of: Weights = A, **metadata: str) -> Path:
    weights.write(path, of.tensors, config=of.config, metadata=metadata)
    return path


def raw(path: Path, tensors: dict[str, NDArray[Any]], metadata: dict[str, str] | None = None) -> Path:
    """A file past our own `write`, as a stranger may give it."""
    ours = {"srgan.format": "1", "config": json.dumps(dataclasses.asdict(SMALL))}
    path.write_bytes(safetensors.numpy.save(tensors, metadata=ours if metadata is None else metadata))
    return path


@pytest.mark.parametrize("config", [SMALL, GeneratorConfig(blocks=1, width=3, scale=2, slopes="layer")])
def test_round_trip(config, tmp_path):
    of = random_weights(config, seed=1)
    read = weights.read(written(tmp_path / "mine.safetensors", of, step="7", recipe="quick"))
    assert read.config == config and read.name == "mine" and read.sha256 == of.sha256
    assert read.metadata["step"] == "7" and read.metadata["srgan.format"] == "1"
    assert list(read.tensors) == list(tensor_shapes(config))
    for name, tensor in read.tensors.items():
        assert tensor.dtype == np.float32 and np.array_equal(tensor, of.tensors[name])


def test_half_precision_is_read_as_float32(tmp_path):
    half = {name: tensor.astype(np.float16) for name, tensor in A.tensors.items()}
    path = tmp_path / "half.safetensors"
    weights.write(path, half, config=SMALL, metadata={})
    read = weights.read(path)
    assert path.stat().st_size < written(tmp_path / "full.safetensors").stat().st_size
    assert all(np.array_equal(read.tensors[name], half[name].astype(np.float32)) for name in half)
    assert read.sha256 != A.sha256, "rounded values are another generator"


def test_tensors_that_are_views_are_written_whole(tmp_path):
    backwards = {name: np.asarray(np.asarray(t)[::-1].copy()[::-1]) for name, t in A.tensors.items()}
    weights.write(tmp_path / "v.safetensors", backwards, config=SMALL, metadata={})
    assert weights.read(tmp_path / "v.safetensors").sha256 == A.sha256


def test_the_hash_is_of_the_generator_not_of_its_description(tmp_path):
    one = weights.read(written(tmp_path / "one.safetensors"))
    other = weights.read(written(tmp_path / "other.safetensors", recipe="best", scores="{}"))
    assert one.sha256 == other.sha256 == weights.content_hash(dict(reversed(A.tensors.items())), SMALL)
    nudged = {**A.tensors, "tail.conv.bias": np.nextafter(A.tensors["tail.conv.bias"], np.float32(1))}
    assert weights.content_hash(nudged, SMALL) != one.sha256
    assert weights.content_hash(A.tensors, dataclasses.replace(SMALL, slopes="layer")) != one.sha256


def test_the_same_generator_gives_the_same_bytes(tmp_path):
    one, other = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    weights.write(one, A.tensors, config=SMALL, metadata={"a": "1", "b": "2"})
    weights.write(other, dict(reversed(A.tensors.items())), config=SMALL, metadata={"b": "2", "a": "1"})
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"tail.conv.bias": np.zeros(4, np.float32)}, r"tail\.conv\.bias is \(4,\), but its config asks for \(3,\)"),
        ({"stranger": np.zeros(1, np.float32)}, r"0 missing \[\], 1 unknown \['stranger'\]"),
        ({"tail.conv.bias": None}, r"1 missing \['tail\.conv\.bias'\], 0 unknown"),
        ({"tail.conv.bias": np.array([0, np.nan, 0], np.float32)}, "holds NaN or infinity"),
        ({"tail.conv.bias": np.array([0, np.inf, 0], np.float32)}, "holds NaN or infinity"),
        ({"tail.conv.bias": np.zeros(3, np.float64)}, "is float64, expected float32 or float16"),
        ({"tail.conv.bias": np.zeros(3, np.int32)}, "is int32, expected float32 or float16"),
    ],
    ids=["shape", "extra", "missing", "nan", "infinity", "float64", "int32"],
)
def test_tensors_that_do_not_fit(change, sentence, tmp_path):
    tensors = {name: value for name, value in {**A.tensors, **change}.items() if value is not None}
    path = raw(tmp_path / "bad.safetensors", tensors)
    with pytest.raises(WeightsError, match=sentence) as error:
        weights.read(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("metadata", "sentence"),
    [
        ({}, r"not a generator written by srgan: its metadata has no 'srgan\.format'"),
        ({"srgan.checkpoint": "1"}, "is a checkpoint, .* take a .safetensors file of that run"),
        ({"srgan.format": "2", "config": "{}"}, r"its srgan\.format is 2, not 1"),
        ({"srgan.format": "1"}, "'config' does not describe a generator"),
        ({"srgan.format": "1", "config": "{blocks"}, "'config' does not describe a generator"),
        ({"srgan.format": "1", "config": "[16]"}, "'config' does not describe a generator"),
        ({"srgan.format": "1", "config": '{"blocks": 1e9}'}, "'config' does not describe a generator"),
        ({"srgan.format": "1", "config": '{"depth": 3}'}, "'config' does not describe a generator"),
    ],
)
def test_metadata_of_somebody_else(metadata, sentence, tmp_path):
    with pytest.raises(WeightsError, match=sentence):
        weights.read(raw(tmp_path / "other.safetensors", dict(A.tensors), metadata))


@pytest.mark.parametrize("content", [b"", b"not a file of tensors", b"\xff" * 64, b"\x80\x04pickle", None])
def test_what_is_no_safetensors_file(content, tmp_path):
    path = written(tmp_path / "x.safetensors")
    path.write_bytes(path.read_bytes()[:-1] if content is None else content)  # cut short
    with pytest.raises(WeightsError, match=r"not a readable \.safetensors file"):
        weights.read(path)


def test_a_missing_model_says_what_there_is(tmp_path):
    with pytest.raises(WeightsError, match="give a packaged model") as error:
        weights.read("srgam")
    assert all(name in str(error.value) for name in weights.packaged())


def test_write_refuses_tensors_of_another_network(tmp_path):
    tensors = {name: tensor for name, tensor in A.tensors.items() if name != "trunk.bn.bias"}
    with pytest.raises(WeightsError, match=r"1 missing \['trunk\.bn\.bias'\]"):
        weights.write(tmp_path / "x.safetensors", tensors, config=SMALL, metadata={})
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = written(tmp_path / "x.safetensors")
    before = path.read_bytes()

    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(WeightsError, match=r"x\.safetensors could not be written: No space left"):
        written(path, B)
    assert path.read_bytes() == before
    with pytest.raises(WeightsError, match="could not be written: No such file"):
        written(tmp_path / "absent" / "x.safetensors")


def test_mixture_of_two_and_of_one():
    assert weights.mix([(A, 1.0), (B, 0.0)], "mixture") is A and weights.mix([(A, 0.0), (B, 1.0)], "mixture") is B
    quarter = weights.mix([(A, 0.75), (B, 0.25)], "mixture")
    folded, folded_a, folded_b = (weights.fold_batchnorm(each) for each in (quarter, A, B))
    for name, tensor in folded.items():
        expected = 0.75 * folded_a[name].astype(np.float64) + 0.25 * folded_b[name].astype(np.float64)
        assert tensor.dtype == np.float32 and np.abs(tensor - expected).max() <= 1e-5 * np.abs(expected).max()
    assert json.loads(quarter.metadata["mixed"]) == {A.name: [0.75, A.sha256], B.name: [0.25, B.sha256]}
    assert quarter.sha256 not in (A.sha256, B.sha256) and quarter.name == "mixture"


def test_different_networks_cannot_be_mixed():
    with pytest.raises(WeightsError, match="different networks"):
        weights.mix([(A, 0.5), (random_weights(GeneratorConfig(blocks=1, width=4)), 0.5)], "mixture")


def test_sum_of_packaged_generators(tmp_path, monkeypatch):
    file = tmp_path / "a + b - c.safetensors"
    weights.write(file, A.tensors, config=A.config, metadata={})
    assert weights.read_sum(str(file)).sha256 == A.sha256
    monkeypatch.setenv("HOME", str(tmp_path))
    assert weights.read_sum("~/a + b - c.safetensors").sha256 == A.sha256
    assert weights.read_sum("srgan").sha256 == weights.read("srgan").sha256
    total = weights.read_sum("photo + srgan - srresnet").tensors["tail.conv.weight"]
    photo, srgan, srresnet = (weights.read(name).tensors["tail.conv.weight"] for name in ("photo", "srgan", "srresnet"))
    np.testing.assert_allclose(total, photo.astype(np.float64) + srgan - srresnet, atol=1e-7)
    with pytest.raises(WeightsError, match="do not sum to 1"):
        weights.read_sum("photo + srgan")
    with pytest.raises(WeightsError, match="no model 'srgan-srresnet'"):
        weights.read_sum("photo + srgan-srresnet")
