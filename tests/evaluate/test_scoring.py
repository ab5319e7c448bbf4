"""Scores on test sets: known values, cropping, grey images, the sentences about wrong files."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from srgan.data.pairs import Pair
from srgan.errors import DataError
from srgan.evaluate.scoring import evaluate, evaluate_images, scorable
from srgan.image.files import write_array
from srgan.image.metrics import NiqeModel, Scores, bicubic_x4, mean_scores, psnr, score, shave
from srgan.image.resize import downscaled

NIQE = NiqeModel(mean=np.linspace(0, 1, 36), covariance=np.eye(36))


def image(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    hr = image(40, 48, 3)
    write_array(tmp_path / "a_HR.png", hr)
    write_array(tmp_path / "a_LR.png", downscaled(hr))
    return Pair(name="a", hr=tmp_path / "a_HR.png", lr=tmp_path / "a_LR.png")


def test_grey_is_scored_unscaled():
    hr = image(30, 30)
    sr = (hr.astype(int) + 10).clip(0, 255).astype(np.uint8)
    grey = score(sr, hr)
    assert grey.psnr_y == grey.psnr_rgb == psnr(shave(sr), shave(hr))
    assert score(np.stack([sr, sr, sr], axis=2), hr) == grey
    tinted = np.stack([sr, sr, np.minimum(sr, 254) + 1], axis=2)  # a third of a level more: rounds away
    assert score(tinted, hr) == grey
    colour = image(30, 30, 3, seed=2)
    assert score(sr, colour) == score(np.stack([sr, sr, sr], axis=2), colour)


def test_niqe_of_small_or_flat_images_is_none():
    assert score(image(200, 220, 3), image(200, 220, 3)).niqe is None
    assert score(image(200, 220, 3), image(200, 220, 3), niqe_model=NIQE).niqe is not None
    small = image(100, 220, 3)  # shaved: 92 rows, no block of 96
    assert score(small, small, niqe_model=NIQE).niqe is None
    flat = np.full((208, 208, 3), 7, np.uint8)
    assert score(flat, flat, niqe_model=NIQE).niqe is None


def test_mean_has_niqe_only_if_all_images_have():
    a = Scores(psnr_y=20, psnr_rgb=10, ssim_wang=0.5, ssim_daala=0.25, niqe=4.0)
    b = Scores(psnr_y=30, psnr_rgb=20, ssim_wang=1.0, ssim_daala=0.75, niqe=6.0)
    assert mean_scores([a, b]) == Scores(psnr_y=25, psnr_rgb=15, ssim_wang=0.75, ssim_daala=0.5, niqe=5.0)
    without = Scores(psnr_y=30, psnr_rgb=20, ssim_wang=1.0, ssim_daala=0.75, niqe=None)
    assert mean_scores([a, without]).niqe is None
    with pytest.raises(ValueError, match="no images"):
        mean_scores([])


def test_lr_is_the_file_or_the_exact_bicubic(pair, tmp_path):
    given, made = (evaluate(bicubic_x4, [each]) for each in (pair, Pair(name="a", hr=pair.hr, lr=None)))
    assert given == made and given.images["a"] == given.mean
    write_array(tmp_path / "a_LR.png", image(10, 12, 3, seed=5))
    assert evaluate(bicubic_x4, [pair]) != made


def test_odd_hr_is_cropped_to_multiples_of_four(tmp_path):
    hr = image(43, 50, 3)
    write_array(tmp_path / "odd.png", hr)
    result = evaluate(bicubic_x4, [Pair(name="odd", hr=tmp_path / "odd.png", lr=None)])
    assert result.mean == score(bicubic_x4(downscaled(hr)), hr[:40, :48])


def test_saved_file_scores_as_the_array(pair, tmp_path):
    direct = evaluate(bicubic_x4, [pair])
    write_array(tmp_path / "sr.png", bicubic_x4(downscaled(image(40, 48, 3))))
    assert evaluate_images({"a": tmp_path / "sr.png"}, [pair]) == direct


def test_wrong_sizes_name_both_files(pair, tmp_path):
    write_array(tmp_path / "small.png", image(20, 24, 3))
    with pytest.raises(DataError, match=r"small.png is 24x20, but .*a_HR.png / 4 is 12x10"):
        scorable([Pair(name="a", hr=pair.hr, lr=tmp_path / "small.png")])


def test_too_small_image_is_named(tmp_path):
    write_array(tmp_path / "tiny.png", image(16, 40, 3))
    with pytest.raises(DataError, match=r"tiny.png.* is 40x16; .*20 x 20"):
        evaluate(bicubic_x4, [Pair(name="tiny", hr=tmp_path / "tiny.png", lr=None)])


def test_upscaler_of_the_wrong_scale_is_a_bug(pair):
    with pytest.raises(ValueError, match=r"upscaling gave uint8 \(10, 12, 3\)"):
        evaluate(lambda lr: lr, [pair])


def test_what_cannot_be_scored_is_left_out_before_scoring(pair, tmp_path, caplog):
    write_array(tmp_path / "small.png", image(19, 40, 3))
    whole = pair.hr.read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    others = [Pair(name=name, hr=tmp_path / f"{name}.png", lr=None) for name in ("small", "cut")]
    assert scorable([*others, pair]) == [pair]
    assert "small.png is 40x19, and scoring needs at least 20 pixels" in caplog.text and "cut.png" in caplog.text
