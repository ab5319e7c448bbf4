"""`srgan bench upscale`: every contestant computes the same image, and the figures are about it."""

import json
from pathlib import Path

import numpy as np
import pytest
from benchmarks.upscale import RIVALS

from benchmarks import upscale
from srgan.cli import main
from srgan.model import weights as weights_module
from srgan.model.config import GeneratorConfig
from tests.support import random_weights

for module in ("torch", "onnxruntime", "onnx"):
    pytest.importorskip(module)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    weights = random_weights(GeneratorConfig(blocks=1, width=4), seed=2)
    weights_module.write(tmp_path / "m.safetensors", weights.tensors, config=weights.config, metadata={})
    return tmp_path / "m.safetensors"


def test_the_table_and_the_figures(model, tmp_path, capsys):
    target = tmp_path / "b.json"
    arguments = f"--model {model} --side 24 --seconds 0 --no-memory --json {target}".split()
    assert main(["bench", "upscale", *arguments]) == 0
    report = json.loads(target.read_text())
    rows = {row["name"]: row for row in report["rows"]}
    on_gpu = {"srgan ncnn fp32", "srgan ncnn fp16"}  # not on every machine
    assert set(rows) - on_gpu == set(RIVALS) - on_gpu - {"srgan openvino int8"}  # this model has no int8 form
    assert all(row["levels"] <= 1 and row["bytes_off"] < 1e-2 for row in rows.values())
    assert all(row["turns"] == 2 and row["fastest_s"] <= row["median_s"] <= row["slowest_s"] for row in rows.values())
    assert rows["pytorch eager"]["times_base"] == 1.0
    assert all(name in capsys.readouterr().out for name in list(rows)[:1])


def test_a_wrong_contestant_would_show():
    runs = {upscale.BASE: lambda lr: lr, "wrong": lambda lr: lr + (lr == lr.max()).astype(np.uint8) * 7}
    rows, _ = upscale.measured(runs, np.arange(16, dtype=np.uint8).reshape(4, 4), 0.0)
    assert [row.levels for row in rows] == [0, 7] and rows[1].different == 1 / 16


def test_what_cannot_run_is_a_sentence(monkeypatch, capsys):
    monkeypatch.setitem(RIVALS, "srgan ncnn fp16", lambda weights, path: None)
    assert main(["bench", "upscale", "--only", "srgan ncnn fp16"]) == 2
    assert "none of these contestants runs" in capsys.readouterr().err
    assert main(["bench", "upscale", "--only", "srgan ncnn fp61"]) == 2
    assert "Did you mean 'srgan ncnn fp16'?" in capsys.readouterr().err
