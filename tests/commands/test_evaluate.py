"""`srgan evaluate`: its table, its JSON file, and its sentences on misuse."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srgan import cli
from srgan.data import degrade, folders
from srgan.evaluate.table import PROTOCOL
from srgan.image.files import read_array, write_array
from srgan.image.metrics import bicubic_x4, score
from srgan.image.resize import downscaled
from srgan.model import weights
from srgan.model.config import GeneratorConfig
from srgan.upscale.upscaler import Upscaler
from tests.support import random_weights


def evaluated(folder: Path, *words: object) -> dict[str, Any]:
    """The JSON that `srgan evaluate` writes about Set5."""
    file = folder / "scores.json"
    assert cli.main(["evaluate", *map(str, words), "--sets", "Set5", "--json", str(file)]) == 0
    return dict(json.loads(file.read_text()))


def rows(text: str) -> dict[str, list[str]]:
    """Each line of a table by its title; a repeated title keeps its first."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        title, *cells = re.split(r"\s{2,}", line.strip())
        found.setdefault(title, cells)
    return found


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    made = random_weights(GeneratorConfig(blocks=1, width=4))
    weights.write(path, made.tensors, config=made.config, metadata={})
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a made-up Set5 of two pictures, one grey, without NIQE's model."""
    root = tmp_path_factory.mktemp("data")
    home = root / "Set5" / "HR"
    home.mkdir(parents=True)
    rng = np.random.default_rng(0)
    write_array(home / "colour.png", rng.integers(0, 256, (40, 48, 3), np.uint8))
    write_array(home / "grey.png", rng.integers(0, 256, (32, 36), np.uint8))
    return root


def test_set5_by_a_folder_of_bicubic_images(data, tmp_path, capsys):
    results = tmp_path / "results"
    results.mkdir()
    for pair in folders.test_pairs(data, "Set5"):
        assert pair.lr is not None
        write_array(results / pair.lr.name, bicubic_x4(read_array(pair.lr)))
    written = evaluated(tmp_path, "--pictures", results, "--data", data)
    out, err = capsys.readouterr()
    assert PROTOCOL in out and "Set5, 5 images" in out and "note:" not in out
    assert f"wrote {tmp_path / 'scores.json'}" in err
    table = rows(out)
    assert table["bicubic mean"] == table["mean"]
    assert table["mean"][:4] == ["28.4302", "26.6934", "0.8111", "0.8211"]
    assert table["paper SRResNet"] == ["32.05", "-", "-", "0.9019", "-"]
    assert table["difference"] == ["-3.6198", "-", "-", "-0.0808", "-"]
    assert written["sets"]["Set5"]["mean"] == written["sets"]["Set5"]["bicubic"]["mean"]
    assert written["sets"]["Set5"]["mean"]["psnr_y"] == pytest.approx(28.4302, abs=5e-4)
    assert written["model"] == {"name": str(results), "sha256": None, "engine": None, "precision": None}


def test_model_scores_as_the_files_that_it_saves(model, small, tmp_path, capsys):
    by_model = evaluated(tmp_path, "--model", model, "--data", small)
    out, err = capsys.readouterr()
    assert "no LR files, the exact bicubic makes them" in err
    assert "srgan data fetch niqe" in out and "note: Set5 has 5 images, here are 2" in out
    sha256 = weights.read(model).sha256
    assert by_model["model"] == {"name": "tiny", "sha256": sha256, "engine": "openvino", "precision": "fp32"}
    assert sha256[:16] in out

    results = tmp_path / "results"
    results.mkdir()
    upscaler = Upscaler(model, precision="fp32")
    for pair in folders.test_pairs(small, "Set5"):
        hr = read_array(pair.hr)
        lr = tmp_path / f"{pair.name}.png"
        write_array(lr, downscaled(hr))
        upscaler.upscale_file(lr, results / lr.name)
    by_files = evaluated(tmp_path, "--pictures", results, "--data", small, "--quiet")
    assert by_files["sets"] == by_model["sets"]
    assert capsys.readouterr().err == ""


def test_own_images(model, tmp_path, capsys):
    """Sides that are no multiples of 4, several naming schemes, one image that is too small."""
    rng, home = np.random.default_rng(1), tmp_path / "set5"
    home.mkdir()
    for name, shape in (("0801", (41, 50)), ("baby", (43, 39)), ("tiny", (16, 60)), ("own_x4", (30, 30))):
        write_array(home / f"{name}.png", rng.integers(0, 256, (*shape, 3), np.uint8))
    write_array(home / "0801x4.png", rng.integers(0, 256, (10, 12, 3), np.uint8))
    (home / "baby_LR.png").symlink_to("nowhere")
    argv = ["evaluate", "--model", str(model), "--data", str(tmp_path), "--json", str(tmp_path / "a.json"), "--sets"]
    assert cli.main([*argv, "set5"]) == 2  # own_x4 has no LR, the others have
    assert "own_x4.png has no LR" in capsys.readouterr().err
    (home / "own_x4.png").unlink()
    (home / "baby_LR.png").unlink()
    write_array(home / "baby_LR.png", rng.integers(0, 256, (10, 9, 3), np.uint8))
    (home / "scan.kra").touch()
    write_array(home / "tinyx4.png", rng.integers(0, 256, (4, 15, 3), np.uint8))
    assert cli.main([*argv, "set5/"]) == 0
    assert "left out: " in (said := capsys.readouterr().err) and "tiny.png is 60x16" in said
    assert "set5: 1 .kra are not read" in said
    entry = json.loads((tmp_path / "a.json").read_text())["sets"]["Set5"]
    assert set(entry["pictures"]) == {"0801", "baby"} and entry["paper"]["srgan"]["psnr_y"] == 29.40
    write_array(home / "babyx4.png", rng.integers(0, 256, (11, 10, 3), np.uint8))
    (home / "baby_LR.png").unlink()
    assert cli.main([*argv, "set5"]) == 2
    out, err = capsys.readouterr()
    assert "babyx4.png is 10x11, but" in err and out == ""
    (tmp_path / "a.json").write_bytes(b"\x89PNG")
    assert cli.main([*argv, "set5"]) == 2 and "a.json is there and holds no JSON" in capsys.readouterr().err


