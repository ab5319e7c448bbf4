"""The files of test sets in all known layouts, and the results that belong to them."""

from pathlib import Path

import numpy as np
import pytest

from srgan.data import folders
from srgan.data.pairs import Pair, match_results
from srgan.errors import DataError
from srgan.image.files import write_array


def put(folder: Path, *names: str, side: int = 8) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        write_array(folder / name, np.zeros((side, side, 3), np.uint8))


def named(pairs: list[Pair]) -> list[tuple[str, str, str | None]]:
    return [(pair.name, pair.hr.name, pair.lr.name if pair.lr else None) for pair in pairs]


@pytest.mark.parametrize(("name", "count"), [("Set5", 5), ("Set14", 14), ("BSD100", 100), ("bsd100", 100)])
def test_the_papers_sets(data, name, count):
    pairs = folders.test_pairs(data, name)
    assert len(pairs) == count
    assert named(pairs)[0] == ("img_001", "img_001_SRF_4_HR.png", "img_001_SRF_4_LR.png")


def test_images_of_other_methods_are_ignored(tmp_path):
    folder = tmp_path / "Set14" / "image_SRF_4"
    stem = "img_001_SRF_4_"
    put(folder, *(f"{stem}{kind}.png" for kind in ("HR", "LR", "SRCNN", "bicubic", "ScSR", "glasner")))
    (folder / "notes_HR.txt").write_text("no picture")
    assert named(folders.test_pairs(tmp_path, "Set14")) == [("img_001", f"{stem}HR.png", f"{stem}LR.png")]


@pytest.mark.parametrize(
    ("home", "hr", "lr"),
    [
        ("set14/IMAGE_SRF_4", "IMG_001_srf_4_hr.PNG", "img_001_srf_4_lr.png"),
        ("Set14", "baboon_HR.png", "baboon_LR.png"),
    ],
)
def test_letter_case_and_bare_folders(tmp_path, home, hr, lr):
    put(tmp_path / home, hr)
    put(tmp_path / home, hr[:3] + lr[3:])
    assert [(h, q) for _, h, q in named(folders.test_pairs(tmp_path, "Set14"))] == [(hr, hr[:3] + lr[3:])]


@pytest.mark.parametrize(
    ("name", "hr", "lr", "mark"),
    [
        ("Set14", "benchmark/Set14/HR", "benchmark/Set14/LR_bicubic/X4", "x4"),
        ("BSD100", "benchmark/B100/HR", "benchmark/B100/LR_bicubic/X4", "x4"),
        ("Set5", "Set5/GTmod12", "Set5/LRbicx4", ""),
        ("DIV2K_valid", "DIV2K/DIV2K_valid_HR", "DIV2K/DIV2K_valid_LR_bicubic/X4", "x4"),
    ],
)
def test_layouts_of_others(tmp_path, name, hr, lr, mark):
    put(tmp_path / hr, "b.png", "a.png")
    put(tmp_path / lr, f"a{mark}.png", f"b{mark}.png")
    pairs = folders.test_pairs(tmp_path, name)
    assert named(pairs) == [("a", "a.png", f"a{mark}.png"), ("b", "b.png", f"b{mark}.png")]


def test_a_plain_folder_has_no_lrs(tmp_path):
    put(tmp_path / "valid" / "Kodak24", "kodim02.png", "kodim01.png")
    pairs = folders.test_pairs(tmp_path, "Kodak24")
    assert named(pairs) == [("kodim01", "kodim01.png", None), ("kodim02", "kodim02.png", None)]


def test_the_folder_itself_is_the_set(tmp_path):
    put(tmp_path / "Set5" / "image_SRF_4", "img_001_SRF_4_HR.png", "img_001_SRF_4_LR.png")
    assert len(folders.test_pairs(tmp_path / "Set5", "Set5")) == 1


def test_missing_set(tmp_path):
    with pytest.raises(DataError, match=r"there is no .*Set5; looked for .*image_SRF_4.*srgan data fetch set5"):
        folders.test_pairs(tmp_path, "Set5")
    put(tmp_path / "Set14" / "image_SRF_2", "img_001_SRF_2_HR.png", "img_001_SRF_2_LR.png")
    with pytest.raises(DataError, match="Set14 holds no images"):
        folders.test_pairs(tmp_path, "Set14")
    with pytest.raises(DataError, match=r"there is no .*Urban(?!.*fetch)"):
        folders.test_pairs(tmp_path, "Urban")


def test_incomplete_or_doubled_set(tmp_path):
    put(tmp_path / "Set5", "a_HR.png", "b_HR.png", "a_LR.png")
    with pytest.raises(DataError, match=r"b_HR.png has no LR"):
        folders.test_pairs(tmp_path, "Set5")
    put(tmp_path / "Set14", "a_HR.png", "a_HR.jpg", "a_LR.png")
    with pytest.raises(DataError, match=r"a_HR.jpg and .*a_HR.png are both image a"):
        folders.test_pairs(tmp_path, "Set14")


@pytest.fixture
def three(tmp_path: Path) -> list[Pair]:
    names = ("img_1", "img_1_b", "img_10")
    put(tmp_path / "hr", *(f"{name}.png" for name in names))
    return [Pair(name=name, hr=tmp_path / "hr" / f"{name}.png", lr=None) for name in names]


@pytest.mark.parametrize("ending", [".png", "_SRF_4_LR.png", "_x4.webp", "x4.png", "-sr.PNG", "_SRF_4_SRGAN.png"])
def test_results_are_found_by_name(tmp_path, three, ending):
    folder = tmp_path / "results"
    put(folder, *(f"{pair.name.upper()}{ending}" for pair in three), "other.png", "metrics.png")
    (folder / "metrics.json").write_text("{}")
    found = match_results(folder, three)
    assert {name: path.name for name, path in found.items()} == {
        pair.name: f"{pair.name.upper()}{ending}" for pair in three
    }


def test_the_result_of_the_right_size(tmp_path, three):
    folder = tmp_path / "results"
    put(folder, "img_1_SR.png", "img_1_HR.png")
    put(folder, "img_1_LR.png", side=2)
    assert match_results(folder, three[:1])["img_1"].name == "img_1_SR.png"
    put(folder, "img_1_SRCNN.png")
    with pytest.raises(DataError, match=r"several images for img_1: img_1_SR.png and img_1_SRCNN.png"):
        match_results(folder, three[:1])


def test_missing_results(tmp_path, three):
    folder = tmp_path / "results"
    with pytest.raises(DataError, match=r"results is not a folder"):
        match_results(folder, three)
    put(folder, "img_1.png", "img_10.png", "img_100.png")
    with pytest.raises(DataError, match=r"no image for img_1_b among its 3; expected img_1_b.png"):
        match_results(folder, three)
