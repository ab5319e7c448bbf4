"""Which images are trained, validated and tested on, which LR is of which HR, and which result of which pair."""

from pathlib import Path

import numpy as np
import pytest

from srgan.data import folders
from srgan.data.pairs import Pair, match_results
from srgan.errors import DataError
from srgan.image.files import write_array

Lrs = dict[str, str | None]
"""HR -> its LR, both below the data folder."""


def touch(root: Path, *names: str | None) -> None:
    for name in filter(None, names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def lrs(root: Path, pairs: list[Pair]) -> Lrs:
    return {str(p.hr.relative_to(root)): p.lr and str(p.lr.relative_to(root)) for p in pairs}


DIV2K, DIV2K_LR = "DIV2K/DIV2K_train_HR", "DIV2K/DIV2K_train_LR_bicubic"
TEST_HR, FETCHED = "Set5/image_SRF_4/img_001_SRF_4_HR.png", ".fetch/DIV2K/DIV2K_valid_HR.part/801.png"


@pytest.mark.parametrize(
    ("expected", "others"),
    [
        ({f"{DIV2K}/{n}.png": f"{DIV2K_LR}/X4/{n}x4.png" for n in ("01", "02")}, ["train/2.png", TEST_HR]),
        ({"DIV2K_train_HR/1.png": "DIV2K_train_LR_bicubic/4X/1x4.png"}, []),
        ({f"{DIV2K}/1.png": None}, []),
        ({"train/2.png": None, "train/a/1.JPG": None}, [TEST_HR, "valid/k.png"]),
        ({"a.png": None, "b.webp": None, "deep/d.tif": None}, ["notes.txt", ".c.png", "__MACOSX/._a.png"]),
        ({"a.png": None}, [f".fetch/{TEST_HR}", FETCHED]),
        ({"HR/s/a.png": "LR/X4/s/a_x4.png"}, []),
        # The LR beside its HR.
        ({"train/v_HR.png": "train/v_LR.png", "train/other_LR.png": None, "train/v_x4.png": None}, []),
        ({"train/v.png": "train/v_LR.jpg"}, []),
        ({"train/s/GT_v.png": "train/s/LR_v.png"}, []),
        # Marks, letters with accents and dots in names.
        ({"HR/a_x4.png": "LR/a_x4.png", "HR/other.png": "LR/otherx4.png"}, []),
        ({"HR/a_x4.png": "LR/a_x4x4.png"}, []),
        ({"HR/e\u0301.png": "LR/\u00e9x4.png"}, []),
        ({"HR/a.b.png": "LR/a.b-X4.jpg"}, []),
    ],
)
def test_training_images_and_their_lrs(tmp_path, expected, others):
    touch(tmp_path, *expected, *expected.values(), *others)
    assert lrs(tmp_path, pairs := folders.training_pairs(tmp_path)) == expected
    hr = folders.training_folders(tmp_path).hr
    assert [pair.name for pair in pairs] == sorted(str(pair.hr.relative_to(hr)) for pair in pairs)


def test_a_link_to_its_own_folder_ends(tmp_path):
    touch(tmp_path, "deep/a.png")
    (tmp_path / "deep" / "loop").symlink_to(tmp_path)
    assert [p.name for p in folders.training_pairs(tmp_path)] == ["deep/a.png"]


@pytest.mark.parametrize(
    "expected",
    [
        {},
        {"valid/Kodak24/01.png": None},
        {"valid/HR/a.png": "valid/LR/ax4.png"},
        {"valid/v_HR.png": "valid/v_LR.png"},
        {"DIV2K/DIV2K_valid_HR/0801.png": "DIV2K/DIV2K_valid_LR_bicubic/X4/0801x4.png"},
    ],
)
def test_validation_images_and_their_lrs(tmp_path, expected):
    touch(tmp_path, *expected, *expected.values())
    if "DIV2K/DIV2K_valid_HR/0801.png" in expected:
        touch(tmp_path, "valid/Kodak24/01.png")
    assert lrs(tmp_path, folders.validation_pairs(tmp_path)) == expected


@pytest.mark.parametrize("bad", ["image_SRF_4/a.png", "valid/a.png", "x/image_SRF_4/a.png", "link"])
def test_test_and_validation_images_are_refused(tmp_path, bad):
    root = tmp_path / "photos"
    touch(root, "a.png", *([] if bad == "link" else [bad]))
    if bad == "link":
        touch(tmp_path, "elsewhere/1.png")
        (root / "valid").symlink_to(tmp_path / "elsewhere")
    for folder in (root, (root / bad).parent):
        with pytest.raises(DataError, match="must not be trained on"):
            folders.training_pairs(folder)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["notes.txt"], r"No images in .*, which holds notes.txt; expected files ending in"),
        (["DIV2K/DIV2K_valid_HR/1.png"], r"DIV2K holds DIV2K_valid_HR, but no DIV2K_train_HR"),
        ([f"{DIV2K}/1.png", f"{DIV2K_LR}/X4/2x4.png"], r"1\.png has no LR in .*X4 \(looked for 1x4\.png\)"),
        (["HR/a.png", "HR/a.jpg", "LR/ax4.png"], r"a\.jpg and .*a\.png are both image a"),
        (
            ["HR/a.png", "HR/a_HR.jpg", "LR/ax4.png"],
            r"a\.png and .*a_HR\.jpg would share the LR .*ax4\.png; rename one of them\.$",
        ),
    ],
)
def test_errors_name_what_is_there(tmp_path, names, said):
    touch(tmp_path, *names)
    with pytest.raises(DataError, match=said):
        folders.training_pairs(tmp_path)


