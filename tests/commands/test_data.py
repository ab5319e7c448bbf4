"""`srgan data`: what it prints, and its sentences on misuse."""

from pathlib import Path

import numpy as np
import pytest

from srgan.cli import main
from srgan.data.packed import PackedImages
from srgan.image import files
from tests.support import scene


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in range(3):
        files.write_array(tmp_path / f"{seed}.png", scene(seed))
    files.write_array(tmp_path / "tiny.png", np.zeros((8, 8, 3), np.uint8))
    return tmp_path


def test_pack(folder, capsys):
    assert main(["data", "pack", str(folder)]) == 0
    output = capsys.readouterr()
    assert "3 images" in output.out and "1 skipped" in output.out
    assert "tiny.png is 8x8, smaller than the crop of 96" in output.err
    assert len(PackedImages(folder / "srgan.pack")) == 3
    assert main(["data", "pack", str(folder), "-o", str(folder / "x" / "y.pack"), "--minimum", "8"]) == 0
    assert len(PackedImages(folder / "x" / "y.pack")) == 4


def test_check(folder, capsys):
    assert main(["data", "check", str(folder)]) == 0
    output = capsys.readouterr().out
    header, training, *_ = output.splitlines()
    assert header.split()[:2] == ["images", "megapixels"] and training.split()[:2] == ["training", "4"]
    assert "small: " in output and output.endswith("usable\n")
    (folder / "cut.png").write_bytes((folder / "1.png").read_bytes()[:500])
    assert main(["data", "check", str(folder)]) == 2
    assert "not usable: 1 problem to fix" in capsys.readouterr().out


def test_long_lists_are_cut_without_all(folder, capsys):
    for n in range(30):
        files.write_array(folder / f"t{n}.png", np.full((9, 9, 3), n, np.uint8))
    main(["data", "check", str(folder)])
    assert "small: and 11 more (--all lists them)" in capsys.readouterr().out
    main(["data", "check", str(folder), "--all"])
    assert capsys.readouterr().out.count("small: ") == 31


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "fetch, check or pack, got nothing"),
        (["sort"], "got 'sort'"),
        (["fetch"], "needs one or more"),
        (["fetch", "set6"], "no set 'set6'"),
        (["check", "nowhere"], "No data folder nowhere"),
        (["pack", "nowhere"], "No data folder nowhere"),
    ],
)
def test_misuse_is_a_sentence(argv, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["data", *argv]) == 2
    error = capsys.readouterr().err
    assert error.startswith("srgan: error: ") and said in error and "Traceback" not in error


def test_unwritable_target(folder, capsys):
    assert main(["data", "pack", str(folder), "-o", str(folder / "1.png" / "x.pack")]) == 2
    assert "cannot be written" in capsys.readouterr().err
