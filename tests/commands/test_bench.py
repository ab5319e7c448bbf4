import json

import pytest
from benchmarks.contest import step_flop

from srgan.cli import main
from srgan.model.generator import Generator


def test_a_bench_needs_a_known_name(capsys):
    assert main(["bench", "trian"]) == 2 and main(["bench"]) == 2
    said = capsys.readouterr().err
    assert "there is no benchmark 'trian'" in said and "srgan bench train" in said
    assert main(["bench", "--help"]) == 0


@pytest.mark.parametrize("name", ["upscale", "train", "data"])
def test_json_that_cannot_be_written_is_refused_before_measuring(name, tmp_path, capsys):
    assert main(["bench", name, "--json", str(tmp_path / "no" / "a.json")]) == 2
    out, err = capsys.readouterr()
    assert "a.json cannot be written" in err and out == ""


def test_bench_data_writes_every_way(tmp_path, capsys):
    target = tmp_path / "data.json"
    assert main(["bench", "data", "--seconds", "0", "--pictures", "2", "--json", str(target)]) == 0
    rates = json.loads(target.read_text())["crops_per_s"]
    assert set(rates) == {"pack, mapped", "pack, in memory", "PNG, --loader files", "PNG, Pillow"}
    assert all(rate > 0 for rate in rates.values())
    assert "crops/s" in capsys.readouterr().out


@pytest.mark.slow
def test_bench_train_measures_both_loops_in_turns(tmp_path):
    target = tmp_path / "train.json"
    small = "--phase pretrain --blocks 1 --crop 32 --batch-size 2 --seconds 0 --turn 0 --pictures 2 --device cpu"
    assert main(["bench", "train", *small.split(), "--json", str(target)]) == 0
    found = json.loads(target.read_text())["phases"]["pretrain"]
    assert found["turns"] == 1 and found["speedup"] > 0 and found["matrix_rate_gflop_per_s"] > 0
    for loop in ("srgan", "plain"):
        assert 0 <= found["loops"][loop]["data_wait"] <= 1 and found["loops"][loop]["peak_mb"] > 10


def test_flop_of_a_pretraining_step_are_those_of_the_paper_s_network():
    """Three passes over the multiplications of figure 4, less the gradient of the input of the first layer."""
    small, large = 24 * 24, 96 * 96
    head, tail = 3 * 64 * 81 * small, 64 * 3 * 81 * large
    body = 33 * 64 * 64 * 9 * small
    up = 64 * 256 * 9 * (small + 4 * small)
    forward = 2 * (head + body + up + tail)
    wanted = 16 * (3 * forward - 2 * head)
    assert step_flop(16, 96, Generator().to("meta"), None, None) == pytest.approx(wanted, rel=1e-12)