def test_lrs_that_are_not_used_are_counted(tmp_path, caplog):
    touch(tmp_path, "HR/a.png", "LR/a.png", "LR/ax4.png", "LR/b.png")
    assert len(folders.training_pairs(tmp_path)) == 1
    assert "without an HR are not used: 2, the first is" in caplog.text


def test_the_shared_data(data):
    assert len(folders.training_pairs(data)) == 113 + 80 + 399
    assert len(folders.validation_pairs(data)) == 24
    for name, count in (("Set5", 5), ("Set14", 14), ("BSD100", 100), ("bsd100", 100)):
        pairs = folders.test_pairs(data, name)
        assert len(pairs) == count and pairs[0].lr is not None
        files = (pairs[0].hr.name, pairs[0].lr.name)
        assert (pairs[0].name, *files) == ("img_001", "img_001_SRF_4_HR.png", "img_001_SRF_4_LR.png")


SET14 = "Set14/image_SRF_4/img_001_SRF_4"


@pytest.mark.parametrize(
    ("name", "expected", "others"),
    [
        ("Set14", {f"{SET14}_HR.png": f"{SET14}_LR.png"}, [f"{SET14}_SRCNN.png", f"{SET14}_ScSR.png", "Set14/HR.txt"]),
        ("Set14", {"set14/IMAGE_SRF_4/IMG_001_srf_4_hr.PNG": "set14/IMAGE_SRF_4/IMG_001_srf_4_lr.png"}, []),
        ("Set14", {"Set14/baboon_HR.png": "Set14/baboon_LR.png"}, []),
        # Layouts of EDSR, BasicSR and DIV2K.
        ("Set14", {f"benchmark/Set14/HR/{n}.png": f"benchmark/Set14/LR_bicubic/X4/{n}x4.png" for n in "ab"}, []),
        ("BSD100", {"benchmark/B100/HR/a.png": "benchmark/B100/LR_bicubic/X4/ax4.png"}, []),
        ("Set5", {"Set5/GTmod12/a.png": "Set5/LRbicx4/a.png"}, []),
        ("DIV2K_valid", {"DIV2K/DIV2K_valid_HR/1.png": "DIV2K/DIV2K_valid_LR_bicubic/X4/1x4.png"}, []),
        # Marks.
        ("Own", {"Own/a_GT.png": "Own/a_LR.png"}, []),
        ("Own", {"Own/HR_a.png": "Own/LR_a.png"}, []),
        ("Own", {"Own/a_HR.png": "Own/a_LRx4.png"}, []),
        ("Own", {"Own/a.png": "Own/a x4.png"}, []),
        ("Own", {"Own/b\u00e9.png": "Own/be\u0301x4.png"}, []),
        ("Own", {"Own/a.png": "Own/a-lr_x4.png"}, []),
        # No LRs.
        ("Kodak24", {"valid/Kodak24/kodim01.png": None, "valid/Kodak24/kodim02.png": None}, []),
    ],
)
def test_images_of_a_test_set_and_their_lrs(tmp_path, name, expected, others):
    touch(tmp_path, *expected, *expected.values(), *others)
    assert lrs(tmp_path, folders.test_pairs(tmp_path, name)) == expected
    if (tmp_path / name).is_dir():  # or the set's own folder
        assert lrs(tmp_path, folders.test_pairs(tmp_path / name, name)) == expected


@pytest.mark.parametrize(
    ("name", "names", "said"),
    [
        ("Set5", [], r"there is no .*Set5; looked for .*image_SRF_4.*own images.*srgan data fetch set5"),
        ("Urban", ["a.png"], r"there is no .*Urban(?!.*fetch)"),
        ("Set14", ["Set14/image_SRF_2/img_001_SRF_2_HR.png"], "Set14 holds no HR images"),
        ("Set5", ["Set5/a_HR.png", "Set5/b_HR.png", "Set5/a_LR.png"], r"b_HR.png has no LR .*looked for b_LR.png"),
        ("Own", ["Own/a.png", "Own/b_LR.png"], r"a\.png has no LR"),
        ("Own", ["Own/a_HR.png", "Own/a_HR.jpg", "Own/a_LR.png"], r"a_HR.jpg and .*a_HR.png are both image a"),
    ],
)
def test_incomplete_and_missing_sets_are_named(tmp_path, name, names, said):
    touch(tmp_path, *names)
    with pytest.raises(DataError, match=said):
        folders.test_pairs(tmp_path, name)


def put(folder: Path, *names: str, side: int = 8) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        write_array(folder / name, np.zeros((side, side, 3), np.uint8))


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
    put(folder, "img_1_LR.png", "img_10.png", side=2)
    with pytest.raises(DataError, match=r"img_10.png is 2x2, but .*hr.img_10.png .* is 8x8; is it of another set"):
        match_results(folder, three[2:])
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
