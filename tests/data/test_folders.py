"""Which images are trained and validated on, and which LR is of which HR."""

from pathlib import Path

import pytest

from srgan.data import folders
from srgan.errors import DataError


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


def test_only_hr_is_needed(tmp_path):
    touch(tmp_path, "DIV2K/DIV2K_train_HR/0001.png")
    assert [(p.name, p.lr) for p in folders.training_pairs(tmp_path)] == [("0001.png", None)]


def test_div2k_alone_then_train_alone(tmp_path):
    touch(tmp_path, "train/a/1.JPG", "train/2.png", "Set5/image_SRF_4/img_001_SRF_4_HR.png", "valid/k.png")
    assert [p.name for p in folders.training_pairs(tmp_path)] == ["2.png", "a/1.JPG"]
    touch(tmp_path, "DIV2K/DIV2K_train_HR/0001.png")
    assert [p.name for p in folders.training_pairs(tmp_path)] == ["0001.png"]


def test_any_folder_of_images(tmp_path):
    touch(tmp_path, "a.png", "b.webp", "notes.txt", ".c.png", "__MACOSX/._a.png", "deep/er/d.tif")
    (tmp_path / "deep" / "loop").symlink_to(tmp_path)
    assert [p.name for p in folders.training_pairs(tmp_path)] == ["a.png", "b.webp", "deep/er/d.tif"]


def test_hr_and_lr_folders(tmp_path):
    touch(tmp_path, "HR/s/a.png", "LR/X4/s/a_x4.png")
    (pair,) = folders.training_pairs(tmp_path)
    assert (pair.hr, pair.lr) == (tmp_path / "HR/s/a.png", tmp_path / "LR/X4/s/a_x4.png")


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


def test_missing_folder(tmp_path):
    with pytest.raises(DataError, match=r"No data folder .*nowhere"):
        folders.training_pairs(tmp_path / "nowhere")


def test_validation_pairs(tmp_path):
    assert folders.validation_pairs(tmp_path) == []
    touch(tmp_path, "valid/Kodak24/01.png")
    assert [p.name for p in folders.validation_pairs(tmp_path)] == ["01.png"]
    touch(tmp_path, "DIV2K/DIV2K_valid_HR/0801.png", "DIV2K/DIV2K_valid_LR_bicubic/X4/0801x4.png")
    (pair,) = folders.validation_pairs(tmp_path)
    assert pair.name == "0801.png" and pair.lr is not None and pair.lr.name == "0801x4.png"


def test_the_shared_data(data):
    assert len(folders.training_pairs(data)) == 113 + 80 + 399
    assert len(folders.validation_pairs(data)) == 24
