"""Batches: the sampled crops, the same from memory, from packed images and from files."""

import dataclasses
import os
from functools import partial
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from srgan.data.image_files import ImageFiles, lr_from_hr_region
from srgan.data.loader import CropSampler, ProcessLoader, choose_source, gather, loader, prepare_batch
from srgan.data.packed import PackedImages, pack_images
from srgan.data.pairs import Pair
from srgan.errors import STOP_SIGNALS, DataError
from srgan.image import files, resize

CPU = torch.device("cpu")
SAMPLER = CropSampler(seed=3, phase="pretrain", batch=7, crop=32)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    """Pictures of odd sizes without LRs, one with an LR of its own, one too small."""
    home = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    found = []
    for n, (height, width) in enumerate([(41, 67), (90, 33), (64, 64), (35, 120), (48, 48), (20, 200)]):
        path = home / f"{n}.png"
        files.write_array(path, rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        found.append(Pair(name=path.name, hr=path, lr=None))
    files.write_array(home / "4x4.png", rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
    found[4] = dataclasses.replace(found[4], lr=home / "4x4.png")
    return found


@pytest.fixture(scope="module")
def packed(pairs: list[Pair], tmp_path_factory: pytest.TempPathFactory) -> PackedImages:
    return pack_images(pairs, tmp_path_factory.mktemp("pack") / "p.pack", min_side=32)


def test_same_crops_from_all_three_sources(packed, pairs):
    in_files = ImageFiles(pairs, min_side=32)
    assert in_files.names == packed.names and in_files.skipped == packed.skipped
    three = [
        loader(packed, SAMPLER, device=CPU, source="mapped"),
        loader(packed, SAMPLER, device=CPU, source="device"),
        loader(in_files, SAMPLER, device=CPU, source="files"),
    ]
    seen = set()
    for step in [*range(12), 3, 900]:
        mapped, resident, decoded = (batches(step) for batches in three)
        expected = gather(packed, SAMPLER.crops(packed, step), 32)
        for pixels, one, other, third in zip(expected, mapped, resident, decoded, strict=True):
            assert np.array_equal(pixels, one.permute(0, 2, 3, 1).numpy())
            assert torch.equal(one, other) and torch.equal(one, third)
        seen |= set(SAMPLER.crops(packed, step).symmetry.tolist())
    for batches in three:
        batches.close()
    assert seen == set(range(8)), "all eight turns are compared"


@given(st.data())
def test_lr_of_a_region_is_part_of_the_whole_lr(data):
    height, width = data.draw(st.integers(6, 30)) * 4, data.draw(st.integers(6, 30)) * 4
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    hr = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    side = data.draw(st.integers(1, min(height, width) // 4))
    top, left = data.draw(st.integers(0, height // 4 - side)), data.draw(st.integers(0, width // 4 - side))
    whole = resize.downscaled(hr)
    assert np.array_equal(lr_from_hr_region(hr, top, left, side), whole[top : top + side, left : left + side])


def test_any_order_of_steps_and_prefetch(packed):
    batches = loader(packed, SAMPLER, device=CPU)
    prepared: list[int] = []
    inner = batches.prepare

    def watched(step: int) -> Any:
        prepared.append(step)
        return inner(step)

    batches.prepare = watched
    first = [batches(step) for step in (0, 1, 2)]
    assert sorted({*prepared, 3}) == [0, 1, 2, 3], "each step once, and one ahead"
    again = [batches(step) for step in (1, 0, 2)]
    batches.close()
    for a, b in zip(first, [again[1], again[0], again[2]], strict=True):
        assert torch.equal(a.hr, b.hr)


@pytest.mark.slow
@pytest.mark.parametrize("in_files", [False, True])
def test_processes_prepare_the_same_batches(packed, pairs, in_files, monkeypatch):
    images = ImageFiles(pairs, min_side=32) if in_files else packed
    sampler = dataclasses.replace(SAMPLER, degrade="all")
    one = loader(images, sampler, device=CPU)
    several = ProcessLoader(partial(prepare_batch, images, sampler, None), one.finish, workers=2)
    start = BaseProcess.start

    def start_and_warn(process: BaseProcess) -> None:  # as a scheduler warns all processes of a job
        start(process)
        for number in STOP_SIGNALS:
            os.kill(process.pid, number)

    monkeypatch.setattr(BaseProcess, "start", start_and_warn)
    for step in (4, 5, 6, 7, 5, 6, 7):  # a run that returns to a checkpoint
        for a, b in zip(one(step), several(step), strict=True):
            assert torch.equal(a, b)
    one.close()
    workers = several.prepared._workers
    several.close()
    for process in workers:
        process.join(60)
        assert not process.is_alive()


def test_automatic_source_without_a_gpu(packed, pairs):
    assert choose_source("auto", packed, CPU) == "mapped" and choose_source("device", packed, CPU) == "device"
    assert choose_source("auto", ImageFiles(pairs, min_side=32), CPU) == "files"


def test_damaged_or_changed_files_are_named(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "a.png"
    pairs = [Pair(name="a.png", hr=path, lr=None)]
    with pytest.raises(DataError, match=r"No training image \(of 1\) can be used"):
        ImageFiles(pairs, min_side=32)
    files.write_array(path, rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    found = ImageFiles(pairs, min_side=32)
    files.write_array(path, rng.integers(0, 256, (64, 80, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=r"a\.png or its LR changed its size"):
        found.crop(0, 0, 0, 8)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"All 1 .*a\.png"):
        found.crop(0, 0, 0, 8)


def test_a_damaged_file_is_left_out_as_in_a_pack(tmp_path, caplog):
    pairs = [Pair(name=name, hr=tmp_path / name, lr=None) for name in ("a.png", "b.png", "c.png")]
    for side, pair in zip((96, 64, 96), pairs, strict=True):
        files.write_array(pair.hr, np.random.default_rng(side).integers(0, 256, (side, side, 3), np.uint8))
    found = ImageFiles(pairs, min_side=64)
    pairs[0].hr.write_bytes(pairs[0].hr.read_bytes()[:2000])
    _, instead = found.crop(0, 8, 5, 16)
    assert np.array_equal(instead, found.crop(1, 0, 0, 16)[1])  # b.png has one crop of this size
    found.crop(0, 0, 0, 16)
    assert caplog.text.count("left out") == 1
    pairs[1].hr.unlink()
    with pytest.raises(DataError, match=r"b\.png.*Restore it"):
        found.crop(1, 0, 0, 16)


def test_files_that_would_stop_at_their_first_crop_are_left_out(tmp_path):
    image = Image.new("RGB", (96, 96))
    image.save(tmp_path / "a.png")
    image.save(tmp_path / "b.gif", save_all=True, append_images=[Image.new("RGB", (96, 96), "red")])
    Image.new("F", (96, 96)).save(tmp_path / "c.tif")
    names = ("a.png", "b.gif", "c.tif")
    found = ImageFiles([Pair(name=name, hr=tmp_path / name, lr=None) for name in names], min_side=32)
    assert found.names == ("a.png",) and "frames" in found.skipped[0] and "float" in found.skipped[1]


def test_fingerprint_of_files(tmp_path):
    def made() -> ImageFiles:
        return ImageFiles([Pair(name="a.png", hr=tmp_path / "a.png", lr=None)], min_side=32)

    rng = np.random.default_rng(0)
    files.write_array(tmp_path / "a.png", rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    first = made().fingerprint
    assert made().fingerprint == first
    files.write_array(tmp_path / "a.png", np.zeros((64, 64, 3), np.uint8))
    assert made().fingerprint != first
