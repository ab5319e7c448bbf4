"""int8 ranges: close to fp32, bound to their weights, refused when damaged; `auto` takes them only when they are good."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest

from srgan import Upscaler
from srgan.errors import WeightsError
from srgan.model import weights as weights_module
from srgan.model.config import GeneratorConfig
from srgan.model.weights import Weights
from srgan.upscale import int8
from srgan.upscale.mixture import CORNERS, mixture
from srgan.upscale.openvino import OpenVinoEngine
from srgan.upscale.tiled import ArrayRegions, write_to_array
from tests.support import load_script, random_weights

calibrate = load_script("calibrate-int8")


def crops(count: int = 6) -> list[np.ndarray]:
    return [np.random.default_rng(seed).integers(0, 256, (24, 24, 3), np.uint8) for seed in range(count)]


@pytest.fixture(scope="module")
def ranges(small: Weights) -> int8.Int8Ranges:
    everything = calibrate.activation_ranges(small, crops())
    tensors = {name: value for name, value in everything.items() if not name.startswith("head.")}
    return int8.Int8Ranges(tensors=tensors, sha256=small.sha256, psnr_drop=0.01, metadata={"fp32": "head.conv"})


@pytest.fixture
def model(tmp_path: Path, small: Weights, ranges: int8.Int8Ranges) -> Path:
    path = tmp_path / "model.safetensors"
    weights_module.write(path, small.tensors, config=small.config, metadata={})
    int8.write(int8.path_beside(path), ranges)
    return path


def test_int8_is_near_fp32(small, ranges):
    lr_unit = np.random.default_rng(99).random((1, 3, 30, 20), np.float32)
    exact, result = OpenVinoEngine(small).run(lr_unit), OpenVinoEngine(small, ranges).run(lr_unit)
    error = np.abs(result - exact)
    assert 0 < error.mean() < 0.04 * exact.std()  # 0.09 where sums of two products overflow 16 bits


def test_every_convolution_has_a_range(small):
    result = calibrate.activation_ranges(small, crops(2))
    assert set(result) == {
        f"{name}.input"
        for name in ("head.conv", "body.0.conv1", "body.0.conv2", "trunk.conv", "up.0.conv", "up.1.conv", "tail.conv")
    }
    np.testing.assert_allclose(result["head.conv.input"], [0, 1], atol=0.02)
    assert all(low < high for low, high in result.values())


def test_best_range_beats_others():
    random = np.random.default_rng(0)
    values = np.where(random.random(20_000) < 0.5, random.normal(0, 1, 20_000), 0.2 * random.normal(0, 1, 20_000))
    values = np.maximum(values, -0.5).astype(np.float32)
    low, high = calibrate.best_range(values)

    def error(ends: tuple[float, float]) -> float:
        step = (ends[1] - ends[0]) / 255
        rounded = np.clip(np.rint((values - ends[0]) / step), 0, 255) * step + ends[0]
        return float(np.mean((rounded - values) ** 2))

    for other in ((values.min(), values.max()), (-values.max(), values.max()), (-0.5, 3.0), (-0.5, 2.0), (-0.3, 4.0)):
        assert error((low, high)) <= 1.05 * error((float(other[0]), float(other[1])))


def test_zero_is_a_step():
    """Zero padding must stay zero."""
    for seed in range(5):
        low, high = calibrate.best_range(np.random.default_rng(seed).normal(seed - 2, 1, 500).astype(np.float32))
        places = -low / ((high - low) / 255)
        assert low <= 0 <= high and places == pytest.approx(round(places), abs=1e-3)


def test_write_and_read(model, small, ranges):
    result = int8.ranges_for(weights_module.read(model), model)
    assert result is not None and result.psnr_drop == ranges.psnr_drop and result.sha256 == small.sha256
    assert {name: value.tolist() for name, value in result.tensors.items()} == {
        name: value.tolist() for name, value in ranges.tensors.items()
    }


def test_auto_takes_good_ranges_only(model, ranges):
    assert Upscaler(model).describe()["precision"] == "int8"
    assert Upscaler(model, precision="fp32").describe()["precision"] == "fp32"
    int8.write(int8.path_beside(model), dataclasses.replace(ranges, psnr_drop=0.051))
    assert Upscaler(model).describe()["precision"] == "fp32"
    assert Upscaler(model, precision="int8").describe()["precision"] == "int8"  # asked for, so given


def test_ranges_of_other_weights_are_refused(model, ranges, caplog):
    int8.write(int8.path_beside(model), dataclasses.replace(ranges, sha256="0" * 64))
    with pytest.raises(WeightsError, match="made from other weights"):
        Upscaler(model, precision="int8")
    assert Upscaler(model).describe()["precision"] == "fp32"
    assert "computing in fp32" in caplog.messages[0]


@pytest.mark.parametrize(
    "damage",
    [
        {"body.0.conv1.input": np.array([1, -1], np.float32)},
        {"body.0.conv1.input": np.array([0, np.nan], np.float32)},
        {"body.9.conv1.input": np.array([0, 1], np.float32)},
        {"body.0.conv1.other": np.array([0, 1], np.float32)},
        {"body.0.conv1.input": np.array([0, 1, 2], np.float32)},
    ],
)
def test_damaged_ranges_are_refused(model, ranges, damage):
    int8.write(int8.path_beside(model), dataclasses.replace(ranges, tensors={**ranges.tensors, **damage}))
    with pytest.raises(WeightsError, match="does not fit its generator"):
        Upscaler(model, precision="int8")


def test_other_file_is_refused(model):
    int8.path_beside(model).write_bytes(b"nonsense")
    with pytest.raises(WeightsError, match="cannot be read as int8 ranges"):
        Upscaler(model, precision="int8")


def test_tiles_are_exact_in_int8_too(model):
    """Sums of integers are exact, and rounding happens value by value: what a tile sees decides alone."""
    lr = np.random.default_rng(5).integers(0, 256, (60, 60, 3), np.uint8)
    whole, tiled = Upscaler(model), Upscaler(model, memory="2MB")
    sr = np.empty((240, 240, 3), np.uint8)
    assert tiled.upscale_into(ArrayRegions(lr), write_to_array(sr))["tiles"] != "1x1"
    difference = np.abs(whole.upscale(lr).astype(int) - sr)
    assert (difference > 0).mean() < 1e-2  # a tie of a quantised value moves its neighbourhood


def test_calibrate_command(tmp_path, small, data):
    path = tmp_path / "model.safetensors"
    weights_module.write(path, small.tensors, config=small.config, metadata={})
    folder = str(data / "Set5" / "image_SRF_4")
    arguments = [str(path), "--pictures", folder, "--validation", folder, "--crops", "4", "--side", "16"]
    assert calibrate.main(arguments) == 0
    result = int8.read(int8.path_beside(path))
    assert result.sha256 == small.sha256 and "head.conv" in result.metadata["fp32"]


def test_packaged_ranges_fit_packaged_models():
    for name in weights_module.packaged():
        ranges = int8.ranges_for(weights_module.read(name))
        assert ranges is not None and ranges.psnr_drop <= int8.MAX_PSNR_DROP, f"run scripts/calibrate-int8 {name}"


@pytest.mark.slow
def test_int8_loses_little_on_set14(data):
    """The packaged models, and what lies between them, lose at most 0.05 dB of psnr_y on Set14."""
    from srgan.image.files import read_rgb8

    folder = data / "Set14" / "image_SRF_4"
    pairs = [
        (read_rgb8(path), read_rgb8(path.with_name(path.name.replace("_LR", "_HR"))))
        for path in sorted(folder.glob("*_LR.png"))
    ]
    for restore, texture in itertools.product((0.0, 0.5, 1.0), repeat=2):
        weights = mixture(restore, texture)
        ranges = int8.ranges_for(weights)
        assert ranges is not None
        lost = calibrate.mean_psnr(OpenVinoEngine(weights), pairs) - calibrate.mean_psnr(
            OpenVinoEngine(weights, ranges), pairs
        )
        assert lost <= 0.05, (restore, texture)


def test_ranges_are_mixed_as_the_weights():
    corners = [int8.ranges_for(weights_module.read(name)) for name in CORNERS]
    between = int8.ranges_for(mixture(0.3, 0.6))
    parts = [part for part in corners if part is not None]
    assert between is not None and len(parts) == 4
    assert set(between.tensors) == set.intersection(*(set(part.tensors) for part in parts))
    for name, (low, high) in between.tensors.items():
        mixed = np.tensordot([0.28, 0.42, 0.12, 0.18], [part.tensors[name] for part in parts], axes=1)
        step = (high - low) / 255
        assert abs(low / step - round(low / step)) < 1e-3  # 0 is a step
        np.testing.assert_allclose([low, high], 1.1 * mixed, atol=1.01 * step)


def test_mixture_without_ranges(small):
    other = dataclasses.replace(small, name="other")
    assert int8.ranges_for(weights_module.mix([(small, 0.5), (other, 0.5)], "mixture")) is None


def test_ranges_belong_to_their_convolution():
    """The ranges are read off the convolution that they are named for: a scaled layer scales the next one's."""
    weights = random_weights(GeneratorConfig(blocks=1, width=4), seed=1)
    louder = dict(weights.tensors)
    louder["up.0.act.weight"] = weights.tensors["up.0.act.weight"] * 0 + 1
    louder["up.0.conv.weight"], louder["up.0.conv.bias"] = (
        4 * weights.tensors[f"up.0.conv.{x}"] for x in ("weight", "bias")
    )
    quiet, loud = (
        calibrate.activation_ranges(dataclasses.replace(weights, tensors=t), crops(2))
        for t in (weights.tensors, louder)
    )
    assert loud["up.1.conv.input"][1] > 2 * quiet["up.1.conv.input"][1]
    np.testing.assert_array_equal(loud["up.0.conv.input"], quiet["up.0.conv.input"])
