"""Compiled graphs that OpenVINO keeps between runs: same bits, one file per graph, no damage done by a damaged file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from srgan import Upscaler
from srgan.upscale import openvino

LR = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def files(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.is_file()]


def test_same_bits_from_one_file(cache: Path) -> None:
    first, second = (Upscaler(engine="openvino").upscale(LR) for _ in range(2))
    assert np.array_equal(first, second)
    assert len(files(cache)) == 1


def test_cut_file_is_made_again(cache: Path) -> None:
    expected = Upscaler(engine="openvino").upscale(LR)
    (file,) = files(cache)
    size = file.stat().st_size
    file.chmod(0o600)
    file.write_bytes(file.read_bytes()[:1000])
    assert np.array_equal(Upscaler(engine="openvino").upscale(LR), expected)
    assert file.stat().st_size == size


def test_only_mixtures_that_auto_chooses_are_kept(cache: Path) -> None:
    Upscaler(engine="openvino", restore=0.3).upscale(LR)
    assert not files(cache)
    Upscaler(engine="openvino", restore=1.0).upscale(LR)
    assert len(files(cache)) == 1


def test_no_folder_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert openvino.cache_folder() is None
    Upscaler(engine="openvino").upscale(LR)
