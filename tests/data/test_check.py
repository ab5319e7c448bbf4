"""What `data check` finds: damage, pairs that do not fit, leaks into test sets."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray

from srgan.data.check import SIDE, Report, check, same_images, thumbnail
from srgan.errors import DataError
from srgan.image import files, resize
from tests.support import half, scene


def put(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_array(path, np.ascontiguousarray(pixels))
    return path


def texts(report: Report, kind: str) -> list[str]:
    return [finding.text for finding in report.findings if finding.kind == kind]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A sound data folder: five to train on, two to validate on, a test set of two with exact LRs."""
    for seed in range(5):
        put(tmp_path / f"train/{seed}.png", scene(seed))
    for seed in (10, 11):
        put(tmp_path / f"valid/Kodak24/{seed}.png", scene(seed))
    for n, seed in ((1, 20), (2, 21)):
        hr = resize.cropped(scene(seed))
        put(tmp_path / f"Set5/image_SRF_4/img_00{n}_SRF_4_HR.png", hr)
        put(tmp_path / f"Set5/image_SRF_4/img_00{n}_SRF_4_LR.png", resize.downscaled(hr))
    return tmp_path


def test_sound_folder(root):
    report = check(root)
    assert report.usable and report.findings == []
    assert [(g.role, len(g.pairs), g.lr) for g in report.groups] == [
        ("training", 5, "bicubic"),
        ("validation", 2, "bicubic"),
        ("test Set5", 2, "exact"),
    ]
    pixels = sum(scene(seed)[..., 0].size for seed in range(5))
    assert report.groups[0].megapixels == pytest.approx(pixels / 1e6)


def test_findings_that_are_not_fatal(root):
    put(root / "train/small.png", scene(30)[:90])
    put(root / "train/grey.png", scene(31)[..., 0])
    for name in ("train/a.kra", "valid/Kodak24/b.cr3"):
        (root / name).touch()
    shutil.copy(root / "train/1.png", root / "train/again.png")
    report = check(root)
    assert report.usable
    assert [text.split(": ")[1] for text in texts(report, "note")] == ["1 .kra are not read", "1 .cr3 are not read"]
    assert "small.png is" in texts(report, "small")[0] and len(texts(report, "small")) == 1
    assert "grey.png is grey" in texts(report, "grey")[0]
    assert "1.png has the same pixels as" in texts(report, "duplicate")[0]


def test_damaged_images(root):
    whole = (root / "train/0.png").read_bytes()
    (root / "train/cut.png").write_bytes(whole[: len(whole) // 2])
    (root / "train/text.png").write_text("no image")
    report = check(root)
    assert not report.usable
    assert sorted(Path(text.split()[0]).name for text in texts(report, "damaged")) == ["cut.png", "text.png"]


@pytest.mark.parametrize("seed", [10, 20])
def test_leaks(root, seed):
    put(root / "train/deep/innocent.jpg", half(scene(seed))[:, ::-1])
    report = check(root)
    assert not report.usable
    (text,) = texts(report, "leak")
    assert "deep/innocent.jpg shows the same image as" in text and ("10.png" if seed == 10 else "img_001") in text


def test_unpaired_and_mispaired(tmp_path):
    hr_folder, lr_folder = tmp_path / "DIV2K/DIV2K_train_HR", tmp_path / "DIV2K/DIV2K_train_LR_bicubic/X4"
    hrs = {n: resize.bicubic(scene(n), 152, 160) for n in range(1, 6)}
    for n, hr in hrs.items():
        put(hr_folder / f"000{n}.png", hr)
    put(lr_folder / "0001x4.png", resize.downscaled(hrs[1]))
    put(lr_folder / "0002x4.png", resize.downscaled(hrs[3]))
    put(lr_folder / "0003x4.png", resize.downscaled(hrs[3])[:-1])
    put(lr_folder / "0004x4.png", hrs[4][::4, ::4])
    put(lr_folder / "0009x4.png", resize.downscaled(hrs[1]))
    report = check(tmp_path)
    unpaired = texts(report, "unpaired")
    assert not report.usable and len(unpaired) == 4
    said = ("0005.png has no LR", "0009x4.png has no HR", "0002x4.png does not show what", "0003x4.png is 40x37")
    assert [sum(words in text for text in unpaired) for words in said] == [1] * 4
    assert "0004x4.png is off by up to" in texts(report, "lr")[0]


def test_a_test_set_alone(root):
    report = check(root / "Set5")
    assert report.usable and [g.role for g in report.groups] == ["test Set5"]
    assert "nothing to train on" in texts(report, "note")[0]


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match="No images"):
        check(tmp_path)
    with pytest.raises(DataError, match="No data folder"):
        check(tmp_path / "nowhere")


@pytest.mark.slow
def test_the_shared_data_is_clean(data):
    report = check(data)
    assert report.usable and report.findings == []
    assert [len(g.pairs) for g in report.groups] == [592, 24, 5, 14, 100]


Pixels = NDArray[np.uint8]


def jpeg(image: Pixels) -> Pixels:
    encoded = pyvips.Image.new_from_array(np.ascontiguousarray(image)).jpegsave_buffer(Q=60)
    return np.asarray(pyvips.Image.new_from_buffer(encoded, "").numpy())


DISGUISES: dict[str, Callable[[Pixels], Pixels]] = {
    "jpeg": jpeg,
    "jpeg of the mirrored half": lambda p: jpeg(half(p)[:, ::-1]),
    "quarter turn": lambda p: np.rot90(p),
    "grey": lambda p: p.mean(axis=2).astype(np.uint8),
    "darker": lambda p: (p * 0.6).astype(np.uint8),
    "a tenth cut": lambda p: p[: p.shape[0] * 9 // 10, p.shape[1] // 10 :],
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_the_same_image_in_disguise(disguise):
    known = [thumbnail(scene(seed)) for seed in range(12)]
    hidden = [thumbnail(DISGUISES[disguise](scene(seed))) for seed in (3, 7)]
    others = [thumbnail(scene(seed)) for seed in range(100, 110)]
    assert [match[:2] for match in same_images(known, others + hidden)] == [(3, 10), (7, 11)]
    assert [match[:2] for match in same_images(others + hidden, known)] == [(10, 3), (11, 7)]


def test_other_images():
    left = [thumbnail(scene(seed)) for seed in range(40)]
    right = [thumbnail(scene(seed)) for seed in range(40, 80)]
    flat = [np.full((SIDE, SIDE), level, np.uint8) for level in (0, 255)]
    assert same_images(left, [*right, *flat]) == []
    assert same_images([], right) == [] and same_images(left, []) == []
