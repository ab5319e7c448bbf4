"""`Upscaler`: every kind of array, exact tiles, memory that runs out, several threads, wrong values."""

import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from srgan import Upscaler
from srgan.errors import ImageError, SrganError, UsageError, WeightsError
from srgan.image.resize import bicubic
from srgan.model.weights import Weights
from srgan.upscale import upscaler as upscaler_module
from srgan.upscale.engine import Nchw, OutOfMemory
from srgan.upscale.openvino import OpenVinoEngine
from srgan.upscale.strength import Strength
from srgan.upscale.tiled import ArrayRegions, write_to_array
from tests.support import encoded, photo, resident_bytes

DEPTHS: dict[str, tuple[Any, float]] = {
    "uint8": (np.uint8, 255),
    "uint16": (np.uint16, 65535),
    "float32": (np.float32, 1),
}


@pytest.fixture(scope="module")
def upscaler(small: Weights) -> Upscaler:
    return Upscaler(small)


@pytest.fixture(scope="module")
def tiled(small: Weights) -> Upscaler:
    return Upscaler(small, memory="2MB")


def image(seed: int, *shape: int, depth: str = "uint8") -> np.ndarray:
    kind, peak = DEPTHS[depth]
    unit = np.random.default_rng(seed).random(shape, np.float32)
    return unit if depth == "float32" else np.rint(unit * peak).astype(kind)


def network(weights: Weights, lr: np.ndarray) -> np.ndarray:
    """sr_signed (3, 4h, 4w) of uint8 (h, w, 3), mirrored 8 pixels beyond the edges."""
    wide = np.pad(lr, ((8, 8), (8, 8), (0, 0)), "symmetric")
    lr_unit = np.ascontiguousarray(wide.transpose(2, 0, 1))[None] / np.float32(255)
    return OpenVinoEngine(weights).run(lr_unit)[0, :, 32:-32, 32:-32]


@settings(max_examples=15)
@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.sampled_from([(), (3,), (4,)]),
    st.sampled_from(list(DEPTHS)),
    st.sampled_from([2, 3, 4]),
)
def test_tiles_equal_whole_in_every_kind_of_image(upscaler, tiled, height, width, channels, depth, scale):
    lr = image(height, height, width, *channels, depth=depth)
    expected, output = upscaler.upscale(lr, scale=scale), tiled.upscale(lr, scale=scale)
    assert output.shape == (scale * height, scale * width, *channels)
    assert output.dtype == expected.dtype == lr.dtype
    difference = np.abs(output.astype(np.float64) - expected)
    if depth == "float32":
        assert difference.max() < 1e-5
    else:
        assert difference.max() <= 1 and (difference > 0).mean() <= (1e-4 if depth == "uint8" else 1e-2)


@pytest.mark.parametrize("trust", [0.8, 1.0])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_tiles_equal_whole_where_the_input_is_put_back(upscaler, small, trust, scale):
    lr, results, tiles = image(1, 100, 90, 3), [], []
    for each in (upscaler, Upscaler(small, memory="3MB")):
        sr = np.empty((100 * scale, 90 * scale, 3), np.uint8)
        strength = Strength(restore=0.0, reason="", trust=trust)
        tiles += [each.upscale_into(ArrayRegions(lr), write_to_array(sr), scale=scale, strength=strength)["tiles"]]
        results += [sr]
    assert tiles[0] == "1x1" != tiles[1]
    assert np.array_equal(*results)
    assert not np.array_equal(results[0], upscaler.upscale(lr, scale=scale))


def test_small_memory_makes_tiles(tiled):
    """The test above tiles."""
    lr, sr = image(0, 60, 60), np.empty((240, 240), np.uint8)
    assert tiled.upscale_into(ArrayRegions(lr), write_to_array(sr))["tiles"] != "1x1"


def test_image_is_rounded_once(upscaler, small):
    lr = image(0, 9, 11, 3)
    expected = np.floor(np.clip((network(small, lr).transpose(1, 2, 0) + 1) / 2, 0, 1).astype(np.float64) * 255 + 0.5)
    assert np.abs(upscaler.upscale(lr) - expected).max() <= 1
    assert (upscaler.upscale(lr) != expected).mean() < 1e-3


