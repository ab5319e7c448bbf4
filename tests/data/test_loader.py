from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from srgan.data.crops import Crops, turned
from srgan.data.folders import Pair
from srgan.data.image_files import Unpacked, lr_of_region, unpacked
from srgan.data.loader import Plan, chosen, gather, hr_signed, loader, lr_unit
from srgan.data.pack import Pack, pack_pairs
from srgan.errors import DataError
from srgan.image import files, resize

CPU = torch.device("cpu")
PLAN = Plan(seed=3, phase="pretrain", batch=7, crop=32)


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
def packed(pairs: list[Pair], tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return pack_pairs(pairs, tmp_path_factory.mktemp("pack") / "p.pack", minimum=32)


def test_a_batch_is_the_planned_crops_turned(packed: Pack) -> None:
    planned = PLAN.of(packed, 5)
    assert len(set(planned.turn.tolist())) > 2, "the case needs several turns"
    batches = loader(packed, PLAN, device=CPU)
    lr, hr = batches(5)
    batches.close()
    assert lr.shape == (7, 3, 8, 8) and hr.shape == (7, 3, 32, 32) and hr.dtype == torch.uint8
    for i in range(7):
        picture, top, left, turn = (int(values[i]) for values in planned)
        wanted = turned(packed.hr(picture)[4 * top : 4 * top + 32, 4 * left : 4 * left + 32], turn)
        assert np.array_equal(hr[i].permute(1, 2, 0).numpy(), wanted)
        wanted = turned(packed.lr(picture)[top : top + 8, left : left + 8], turn)
        assert np.array_equal(lr[i].permute(1, 2, 0).numpy(), wanted)


def test_the_crops_are_the_same_from_all_three_places(packed: Pack, pairs: list[Pair]) -> None:
    in_files = unpacked(pairs, minimum=32)
    assert in_files.names == packed.names and in_files.left_out == packed.left_out
    three = [
        loader(packed, PLAN, device=CPU, source="mapped"),
        loader(packed, PLAN, device=CPU, source="device"),
        loader(in_files, PLAN, device=CPU, source="files"),
    ]
    seen = set()
    for step in [*range(12), 3, 900]:
        mapped, resident, decoded = (batches(step) for batches in three)
        for one, other, third in zip(mapped, resident, decoded, strict=True):
            assert torch.equal(one, other) and torch.equal(one, third)
        seen |= set(PLAN.of(packed, step).turn.tolist())
    for batches in three:
        batches.close()
    assert seen == set(range(8)), "all eight turns are compared"


@given(st.data())
def test_lr_of_a_region_is_the_wholes_bit_for_bit(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(6, 30)) * 4, data.draw(st.integers(6, 30)) * 4
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    hr = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    side = data.draw(st.integers(1, min(height, width) // 4))
    top, left = data.draw(st.integers(0, height // 4 - side)), data.draw(st.integers(0, width // 4 - side))
    whole = resize.downscaled(hr)
    assert np.array_equal(lr_of_region(hr, top, left, side), whole[top : top + side, left : left + side])


@pytest.mark.parametrize("world", [2, 3, 7])
def test_ranks_share_a_batch_that_does_not_depend_on_them(packed: Pack, world: int) -> None:
    whole = PLAN.of(packed, 11)
    ranks = [dataclasses.replace(PLAN, rank=r, world=world).of(packed, 11) for r in range(world)]
    together = Crops(*(np.concatenate(values) for values in zip(*ranks, strict=True)))
    for values, wanted in zip(together, whole, strict=True):
        assert np.array_equal(values, wanted)


def test_steps_may_come_in_any_order_and_are_prepared_ahead(packed: Pack) -> None:
    batches = loader(packed, PLAN, device=CPU)
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


def test_automatic_choice_without_a_gpu(packed: Pack, pairs: list[Pair]) -> None:
    assert chosen("auto", packed, CPU) == "mapped" and chosen("device", packed, CPU) == "device"
    assert chosen("auto", unpacked(pairs, minimum=32), CPU) == "files"


def test_unpacked_names_what_is_damaged_or_changed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "a.png"
    files.write_array(path, rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    found = unpacked([Pair(name="a.png", hr=path, lr=None)], minimum=32)
    files.write_array(path, rng.integers(0, 256, (64, 80, 3), dtype=np.uint8))
    with pytest.raises(DataError, match=r"a\.png or its LR changed its size"):
        gather(found, Plan(seed=0, phase="pretrain", batch=1, crop=32).of(found, 0), 32)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(DataError, match=r"a\.png.*srgan data check"):
        gather(found, Plan(seed=0, phase="pretrain", batch=1, crop=32).of(found, 0), 32)
    path.write_bytes(b"no picture")
    with pytest.raises(DataError, match="None of the 1 pictures"):
        unpacked([Pair(name="a.png", hr=path, lr=None)], minimum=32)


def test_fingerprint_of_files_follows_their_content(tmp_path: Path) -> None:
    def made() -> Unpacked:
        return unpacked([Pair(name="a.png", hr=tmp_path / "a.png", lr=None)], minimum=32)

    rng = np.random.default_rng(0)
    files.write_array(tmp_path / "a.png", rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    first = made().fingerprint
    assert made().fingerprint == first
    files.write_array(tmp_path / "a.png", np.zeros((64, 64, 3), np.uint8))
    assert made().fingerprint != first


def test_ranges_at_the_door() -> None:
    levels = torch.tensor([0, 51, 255], dtype=torch.uint8)
    assert lr_unit(levels).tolist() == pytest.approx([0.0, 0.2, 1.0])
    assert hr_signed(levels).tolist() == pytest.approx([-1.0, -0.6, 1.0])
    assert hr_signed(levels, torch.float64).dtype == torch.float64