def test_jpeg_goes_before_model_and_bicubic(model, small, tmp_path, capsys):
    scores = evaluated(tmp_path, "--model", model, "--data", small, "--jpeg", 30)
    assert "Set5, 2 images, through JPEG of quality 30" in capsys.readouterr().out
    assert scores["jpeg"] == 30 and scores["sets"]["Set5"]["paper"] is None
    hr = read_array(small / "Set5" / "HR" / "grey.png")
    lr = degrade.jpeg(downscaled(hr), 30)
    pictures = scores["sets"]["Set5"]["bicubic"]["pictures"]
    assert pictures["grey"]["psnr_y"] == pytest.approx(score(bicubic_x4(lr), hr).psnr_y, abs=1e-6)


def test_default_is_the_mixture(small, tmp_path, capsys):
    assert evaluated(tmp_path, "--data", small, "--texture", 0)["model"]["name"] == "mixture"
    assert "model mixture" in capsys.readouterr().out


def test_pictures_of_another_size_and_several_sets(small, tmp_path, capsys):
    write_array(tmp_path / "colour.png", np.zeros((10, 12, 3), np.uint8))
    assert cli.main(["evaluate", "--pictures", str(tmp_path), "--data", str(small), "--sets", "Set5"]) == 2
    out, err = capsys.readouterr()
    assert "colour.png is 12x10, but" in err and out == ""
    argv = ["evaluate", "--pictures", str(small / "Set5" / "HR"), "--data", str(small)]
    assert cli.main([*argv, "--sets", "Set5"]) == 0
    (small / "Set14").symlink_to(small / "Set5")
    try:
        assert cli.main([*argv, "--sets", "Set5", "Set14"]) == 2
        assert "has no folder Set5" in capsys.readouterr().err
    finally:
        (small / "Set14").unlink()


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--model", "srgan", "--pictures", "x"], "--pictures scores images as they are"),
        (["--jpeg", "50", "--pictures", "x"], "--pictures scores images as they are"),
        (["--jpeg", "0"], "--jpeg is a quality from 1 to 100, got 0"),
        (["--restore", "2", "--sets", "Set5"], "restore is 'auto' or a number from 0 to 1, got 2.0"),
        (["--model", "srgan", "--data", "nowhere"], "no data folder nowhere; give --data DIR, the one that holds Set5"),
        (["--data", "nowhere", "--sets", "Set14", "mine"], "srgan data fetch set14"),
        (["--model", "nothing.safetensors", "--sets", "Set5"], "no model 'nothing.safetensors'"),
        (["--model", "srgan", "--sets", "Set14"], "srgan data fetch set14"),
        (["--model", "srgan", "--sets"], "--sets names no test set"),
        (["--pictures", "nowhere", "--sets", "Set5"], "nowhere is not a folder"),
        (["--model", "srgan", "--json", "no/such/folder.json"], "--json no/such/folder.json cannot be written"),
        (["--model", "srgan", "--json", "/proc/a.json"], "--json /proc/a.json cannot be written"),
    ],
)
def test_misuse_is_a_sentence(small, capsys, argv, sentence):
    data = [] if "--data" in argv else ["--data", str(small)]
    assert cli.main(["evaluate", *data, *argv]) == 2
    out, err = capsys.readouterr()
    assert sentence in err and "Traceback" not in err and out == ""


def test_a_set_is_scored_once_and_may_lie_elsewhere(small, model, tmp_path, capsys):
    (tmp_path / "elsewhere").symlink_to(small / "Set5")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine").symlink_to(small / "Set5")
    argv = ["evaluate", "--model", str(model), "--data", str(tmp_path / "data"), "--sets", "mine", "Mine"]
    assert cli.main([*argv, "mine/", "../elsewhere"]) == 0
    titles = [line for line in capsys.readouterr().out.splitlines() if line.endswith("2 images")]
    assert titles == ["mine, 2 images", "../elsewhere, 2 images"]


def test_damaged_niqe_model_is_a_sentence(small, tmp_path, capsys):
    (tmp_path / "niqe").mkdir()
    (tmp_path / "niqe" / "niqe_pris_params.npz").write_text("nonsense")
    (tmp_path / "Set5").symlink_to(small / "Set5")
    argv = ["evaluate", "--pictures", str(small / "Set5" / "HR"), "--data", str(tmp_path), "--sets", "Set5"]
    assert cli.main(argv) == 2
    said = capsys.readouterr().err
    assert "not NIQE's model" in said and "pickle" not in said