def test_grey_is_mean_of_three_outputs(upscaler, small):
    grey = image(1, 12, 10)
    signed = network(small, np.repeat(grey[..., None], 3, axis=2))
    expected = np.floor(np.clip((signed.mean(axis=0) + 1) / 2, 0, 1).astype(np.float64) * 255 + 0.5)
    output = upscaler.upscale(grey)
    assert np.abs(output - expected).max() <= 1 and (output != expected).mean() < 2e-3


def test_16_bits_stay_16_bits(upscaler):
    deep = image(2, 16, 16, 3, depth="uint16")
    result = upscaler.upscale(deep)
    assert len(np.unique(result)) > 256
    exact = upscaler.upscale((deep / np.float32(65535)).astype(np.float32))
    assert np.abs(result - exact * 65535.0).max() < 1.0


@pytest.mark.parametrize("scale", [2, 3])
def test_smaller_scales_are_bicubic_of_x4(upscaler, scale):
    lr, inside = image(3, 14, 9, 3, depth="float32"), slice(scale, -scale)
    expected = bicubic(upscaler.upscale(lr), 14 * scale, 9 * scale).clip(0, 1)
    np.testing.assert_allclose(upscaler.upscale(lr, scale=scale)[inside, inside], expected[inside, inside], atol=1e-6)


def test_opaque_and_transparent_stay(upscaler):
    lr = image(4, 20, 20, 4)
    lr[..., 3] = 255
    lr[8:, :, 3] = 0
    alpha = upscaler.upscale(lr)[..., 3]
    assert (alpha[: 4 * 7] == 255).all() and (alpha[4 * 9 :] == 0).all()


def test_hidden_colour_does_not_show(upscaler):
    """Two images that differ in their invisible colour alone give the same image."""
    lr = image(5, 24, 24, 4)
    lr[..., 3] = np.where(np.arange(24) < 12, 255, 0)
    other = lr.copy()
    other[:, 12:, :3] = 0
    assert (upscaler.upscale(lr) == upscaler.upscale(other)).all()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros((3, 3), np.int32), "uint8, uint16 or float32"),
        (np.zeros((3, 3, 2), np.uint8), r"\(H, W\), \(H, W, 3\) or \(H, W, 4\), got \(3, 3, 2\)"),
        (np.zeros((0, 3), np.uint8), "shape"),
        (np.full((3, 3), 1.5, np.float32), "0..1, got 1.5 to 1.5"),
        (np.full((3, 3), np.nan, np.float32), "0..1"),
    ],
)
def test_wrong_arrays_are_refused(upscaler, wrong, message):
    with pytest.raises(ImageError, match=message):
        upscaler.upscale(wrong)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"engine": "tpu"}, "engine is one of auto, openvino, pytorch, ncnn; got 'tpu'"),
        ({"precision": "int4"}, "precision is one of auto, fp32, bf16, fp16, int8; got 'int4'"),
        ({"precision": "int8"}, "no int8 ranges"),
        ({"precision": "fp16", "engine": "openvino"}, "fp16 needs a GPU"),
        ({"threads": 0}, "threads is a whole number from 1 to 1024, got 0"),
        ({"threads": "2"}, "threads is a whole number from 1 to 1024, got '2'"),
        ({"threads": 2**31}, "threads is a whole number from 1 to 1024"),
        ({"memory": -1}, "memory is a whole number from 1, got -1"),
        ({"memory": "much"}, "memory is a size like 1GB"),
        ({"memory": "9" * 400}, "memory is a size like 1GB"),
        ({"memory": "1KB"}, r"memory 0.001MB is too little for the smallest tile; allow at least \d+MB"),
        ({"memory": None}, "memory is a whole number from 1, got None"),
        ({"self_ensemble": "yes"}, "self_ensemble is one of False, True; got 'yes'"),
        ({"texture": 0.5}, "leave out the model"),
        ({"restore": 0}, "leave out the model"),
    ],
)
def test_wrong_values_are_refused(small, arguments, message):
    with pytest.raises(SrganError, match=message):
        Upscaler(small, **arguments)


