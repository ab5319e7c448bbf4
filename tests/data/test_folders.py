"""Which images are trained, validated and tested on, which LR is of which HR, and which result of which pair."""

from pathlib import Path

import numpy as np
import pytest

from srgan.data import folders
from srgan.data.pairs import Pair, match_results
from srgan.errors import DataError
from srgan.image.files import write_array


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.mark.parametrize("x4", ["X4", "4X"])
@pytest.mark.parametrize("home", ["DIV2K/", ""])
def test_div2k_is_paired_by_number(tmp_path, home, x4):
    touch(tmp_path, *(f"{home}DIV2K_train_HR/000{n}.png" for n in (2, 1)))
    touch(tmp_path, *(f"{home}DIV2K_train_LR_bicubic/{x4}/000{n}x4.png" for n in (1, 2)))
    pairs = folders.training_pairs(tmp_path)
    assert [p.name for p in pairs] == ["0001.png", "0002.png"]
    assert [p.lr.name for p in pairs if p.lr] == ["0001x4.png", "0002x4.png"]


def test_div2k_alone_then_train_alone(tmp_path):
    touch(tmp_path, "train/a/1.JPG", "train/2.png", "Set5/image_SRF_4/img_001_SRF_4_HR.png", "valid/k.png")
    assert [p.name for p in folders.training_pairs(tmp_path)] == ["2.png", "a/1.JPG"]
    touch(tmp_path, "DIV2K/DIV2K_train_HR/0001.png")  # LRs are not needed
    assert [(p.name, p.lr) for p in folders.training_pairs(tmp_path)] == [("0001.png", None)]


def test_any_folder_of_images(tmp_path):
    touch(tmp_path, "a.png", "b.webp", "notes.txt", ".c.png", "__MACOSX/._a.png", "deep/er/d.tif")
    (tmp_path / "deep" / "loop").symlink_to(tmp_path)
    assert [p.name for p in folders.training_pairs(tmp_path)] == ["a.png", "b.webp", "deep/er/d.tif"]


def test_hr_and_lr_folders(tmp_path):
    touch(tmp_path, "HR/s/a.png", "LR/X4/s/a_x4.png")
    (pair,) = folders.training_pairs(tmp_path)
    assert (pair.hr, pair.lr) == (tmp_path / "HR/s/a.png", tmp_path / "LR/X4/s/a_x4.png")


@pytest.mark.parametrize(("hr", "lr"), [("v_HR.png", "v_LR.png"), ("v.png", "v_LR.jpg"), ("s/GT_v.png", "s/LR_v.png")])
def test_an_lr_beside_its_hr_is_no_hr(tmp_path, hr, lr):
    touch(tmp_path, f"valid/{hr}", f"valid/{lr}", f"train/{hr}", f"train/{lr}", "train/other_LR.png", "train/v_x4.png")
    assert [(p.hr, p.lr) for p in folders.validation_pairs(tmp_path)] == [
        (tmp_path / "valid" / hr, tmp_path / "valid" / lr)
    ]
    training = {p.name: p.lr for p in folders.training_pairs(tmp_path)}
    assert training == {hr: tmp_path / "train" / lr, "other_LR.png": None, "v_x4.png": None}


@pytest.mark.parametrize("bad", ["image_SRF_4/a.png", "valid/a.png", "x/image_SRF_4/a.png"])
def test_test_and_validation_images_are_refused(tmp_path, bad):
    touch(tmp_path, "a.png", bad)
    with pytest.raises(DataError, match="must not be trained on"):
        folders.training_pairs(tmp_path)
    with pytest.raises(DataError, match="must not be trained on"):
        folders.training_pairs((tmp_path / bad).parent)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["notes.txt"], r"No images in .*, which holds notes.txt; expected files ending in"),
        (["DIV2K/DIV2K_valid_HR/1.png"], r"DIV2K holds DIV2K_valid_HR, but no DIV2K_train_HR"),
        (
            ["DIV2K_train_HR/1.png", "DIV2K_train_LR_bicubic/X4/2x4.png"],
            r"1\.png has no LR in .*X4 \(looked for 1x4\.png\)",
        ),
    ],
)
def test_errors_name_what_is_there(tmp_path, names, said):
    touch(tmp_path, *names)
    with pytest.raises(DataError, match=said):
        folders.training_pairs(tmp_path)


def test_leftovers_of_a_fetch_are_no_training_data(tmp_path):
    touch(tmp_path, "a.png", ".fetch/Set5/image_SRF_4/img_001_SRF_4_HR.png", ".fetch/DIV2K/DIV2K_valid_HR.part/801.png")
    assert [p.name for p in folders.training_pairs(tmp_path)] == ["a.png"]


def test_a_linked_validation_folder_is_refused(tmp_path):
    touch(tmp_path, "elsewhere/1.png", "photos/a.png")
    (tmp_path / "photos" / "valid").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="must not be trained on"):
        folders.training_pairs(tmp_path / "photos")


