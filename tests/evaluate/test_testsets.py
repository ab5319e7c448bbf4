from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from srgan.errors import DataError
from srgan.evaluate import testsets
from srgan.evaluate.testsets import Pair, matched
from srgan.image.files import write_array


def put(folder: Path, *names: str, side: int = 8) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        write_array(folder / name, np.zeros((side, side, 3), np.uint8))


def named(pairs: list[Pair]) -> list[tuple[str, str, str | None]]:
    return [(pair.name, pair.hr.name, pair.lr.name if pair.lr else None) for pair in pairs]


@pytest.mark.parametrize(("name", "count"), [("Set5", 5), ("Set14", 14), ("BSD100", 100), ("bsd100", 100)])
def test_the_papers_sets(data: Path, name: str, count: int) -> None:
    pairs = testsets.test_pairs(data, name)
    assert len(pairs) == count
    assert named(pairs)[0] == ("img_001", "img_001_SRF_4_HR.png", "img_001_SRF_4_LR.png")


def test_other_methods_pictures_are_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "Set14" / "image_SRF_4"
    stem = "img_001_SRF_4_"
    put(folder, *(f"{stem}{kind}.png" for kind in ("HR", "LR", "SRCNN", "bicubic", "ScSR", "glasner")))
    (folder / "notes_HR.txt").write_text("no picture")
    assert named(testsets.test_pairs(tmp_path, "Set14")) == [("img_001", f"{stem}HR.png", f"{stem}LR.png")]


@pytest.mark.parametrize(
    ("home", "hr", "lr"),
    [
        ("set14/IMAGE_SRF_4", "IMG_001_srf_4_hr.PNG", "img_001_srf_4_lr.png"),
        ("Set14", "baboon_HR.png", "baboon_LR.png"),
    ],
)
def test_any_letter_case_and_bare_folders(tmp_path: Path, home: str, hr: str, lr: str) -> None:
    put(tmp_path / home, hr)
    put(tmp_path / home, hr[:3] + lr[3:])
    assert [(h, q) for _, h, q in named(testsets.test_pairs(tmp_path, "Set14"))] == [(hr, hr[:3] + lr[3:])]


@pytest.mark.parametrize(
    ("name", "hr", "lr", "mark"),
    [
        ("Set14", "benchmark/Set14/HR", "benchmark/Set14/LR_bicubic/X4", "x4"),
        ("BSD100", "benchmark/B100/HR", "benchmark/B100/LR_bicubic/X4", "x4"),
        ("Set5", "Set5/GTmod12", "Set5/LRbicx4", ""),
        ("DIV2K_valid", "DIV2K/DIV2K_valid_HR", "DIV2K/DIV2K_valid_LR_bicubic/X4", "x4"),
    ],
)
def test_layouts_of_others(tmp_path: Path, name: str, hr: str, lr: str, mark: str) -> None:
    put(tmp_path / hr, "b.png", "a.png")
    put(tmp_path / lr, f"a{mark}.png", f"b{mark}.png")
    pairs = testsets.test_pairs(tmp_path, name)
    assert named(pairs) == [("a", "a.png", f"a{mark}.png"), ("b", "b.png", f"b{mark}.png")]


def test_a_folder_of_pictures_has_its_low_resolution_ones_made(tmp_path: Path) -> None:
    put(tmp_path / "valid" / "Kodak24", "kodim02.png", "kodim01.png")
    pairs = testsets.test_pairs(tmp_path, "Kodak24")
    assert named(pairs) == [("kodim01", "kodim01.png", None), ("kodim02", "kodim02.png", None)]


def test_the_data_folder_may_be_the_set_itself(tmp_path: Path) -> None:
    put(tmp_path / "Set5" / "image_SRF_4", "img_001_SRF_4_HR.png", "img_001_SRF_4_LR.png")
    assert len(testsets.test_pairs(tmp_path / "Set5", "Set5")) == 1


def test_a_missing_set_says_what_was_looked_for_and_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no .*Set5; looked for .*image_SRF_4.*srgan data fetch set5"):
        testsets.test_pairs(tmp_path, "Set5")
    put(tmp_path / "Set14" / "image_SRF_2", "img_001_SRF_2_HR.png", "img_001_SRF_2_LR.png")
    with pytest.raises(DataError, match="Set14 holds no pictures"):
        testsets.test_pairs(tmp_path, "Set14")
    with pytest.raises(DataError, match=r"there is no .*Urban(?!.*fetch)"):
        testsets.test_pairs(tmp_path, "Urban")


def test_an_incomplete_or_doubled_set_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "Set5", "a_HR.png", "b_HR.png", "a_LR.png")
    with pytest.raises(DataError, match=r"b_HR.png has no LR"):
        testsets.test_pairs(tmp_path, "Set5")
    put(tmp_path / "Set14", "a_HR.png", "a_HR.jpg", "a_LR.png")
    with pytest.raises(DataError, match=r"a_HR.jpg and .*a_HR.png are both picture a"):
        testsets.test_pairs(tmp_path, "Set14")


@pytest.fixture
def three(tmp_path: Path) -> list[Pair]:
    names = ("img_1", "img_1_b", "img_10")
    put(tmp_path / "hr", *(f"{name}.png" for name in names))
    return [Pair(name=name, hr=tmp_path / "hr" / f"{name}.png", lr=None) for name in names]


@pytest.mark.parametrize("ending", [".png", "_SRF_4_LR.png", "_x4.webp", "x4.png", "-sr.PNG", "_SRF_4_SRGAN.png"])
def test_results_are_found_by_name(tmp_path: Path, three: list[Pair], ending: str) -> None:
    folder = tmp_path / "results"
    put(folder, *(f"{pair.name.upper()}{ending}" for pair in three), "other.png", "metrics.png")
    (folder / "metrics.json").write_text("{}")
    found = matched(folder, three)
    assert {name: path.name for name, path in found.items()} == {
        pair.name: f"{pair.name.upper()}{ending}" for pair in three
    }


def test_of_several_the_one_of_the_right_size_is_taken(tmp_path: Path, three: list[Pair]) -> None:
    folder = tmp_path / "results"
    put(folder, "img_1_SR.png", "img_1_HR.png")
    put(folder, "img_1_LR.png", side=2)
    assert matched(folder, three[:1])["img_1"].name == "img_1_SR.png"
    put(folder, "img_1_SRCNN.png")
    with pytest.raises(DataError, match=r"several pictures for img_1: img_1_SR.png and img_1_SRCNN.png"):
        matched(folder, three[:1])


def test_missing_results_are_named(tmp_path: Path, three: list[Pair]) -> None:
    folder = tmp_path / "results"
    with pytest.raises(DataError, match=r"results is not a folder"):
        matched(folder, three)
    put(folder, "img_1.png", "img_10.png", "img_100.png")
    with pytest.raises(DataError, match=r"no picture for img_1_b among its 3; wanted img_1_b.png"):
        matched(folder, three)