def test_wrong_models_and_textures_are_refused():
    for name in ("nonesuch", "x" * 300):
        with pytest.raises(WeightsError, match=f"no model '{name}'"):
            Upscaler(name)
    for value in (1.5, float("nan"), 10**400, np.zeros(2), "much", True, None):
        with pytest.raises(SrganError, match="texture is 'auto' or a number from 0 to 1, got"):
            Upscaler(texture=value)
        with pytest.raises(SrganError, match="restore is 'auto' or a number from 0 to 1, got"):
            Upscaler(restore=value)


def test_wrong_paths_scales_and_qualities_are_refused(upscaler):
    grey = np.zeros((4, 4), np.uint8)
    wrong: list[tuple[str, Callable[[], object]]] = [
        (
            "model is photo, photo-gan, srgan, srresnet, the path of a weights file, or Weights; got 5",
            lambda: Upscaler(5),
        ),
        ("model is the path of a file, got DirEntry", lambda: Upscaler(next(os.scandir(b".")))),
        ("image is the path of a file, got ''", lambda: upscaler.upscale("")),
        ("source is the path of a file, got ndarray", lambda: upscaler.upscale_file(grey, "a.png")),
        ("target is the path of a file, got NoneType", lambda: upscaler.upscale_file("a.png", None)),
        ("target is the path of a file, got 'a.x00.png'", lambda: upscaler.upscale_file("a.png", "a\0.png")),
        ("/ is a folder; the name of an image", lambda: upscaler.upscale_file("a.png", "/")),
        ("quality is a whole number", lambda: upscaler.upscale_file("a.png", "b.jpg", quality=50.5)),
        ("overwrite is one of False, True", lambda: upscaler.upscale_file("a.png", "b.jpg", overwrite="no")),
        ("progress is a function", lambda: upscaler.upscale(grey, progress=5)),
    ]
    for message, call in wrong:
        with pytest.raises(SrganError, match=message):
            call()


def test_errors_of_the_api_name_no_flag(small, tmp_path):
    Image.new("RGB", (3, 3)).save(tmp_path / "a.png")
    calls: list[Callable[[], object]] = [
        lambda: Upscaler(small, device=0),
        lambda: Upscaler(small, precision="int8"),
        lambda: Upscaler(small, precision="fp16", engine="openvino"),
        lambda: Upscaler(small, memory="10KB").upscale(image(0, 50, 50)),
        lambda: Upscaler(small).upscale_file(tmp_path / "a.png", tmp_path / "a.png"),
        lambda: Upscaler(small).upscale_file(tmp_path / "a.png", tmp_path / "a.png", overwrite=True),
    ]
    for call in calls:
        with pytest.raises(SrganError) as error:
            call()
        outside_commands = re.sub("`.*?`", "", str(error.value))
        assert not re.search(r"(^| )--?[a-z]", outside_commands)


def test_numbers_of_numpy_are_numbers(small):
    upscaler = Upscaler(small, threads=np.int64(1), memory=np.uint32(10**8))
    assert upscaler.upscale(image(0, 70, 3), scale=np.uint8(4)).shape == (280, 12)


def test_wrong_scales_are_refused(small):
    for scale in (5, 1, 2.0, 2.5, "4"):
        with pytest.raises(UsageError, match="2 to 4 times larger, got a scale of"):
            Upscaler(small).upscale(image(0, 3, 3), scale=scale)


def test_progress_counts_pixels_and_may_stop(tiled):
    calls: list[tuple[int, int]] = []
    tiled.upscale(image(6, 60, 50, 3), progress=lambda done, total: calls.append((done, total)))
    assert calls[0] == (0, 3000) and calls[-1] == (3000, 3000)
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})

    def stop(done: int, total: int) -> None:
        if done:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        tiled.upscale(image(6, 60, 50, 3), progress=stop)


def _failing(engine: OpenVinoEngine, part: str, most: int, error: type[Exception]) -> Callable[[Nchw], Nchw]:
    real = getattr(engine, part)

    def run(planes: Nchw) -> Nchw:
        if planes.shape[2] * planes.shape[3] > most:
            raise error("planted")
        output: Nchw = real(planes)
        return output

    return run