@pytest.mark.parametrize(
    ("hr", "lr"),
    [("a_x4.png", "a_x4.png"), ("a_x4.png", "a_x4x4.png"), ("e\u0301.png", "\u00e9x4.png"), ("a.b.png", "a.b-X4.jpg")],
)
def test_pairing_by_name(tmp_path, hr, lr):
    touch(tmp_path, f"HR/{hr}", "HR/other.png", f"LR/{lr}", "LR/otherx4.png")
    assert {p.hr.name: p.lr.name for p in folders.training_pairs(tmp_path) if p.lr} == {
        hr: lr,
        "other.png": "otherx4.png",
    }


def test_two_hrs_of_one_lr_are_refused(tmp_path):
    touch(tmp_path, "HR/a.png", "HR/a.jpg", "LR/ax4.png")
    with pytest.raises(DataError, match=r"a\.jpg and .*a\.png are both image a"):
        folders.training_pairs(tmp_path)
    (tmp_path / "HR/a.jpg").rename(tmp_path / "HR/a_HR.jpg")
    with pytest.raises(DataError, match=r"a\.png and .*a_HR\.jpg would share the LR .*ax4\.png; rename one of them\.$"):
        folders.training_pairs(tmp_path)


def test_lrs_that_are_not_used_are_counted(tmp_path, caplog):
    touch(tmp_path, "HR/a.png", "LR/a.png", "LR/ax4.png", "LR/b.png")
    assert len(folders.training_pairs(tmp_path)) == 1
    assert "without an HR are not used: 2, the first is" in caplog.text


def test_validation_pairs(tmp_path):
    assert folders.validation_pairs(tmp_path) == []
    touch(tmp_path, "valid/Kodak24/01.png")
    assert [p.name for p in folders.validation_pairs(tmp_path)] == ["01.png"]
    touch(tmp_path, "own/valid/HR/a.png", "own/valid/LR/ax4.png")
    (pair,) = folders.validation_pairs(tmp_path / "own")
    assert pair.name == "a.png" and pair.lr == tmp_path / "own/valid/LR/ax4.png"
    touch(tmp_path, "DIV2K/DIV2K_valid_HR/0801.png", "DIV2K/DIV2K_valid_LR_bicubic/X4/0801x4.png")
    (pair,) = folders.validation_pairs(tmp_path)
    assert pair.name == "0801.png" and pair.lr is not None and pair.lr.name == "0801x4.png"


def test_the_shared_data(data):
    assert len(folders.training_pairs(data)) == 113 + 80 + 399
    assert len(folders.validation_pairs(data)) == 24


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
    for root in (tmp_path, tmp_path / "Set14"):  # or the set's own folder
        assert named(folders.test_pairs(root, "Set14")) == [("img_001", f"{stem}HR.png", f"{stem}LR.png")]


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


@pytest.mark.parametrize(
    ("hr", "lr"),
    [
        ("a_GT", "a_LR"),
        ("HR_a", "LR_a"),
        ("a_HR", "a_LRx4"),
        ("a", "a x4"),
        ("b\u00e9", "be\u0301x4"),
        ("a", "a-lr_x4"),
    ],
)
def test_marks_of_others(tmp_path, hr, lr):
    put(tmp_path / "Own", f"{hr}.png", f"{lr}.png")
    (pair,) = folders.test_pairs(tmp_path, "Own")
    assert (pair.hr.stem, pair.lr and pair.lr.stem) == (hr, lr)


def test_an_lr_that_is_nobodys_is_named(tmp_path):
    put(tmp_path / "Own", "a.png", "b_LR.png")
    with pytest.raises(DataError, match=r"a\.png has no LR"):
        folders.test_pairs(tmp_path, "Own")


def test_a_plain_folder_has_no_lrs(tmp_path):
    put(tmp_path / "valid" / "Kodak24", "kodim02.png", "kodim01.png")
    pairs = folders.test_pairs(tmp_path, "Kodak24")
    assert named(pairs) == [("kodim01", "kodim01.png", None), ("kodim02", "kodim02.png", None)]


def test_missing_set(tmp_path):
    with pytest.raises(
        DataError, match=r"there is no .*Set5; looked for .*image_SRF_4.*own images.*srgan data fetch set5"
    ):
        folders.test_pairs(tmp_path, "Set5")
    put(tmp_path / "Set14" / "image_SRF_2", "img_001_SRF_2_HR.png", "img_001_SRF_2_LR.png")
    with pytest.raises(DataError, match="Set14 holds no HR images"):
        folders.test_pairs(tmp_path, "Set14")
    with pytest.raises(DataError, match=r"there is no .*Urban(?!.*fetch)"):
        folders.test_pairs(tmp_path, "Urban")


def test_incomplete_or_doubled_set(tmp_path):
    put(tmp_path / "Set5", "a_HR.png", "b_HR.png", "a_LR.png")
    with pytest.raises(DataError, match=r"b_HR.png has no LR .*looked for b_LR.png"):
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
