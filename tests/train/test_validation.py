"""Validation: which images count, tiles, TensorBoard's curves."""

from pathlib import Path

import numpy as np
import pytest

from srgan.data.pairs import Pair
from srgan.errors import DataError
from srgan.image.files import write_array
from srgan.model.config import GeneratorConfig
from srgan.model.generator import generator_from_weights
from srgan.train import validation
from srgan.train.recorder import Journal
from tests.support import random_weights


def pair(folder: Path, name: str, height: int, width: int, lr: tuple[int, int] | None = None) -> Pair:
    rng = np.random.default_rng(0)
    write_array(folder / name, rng.integers(0, 256, (height, width, 3), np.uint8))
    if lr:
        write_array(folder / f"lr_{name}", rng.integers(0, 256, (*lr, 3), np.uint8))
    return Pair(name=name, hr=folder / name, lr=folder / f"lr_{name}" if lr else None)


def test_what_cannot_be_scored_is_left_out_and_named(tmp_path, caplog):
    broken = Pair(name="broken.png", hr=tmp_path / "broken.png", lr=None)
    small, odd = pair(tmp_path, "small.png", 18, 60), pair(tmp_path, "odd.png", 43, 50, (10, 12))
    (image,) = validation.load_validation([broken, small, odd], 1)
    assert image.name == "odd.png" and image.hr.shape == (40, 48, 3)
    assert "broken.png" in caplog.messages[0] and "small.png" in caplog.messages[1]


def test_a_wrong_pair_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"lr_v.png is 24x20, but .*v.png / 4 is 12x10"):
        validation.load_validation([pair(tmp_path, "v.png", 40, 48, (20, 24))], 1)


def test_tiles_are_the_whole_image(monkeypatch):
    generator = generator_from_weights(random_weights(GeneratorConfig(blocks=1, width=4))).eval()
    lr = np.random.default_rng(1).integers(0, 256, (60, 70, 3), np.uint8)
    whole = validation.upscaled(generator, lr)
    monkeypatch.setattr(validation, "TILE_PIXELS", 48 * 48)
    tiled = validation.upscaled(generator, lr)
    assert np.abs(whole.astype(int) - tiled).max() <= 1 and (whole == tiled).mean() > 0.999


def test_the_digest_depends_on_the_images():
    images = [
        validation.ValidationImage("a", np.zeros((8, 8, 3), np.uint8), np.full((32, 32, 3), n, np.uint8))
        for n in (0, 1)
    ]
    assert len({validation.digest(part, None) for part in (images, images[:1], images[1:], [])}) == 4


def test_curves_never_go_back(tmp_path):
    for steps in ([2, 4, 6], [4, 6, 8]):  # killed after 6, resumed from the checkpoint of 2
        with Journal(tmp_path) as journal:
            shown: list[int] = []
            journal.board.add_scalar = lambda tag, value, step, shown=shown: shown.append(step)
            for step in steps:
                journal.write("report", phase="pretrain", step=step, loss={"pixel": 1.0})
    assert shown == [8]