@pytest.mark.parametrize("error", [OutOfMemory, MemoryError])
@pytest.mark.parametrize(("part", "most"), [("run", 0), ("body", 2100), ("tail", 1000)])
def test_tile_that_does_not_fit_is_halved(small, monkeypatch, caplog, part, most, error):
    lr = image(7, 60, 50, 3)
    expected = Upscaler(small).upscale(lr)
    memory = "1GB" if part == "run" else "3MB"
    upscaler = Upscaler(small, memory=memory)
    monkeypatch.setattr(upscaler._first.engine, part, _failing(upscaler._first.engine, part, most, error))
    calls: list[int] = []
    output = upscaler.upscale(lr, progress=lambda done, total: calls.append(done))
    assert np.abs(output.astype(int) - expected).max() <= 1
    assert "computing it in smaller parts" in caplog.messages[0]
    assert calls[-1] == 3000


def test_memory_that_never_suffices(small, monkeypatch):
    upscaler = Upscaler(small)
    for part in ("run", "body"):
        monkeypatch.setattr(upscaler._first.engine, part, _failing(upscaler._first.engine, part, 0, OutOfMemory))
    with pytest.raises(SrganError, match="no memory is left, even for a tile"):
        upscaler.upscale(image(0, 60, 50, 3))


@pytest.mark.parametrize("on_gpu", [False, True])
def test_no_memory_for_the_windows_of_the_strength(on_gpu, monkeypatch):
    upscaler, file = Upscaler(), encoded(photo(48, 64), quality=60)
    engine = upscaler._mixture(1.0, 0.0).engine
    monkeypatch.setattr(engine, "run", _failing(engine, "run", 0, OutOfMemory))
    if on_gpu:  # which is left
        monkeypatch.setattr(engine, "device_name", "a GPU")
        assert np.array_equal(upscaler.upscale(file), Upscaler().upscale(file))
        return
    with pytest.raises(SrganError, match="no memory is left, even for a few pixels"):
        upscaler.upscale(file)


def test_little_free_memory_makes_smaller_tiles(small, monkeypatch, caplog):
    upscaler, lr = Upscaler(small), image(8, 60, 60, 3)
    expected = upscaler.upscale(lr)
    assert caplog.messages == []
    monkeypatch.setattr(upscaler_module, "free_memory", lambda: 2_600_000)
    assert np.abs(upscaler.upscale(lr).astype(int) - expected).max() <= 1
    assert len(caplog.messages) == 1 and "only 3 MB of memory are free" in caplog.messages[0]
    monkeypatch.setattr(upscaler_module, "free_memory", lambda: 10**12)
    upscaler.upscale(lr)
    assert len(caplog.messages) == 1  # more free memory than `memory` changes nothing
    monkeypatch.setattr(upscaler._first.engine, "device_memory", 2_600_000)
    upscaler.upscale(lr)
    assert "only 3 MB of the GPU's memory are free" in caplog.messages[-1]


def test_threads_share_one_upscaler(upscaler, tiled):
    images = [image(seed, 20 + 7 * seed, 30, 3) for seed in range(6)] * 3
    with ThreadPoolExecutor(6) as pool:
        for one in (upscaler, tiled):
            assert all(map(np.array_equal, pool.map(one.upscale, images), map(one.upscale, images)))


def test_describe_names_what_decides_the_bytes(small):
    described = Upscaler(small, self_ensemble=True).describe()
    assert described["sha256"] == small.sha256
    assert {"model", "version", "engine", "precision", "self_ensemble"} <= set(described)


@pytest.mark.slow
def test_memory_stays_flat_over_500_images(small):
    """Resident memory after 500 images of many sizes, against that after the first 150, the largest among them."""
    upscaler = Upscaler(small)
    sizes = np.random.default_rng(0).integers(8, 120, (500, 2))
    sizes[0] = 119, 119
    after: list[int] = []
    for height, width in sizes:
        upscaler.upscale(image(0, int(height), int(width), 3))
        after.append(resident_bytes())
    assert max(after[-50:]) - max(after[:150]) < 30_000_000
