"""`Upscaler`: any depth and kind of array, exact tiles, memory that runs out, several threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srgan import Upscaler
from srgan.errors import ImageError, SrganError, UsageError, WeightsError
from srgan.image.resize import bicubic
from srgan.model.weights import Weights
from srgan.upscale import upscaler as upscaler_module
from srgan.upscale.engine import OutOfMemory, Planes
from srgan.upscale.openvino import OpenVinoEngine

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


def picture(seed: int, *shape: int, depth: str = "uint8") -> np.ndarray:
    kind, peak = DEPTHS[depth]
    unit = np.random.default_rng(seed).random(shape, np.float32)
    return unit if depth == "float32" else np.rint(unit * peak).astype(kind)


@settings(max_examples=15)
@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.sampled_from([(), (3,), (4,)]),
    st.sampled_from(list(DEPTHS)),
    st.sampled_from([2, 3, 4]),
)
def test_tiled_is_whole_in_every_kind_of_picture(
    upscaler: Upscaler,
    tiled: Upscaler,
    height: int,
    width: int,
    channels: tuple[int, ...],
    depth: str,
    scale: int,
) -> None:
    lr = picture(height, height, width, *channels, depth=depth)
    expected, found = upscaler.upscale(lr, scale=scale), tiled.upscale(lr, scale=scale)
    assert found.shape == (scale * height, scale * width, *channels)
    assert found.dtype == expected.dtype == lr.dtype
    difference = np.abs(found.astype(np.float64) - expected)
    if depth == "float32":
        assert difference.max() < 1e-5
    else:
        assert difference.max() <= 1 and (difference > 0).mean() <= (1e-4 if depth == "uint8" else 1e-2)


def test_the_small_memory_makes_tiles(tiled: Upscaler) -> None:
    """The tests above tile: this plan is no whole picture."""
    assert tiled.plan(60, 60).grid.rows * tiled.plan(60, 60).grid.columns > 1


def test_a_picture_is_what_the_network_says_rounded_once(upscaler: Upscaler, small: Weights) -> None:
    lr = picture(0, 9, 11, 3)
    signed = OpenVinoEngine(small).run(np.ascontiguousarray(lr.transpose(2, 0, 1))[None] / np.float32(255))
    expected = np.floor(np.clip((signed[0].transpose(1, 2, 0) + 1) / 2, 0, 1).astype(np.float64) * 255 + 0.5)
    assert np.abs(upscaler.upscale(lr) - expected).max() <= 1
    assert (upscaler.upscale(lr) != expected).mean() < 1e-3


def test_grey_is_the_mean_of_three_outputs_rounded_once(upscaler: Upscaler, small: Weights) -> None:
    grey = picture(1, 12, 10)
    signed = OpenVinoEngine(small).run(np.repeat((grey / np.float32(255))[None, None], 3, axis=1))
    expected = np.floor(np.clip((signed[0].mean(axis=0) + 1) / 2, 0, 1).astype(np.float64) * 255 + 0.5)
    found = upscaler.upscale(grey)
    assert np.abs(found - expected).max() <= 1 and (found != expected).mean() < 2e-3


def test_sixteen_bits_keep_what_eight_cannot(upscaler: Upscaler) -> None:
    deep = picture(2, 16, 16, 3, depth="uint16")
    result = upscaler.upscale(deep)
    assert len(np.unique(result)) > 256
    exact = upscaler.upscale((deep / np.float32(65535)).astype(np.float32))
    assert np.abs(result - exact * 65535.0).max() < 1.0


@pytest.mark.parametrize("scale", [2, 3])
def test_smaller_scales_are_the_bicubic_of_the_largest(upscaler: Upscaler, scale: int) -> None:
    lr = picture(3, 14, 9, 3, depth="float32")
    expected = bicubic(upscaler.upscale(lr), 14 * scale, 9 * scale).clip(0, 1)
    np.testing.assert_allclose(upscaler.upscale(lr, scale=scale), expected, atol=1e-6)


def test_opaque_stays_opaque_and_hidden_stays_hidden(upscaler: Upscaler) -> None:
    lr = picture(4, 20, 20, 4)
    lr[..., 3] = 255
    lr[8:, :, 3] = 0
    alpha = upscaler.upscale(lr)[..., 3]
    assert (alpha[: 4 * 7] == 255).all() and (alpha[4 * 9 :] == 0).all()


def test_what_is_hidden_does_not_show(upscaler: Upscaler) -> None:
    """Two pictures that differ in their invisible colour alone give the same visible colour."""
    lr = picture(5, 24, 24, 4)
    lr[..., 3] = np.where(np.arange(24) < 12, 255, 0)
    other = lr.copy()
    other[:, 12:, :3] = 0
    assert (upscaler.upscale(lr) == upscaler.upscale(other)).all()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (np.zeros((3, 3), np.int32), "uint8, uint16 or float32"),
        (np.zeros((3, 3, 2), np.uint8), r"\(H, W\), \(H, W, 3\) or \(H, W, 4\), got \(3, 3, 2\)"),
        (np.zeros((0, 3), np.uint8), "shape"),
        (np.full((3, 3), 1.5, np.float32), "0..1, got 1.5 to 1.5"),
        (np.full((3, 3), np.nan, np.float32), "0..1"),
    ],
)
def test_what_is_no_picture_is_refused(upscaler: Upscaler, wrong: np.ndarray, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        upscaler.upscale(wrong)


def test_wrong_settings_are_refused(small: Weights) -> None:
    with pytest.raises(UsageError, match="2 to 4 times larger, got a scale of 5"):
        Upscaler(small).upscale(picture(0, 3, 3), scale=5)
    with pytest.raises(UsageError, match="no int8 form"):
        Upscaler(small, precision="int8")
    with pytest.raises(UsageError, match="fp16 needs the pytorch engine"):
        Upscaler(small, engine="openvino", precision="fp16")
    with pytest.raises(WeightsError, match="no model 'nonesuch'"):
        Upscaler("nonesuch")
    with pytest.raises(UsageError, match="too little"):
        Upscaler(small, memory="10KB").upscale(picture(0, 50, 50))


def test_progress_counts_every_pixel_and_may_stop_the_work(tiled: Upscaler) -> None:
    told: list[tuple[int, int]] = []
    tiled.upscale(picture(6, 60, 50, 3), progress=lambda done, total: told.append((done, total)))
    assert told[0] == (0, 3000) and told[-1] == (3000, 3000)
    assert [done for done, _ in told] == sorted({done for done, _ in told})

    def stop(done: int, total: int) -> None:
        if done:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        tiled.upscale(picture(6, 60, 50, 3), progress=stop)


def _failing(engine: OpenVinoEngine, part: str, most: int, error: type[Exception]) -> Callable[[Planes], Planes]:
    real = getattr(engine, part)

    def run(planes: Planes) -> Planes:
        if planes.shape[2] * planes.shape[3] > most:
            raise error("planted")
        found: Planes = real(planes)
        return found

    return run


@pytest.mark.parametrize("error", [OutOfMemory, MemoryError])
@pytest.mark.parametrize(("part", "most"), [("run", 0), ("body", 1700), ("tail", 1000)])
def test_a_tile_that_does_not_fit_is_halved_and_done_again(
    small: Weights, monkeypatch: pytest.MonkeyPatch, part: str, most: int, error: type[Exception]
) -> None:
    lr, said = picture(7, 60, 50, 3), list[str]()
    expected = Upscaler(small).upscale(lr)
    memory = "1GB" if part == "run" else "3MB"
    upscaler = Upscaler(small, memory=memory, notify=said.append)
    monkeypatch.setattr(upscaler._engine, part, _failing(upscaler._engine, part, most, error))
    told: list[int] = []
    found = upscaler.upscale(lr, progress=lambda done, total: told.append(done))
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert said and "going on with its halves" in said[0]
    assert told[-1] == 3000


def test_memory_that_never_suffices_ends_in_a_sentence(small: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    upscaler = Upscaler(small, notify=lambda sentence: None)
    for part in ("run", "body"):
        monkeypatch.setattr(upscaler._engine, part, _failing(upscaler._engine, part, 0, OutOfMemory))
    with pytest.raises(SrganError, match="no memory is left, even for a tile"):
        upscaler.upscale(picture(0, 60, 50, 3))


def test_little_free_memory_makes_tiles_smaller_and_says_so(small: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    upscaler, lr = Upscaler(small, notify=said.append), picture(8, 60, 60, 3)
    expected = upscaler.upscale(lr)
    assert said == []
    monkeypatch.setattr(upscaler_module, "free_memory", lambda: 2_600_000)
    assert np.abs(upscaler.upscale(lr).astype(int) - expected).max() <= 1
    assert len(said) == 1 and "only 3 MB of memory are free" in said[0]
    monkeypatch.setattr(upscaler_module, "free_memory", lambda: 10**12)
    upscaler.upscale(lr)
    assert len(said) == 1  # plenty is never used: the plan stays


def test_the_same_picture_gives_the_same_bytes(small: Weights) -> None:
    lr = picture(9, 40, 33, 3)
    assert (Upscaler(small).upscale(lr) == Upscaler(small).upscale(lr)).all()


def test_several_threads_share_one_upscaler(upscaler: Upscaler, tiled: Upscaler) -> None:
    pictures = [picture(seed, 20 + 7 * seed, 30, 3) for seed in range(6)]
    for one in (upscaler, tiled):
        expected = [one.upscale(lr) for lr in pictures]
        found: list[np.ndarray | None] = [None] * len(pictures)

        def work(index: int, one: Upscaler = one, found: list[np.ndarray | None] = found) -> None:
            for _ in range(3):
                found[index] = one.upscale(pictures[index])

        threads = [threading.Thread(target=work, args=(index,)) for index in range(len(pictures))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for have, want in zip(found, expected, strict=True):
            assert have is not None and (have == want).all()


def test_fast_says_how_far_it_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    from srgan.model.config import GeneratorConfig
    from srgan.model.weights import random

    said: list[str] = []
    weights = random(GeneratorConfig(blocks=8, width=4), seed=1)
    lr = picture(1, 150, 40, 3)
    fast = Upscaler(weights, memory="1.5MB", fast=True, notify=said.append)
    exact, found = Upscaler(weights).upscale(lr).astype(int), fast.upscale(lr)
    assert fast.plan(150, 40).grid.rows > 1
    assert said and "levels" in said[0]
    worst = int(said[0].partition("at most ")[2].partition(" of")[0])
    assert 0 <= worst <= np.abs(found - exact).max()
    assert fast.describe()["halo"] == "16"


def test_describe_names_all_that_decides_the_bytes(small: Weights) -> None:
    described = Upscaler(small, self_ensemble=True).describe()
    assert described["sha256"] == small.sha256
    assert {"model", "version", "engine", "precision", "self_ensemble"} <= set(described)


@pytest.mark.slow
def test_memory_stays_flat_over_500_pictures(small: Weights) -> None:
    """Resident memory after 500 pictures of many sizes, against that after the first 150, the largest among them."""
    upscaler = Upscaler(small)
    sizes = np.random.default_rng(0).integers(8, 120, (500, 2))
    sizes[0] = 119, 119
    after: list[int] = []
    for height, width in sizes:
        upscaler.upscale(picture(0, int(height), int(width), 3))
        after.append(_resident())
    assert max(after[-50:]) - max(after[:150]) < 30_000_000


def _resident() -> int:
    with open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * 4096
