"""A whole run, on the command line: its folder, going on exactly, and every way to refuse."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from srgan.cli import main
from srgan.image import files
from srgan.model import weights
from srgan.model.config import GeneratorConfig
from srgan.train import checkpoints, steps
from srgan.train.folder import RunFolder
from tests.support import random_weights
from tests.train.small import SMALL, assert_same, journal, last_state, train


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a data/ folder, so that scikit-image's pictures are used."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of both phases."""
    home = tmp_path_factory.mktemp("undisturbed")
    before = Path.cwd()
    os.chdir(home)
    try:
        assert train(home / "run") == 0
    finally:
        os.chdir(before)
    return home / "run"


def test_the_folder_holds_what_the_docs_list(undisturbed):
    names = {path.relative_to(undisturbed).as_posix() for path in undisturbed.rglob("*") if path.is_file()}
    assert {"settings.yaml", "journal.jsonl", "srresnet.safetensors", "srgan.safetensors"} <= names
    assert {f"generators/srresnet_{step:07d}.safetensors" for step in (2, 4, 6)} <= names
    assert {f"generators/srgan_{step:07d}.safetensors" for step in (2, 4)} <= names
    assert len([name for name in names if name.startswith("checkpoints/")]) == 2
    assert files.read_rgb8(undisturbed / "samples/pretrain_0000006.png").shape == (192, 192, 3)  # of one image
    assert not [name for name in names if name.endswith(".tmp")]


def test_the_journal_tells_losses_speed_and_health(undisturbed):
    assert "scikit-image" in journal(undisturbed, "warning")[0]["text"]
    reports = journal(undisturbed, "report")
    assert [(r["phase"], r["step"]) for r in reports] == [
        ("pretrain", 3),
        ("pretrain", 6),
        ("adversarial", 3),
        ("adversarial", 4),
    ]
    health = reports[-1]["health"]
    assert {"d_real", "d_fake", "d_accuracy", "content_to_adversarial", "bn_gap", "checkerboard"} == health.keys()
    assert 0 < health["d_real"] < 1 and health["content_to_adversarial"] > 0
    (start,) = journal(undisturbed, "start")
    assert start["data"]["pictures"] == 4 and start["versions"]["torch"]
    assert journal(undisturbed, "end")[-1]["state"] == "done"

    made = weights.read(undisturbed / "srgan.safetensors")
    assert made.config.blocks == 1 and made.metadata["phase"] == "adversarial" and made.metadata["step"] == "4"
    assert json.loads(made.metadata["settings"])["seed"] == 0 and "psnr_y" in json.loads(made.metadata["scores"])


def test_the_saved_settings_give_the_same_run(undisturbed, tmp_path):
    again = tmp_path / "again"
    assert train(again, "--config", str(undisturbed / "settings.yaml"), "--output", str(again)) == 0
    assert_same(last_state(undisturbed), last_state(again))


@pytest.mark.parametrize("after", [2, 5, 7])
def test_a_resumed_run_ends_in_the_same_bits(undisturbed, tmp_path, monkeypatch, after):
    done = 0
    for name in ("pretrain_step", "adversarial_step"):
        whole = getattr(steps, name)

        def breaking(*args: object, whole: object = whole, **options: object) -> object:
            nonlocal done
            done += 1
            if done == after + 1:
                raise RuntimeError("the machine is gone")
            return whole(*args, **options)

        monkeypatch.setattr(steps, name, breaking)
    assert train(tmp_path / "run") == 1
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert train(tmp_path / "run", "--resume") == 0
    assert_same(last_state(undisturbed), last_state(tmp_path / "run"))
    for name in ("srresnet", "srgan"):
        a, b = (weights.read(home / f"{name}.safetensors") for home in (undisturbed, tmp_path / "run"))
        assert a.sha256 == b.sha256


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGUSR1, 138),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, 129, marks=pytest.mark.slow),
    ],
)
def test_a_signal_saves_and_says_how_to_resume(tmp_path, number, code):
    words = [word for word in SMALL if word != "--quiet"]
    command = [sys.executable, "-m", "srgan", *words, "--pretrain-steps", "100000", "--output", "run"]
    # A run started by nohup ignores SIGHUP, and so would its children.
    inherited = signal.signal(number, signal.SIG_DFL)
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    signal.signal(number, inherited)
    lines = tmp_path / "run" / "journal.jsonl"
    deadline = time.monotonic() + 120
    while not (lines.exists() and '"report"' in lines.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    try:
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == code, said
    assert "srgan train --resume --output run" in said and "Traceback" not in said
    newest = checkpoints.read(checkpoints.list_checkpoints(tmp_path / "run/checkpoints")[0])
    assert newest.step >= 3
    assert [line["state"] for line in journal(tmp_path / "run", "end")] == ["stopped"]


def test_no_step_no_generator(tmp_path, capsys):
    words = [word for word in SMALL if word != "--quiet"]
    assert main([*words, "--pretrain-steps", "0", "--train-steps", "0", "--report", "--output", str(tmp_path)]) == 0
    assert "Done. No step, so no generator, is in" in capsys.readouterr().err


def test_resume_refuses_settings_that_would_change_the_result(undisturbed, capsys):
    assert train(undisturbed, "--resume", "--learning-rate", "1e-5") == 2
    said = capsys.readouterr().err
    assert "learning_rate" in said and "--allow-change learning_rate" in said
    assert train(undisturbed, "--resume", "--learning-rate", "1e-5", "--allow-change", "learning-rate") == 0


def test_a_folder_with_a_run_in_it_is_refused(undisturbed, capsys):
    before = sorted(undisturbed.rglob("*"))
    assert train(undisturbed) == 2
    assert "is not empty" in capsys.readouterr().err
    assert sorted(undisturbed.rglob("*")) == before


def test_hidden_files_and_logs_are_no_run(tmp_path):
    (tmp_path / ".DS_Store").write_text("x")
    (tmp_path / "slurm-7.out").write_text("x")
    folder = RunFolder(tmp_path)
    assert not folder.has_run()
    (tmp_path / "photo.jpg").write_text("x")
    assert folder.has_run()


def test_resume_without_a_run_starts_from_the_beginning(undisturbed, tmp_path):
    new, early = tmp_path / "new", tmp_path / "early"
    early.mkdir()
    (early / "journal.jsonl").write_text('{"kind": "start"}\n{"kind": "rep')  # killed before its first checkpoint
    for folder in (new, early):
        assert train(folder, "--resume") == 0
        assert "starting from the beginning of recipe " in (folder / "journal.jsonl").read_text()
        assert_same(last_state(undisturbed), last_state(folder))


def test_a_stop_while_packing_resumes_with_its_settings(undisturbed, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("srgan.train.setup.pack_images", lambda *_, **__: os.kill(os.getpid(), signal.SIGINT))
    assert train(tmp_path / "run") == 130
    assert not RunFolder(tmp_path / "run").has_run()  # other words may follow, too
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    resume = ["train", "--resume", "--no-report", "--output", "run"]
    assert main([*resume, "--quiet"]) == 0
    assert_same(last_state(undisturbed), last_state(tmp_path / "run"))
    assert main(resume) == 0
    again = "is already finished, at step 4. Go on with: srgan train --resume --output run --train-steps N"
    assert again in capsys.readouterr().err


@pytest.mark.parametrize("lost", ["*", "adversarial*"])
def test_resume_after_the_checkpoints_were_deleted_replaces_no_generator(undisturbed, tmp_path, capsys, lost):
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    newest = checkpoints.read(checkpoints.list_checkpoints(run / "checkpoints")[0])
    checkpoints.write(run / "checkpoints", replace(newest, phase="pretrain"), keep=9)
    for path in (run / "checkpoints").glob(lost):
        path.unlink()
    before = {path: path.read_bytes() for path in run.rglob("*.safetensors")}
    assert train(run, "--resume") == 2
    assert "lacks the checkpoints" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in run.rglob("*.safetensors")} == before


def test_adversarial_follows_in_the_same_folder(undisturbed, tmp_path, capsys):
    run = tmp_path / "run"
    assert train(run, "--phase", "pretrain") == 0
    assert train(run, "--phase", "adversarial") == 0
    assert_same(last_state(undisturbed), last_state(run))
    assert train(run, "--phase", "adversarial") == 2  # it is there
    assert train(run, "--phase", "pretrain", "--resume") == 2
    assert "is in its adversarial phase" in capsys.readouterr().err
    # A finished run writes its best generator anew where it was deleted.
    for lost in run.glob("*.safetensors"):
        lost.unlink()
    assert train(run, "--phase", "adversarial", "--resume") == 0
    assert weights.read(run / "srgan.safetensors").metadata["step"] == "4"
    assert journal(run, "event")[-2]["text"].startswith("Validation, psnr_y in dB: srgan ")


def test_adversarial_follows_a_pretraining_with_an_init(undisturbed, tmp_path):
    """Recipes quick and photo have one: it is where the pretraining began, not where the adversarial phase does."""
    init = ("--init", str(undisturbed / "generators" / "srresnet_0000002.safetensors"))
    assert train(tmp_path / "whole", *init) == 0
    for phase in ("pretrain", "adversarial"):
        assert train(tmp_path / "parts", *init, "--phase", phase) == 0
    assert_same(last_state(tmp_path / "whole"), last_state(tmp_path / "parts"))


def test_what_a_resumed_run_may_change(tmp_path, capsys):
    run, noise = tmp_path / "run", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for name in ("train/a.png", "train/b.png", "valid/v.png"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        files.write_array(tmp_path / "data" / name, noise[:, :: -1 if "b" in name else 1])
    for name in ("train/c.kra", "valid/w.cr3"):
        (tmp_path / "data" / name).touch()
    words = ["--train-steps", "2", "--data", str(tmp_path / "data")]
    assert train(run, *words) == 0
    said = capsys.readouterr().err
    assert "1 .kra" in said and "1 .cr3" in said
    # The crops may come from elsewhere, other validation images begin a new best.
    files.write_array(tmp_path / "data/valid/v.png", noise // 2)
    longer = ["--train-steps", "3", "--allow-change", "train_steps"]
    assert train(run, *words[2:], "--resume", "--loader", "files", *longer) == 0
    assert "validation images are not those of the checkpoint" in capsys.readouterr().err
    assert weights.read(run / "srgan.safetensors").metadata["step"] == "3"
    # Other networks never.
    assert train(run, "--resume", "--crop", "48", "--allow-change", "crop") == 2
    assert "another crop, which a resumed run cannot change" in capsys.readouterr().err


def test_the_folder_says_what_was_used(tmp_path, capsys):
    words = [word for word in SMALL if word not in ("--content", "mse", "--quiet", "--no-report")]
    (tmp_path / "data/.fetch").mkdir(parents=True)  # leftovers of a failed `srgan data fetch`
    assert main([*words, "--output", "run"]) == 0
    settings = (tmp_path / "run/settings.yaml").read_text()
    assert "content: mse\n" in settings and "init: none\n" in settings and "output: run\n" in settings
    said = capsys.readouterr().err
    assert "\nstep 3/6  pixel " in said and ", learning rate 3.0e-04, " in said and "srresnet is below bicubic" in said
    assert (tmp_path / "run/report.html").stat().st_size


def test_a_wrong_vgg19_file_is_found_before_the_first_step(tmp_path, capsys):
    (tmp_path / "vgg.safetensors").write_bytes(bytes(range(256)) * 20)
    assert train(tmp_path / "run", "--content", "vgg54", "--vgg", "vgg.safetensors") == 2
    assert "vgg.safetensors" in capsys.readouterr().err
    # A folder stands for the file in it.
    (tmp_path / "vgg").mkdir()
    assert train(tmp_path / "run", "--content", "vgg54", "--vgg", "vgg") == 2
    assert "there are none at vgg." in capsys.readouterr().err
    (tmp_path / "vgg" / "broken.npz").write_bytes(b"nonsense")
    assert train(tmp_path / "run", "--content", "vgg54", "--vgg", "vgg") == 2
    assert "vgg/broken.npz cannot be read as VGG19 (it holds no plain arrays)" in capsys.readouterr().err
    assert '"report"' not in (tmp_path / "run/journal.jsonl").read_text()


def test_names_that_are_not_utf8(tmp_path):
    names = [os.fsdecode(name) for name in (b"run\xe9", b"data\xe9", b"caf\xe9.png", b"bad\xe9.png")]
    data = tmp_path / names[1] / "train"
    data.mkdir(parents=True)
    files.write_array(data / "a.png", np.zeros((40, 40, 3), np.uint8))
    (data / "a.png").rename(data / names[2])
    (data / names[3]).write_bytes(b"no image")
    run = tmp_path / names[0]
    words = ["--data", str(data.parent), "--phase", "pretrain", "--pretrain-steps", "2"]
    assert train(run, *words) == 0
    (start,) = journal(run, "start")
    assert start["data"]["pictures"] == 1 and r"bad\udce9.png" in start["data"]["left_out"][0]
    assert train(run, *words, "--resume") == 0


def test_folders_of_other_files_and_of_another_run_are_refused(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"not a run")
    assert train(tmp_path / "photos", "--resume") == 2
    assert "no run to resume" in capsys.readouterr().err
    (tmp_path / "run").mkdir()
    with RunFolder(tmp_path / "run").lock():
        assert train(tmp_path / "run") == 2
    assert "another run" in capsys.readouterr().err


def test_adversarial_alone_from_a_file(undisturbed, tmp_path):
    start = undisturbed / "generators" / "srresnet_0000006.safetensors"
    assert train(tmp_path / "run", "--phase", "adversarial", "--init", str(start)) == 0
    assert_same(last_state(undisturbed), last_state(tmp_path / "run"))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--phase", "adversarial"], "--init"),
        (["--init", "other.safetensors"], "blocks=2"),
        (["--content", "vgg54"], "srgan data fetch vgg19"),
        (["--content", "vgg54", "--discriminator", "features"], "features needs VGG19's weights"),
    ],
)
def test_what_a_run_cannot_start_from_is_named(words, sentence, tmp_path, capsys):
    other = random_weights(GeneratorConfig(blocks=2, width=4))
    weights.write(tmp_path / "other.safetensors", other.tensors, config=other.config, metadata={})
    assert train(tmp_path / "run", *words) == 2
    assert sentence in capsys.readouterr().err
    assert not RunFolder(tmp_path / "run").has_run()  # the corrected command may follow


def test_frozen_batchnorm_keeps_the_statistics_of_its_first_generator(undisturbed, tmp_path, capsys):
    first = undisturbed / "srresnet.safetensors"
    assert train(tmp_path / "run", "--freeze-batchnorm", "--init", str(first), "--ema", "0") == 0
    before = weights.read(first).tensors
    for name in ("srresnet", "srgan"):
        after = weights.read(tmp_path / "run" / f"{name}.safetensors").tensors
        kept = {key for key in before if np.array_equal(before[key], after[key])}
        assert kept == {key for key in before if ".running_" in key}
    assert {line["health"]["bn_gap"] for line in journal(tmp_path / "run", "report")} == {0.0}
    assert train(tmp_path / "other", "--freeze-batchnorm") == 2
    assert "name one with init (srresnet, or a .safetensors file)" in capsys.readouterr().err


@pytest.mark.slow
def test_bf16_validates_like_fp32(tmp_path):
    """Within 0.05 dB after a short run from trained weights; on a CPU, where bf16 is emulated."""

    def validated(precision: str) -> float:
        more = (
            "--phase pretrain --init srresnet --blocks 16 --width 64 --pretrain-steps 20 --validation-interval 20 "
            "--checkpoint-interval 20 --crop 48 --ema 0 --pretrain-learning-rate 3e-5"
        ).split()
        assert train(tmp_path / precision, *more, "--precision", precision) == 0
        return float(journal(tmp_path / precision, "validation")[-1]["scores"]["psnr_y"])

    fp32, bf16 = validated("fp32"), validated("bf16")
    assert fp32 > 25 and fp32 != bf16
    assert bf16 == pytest.approx(fp32, abs=0.05)


def test_a_damaged_and_an_odd_image_are_named_once_whatever_the_loader(tmp_path, capsys):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    (tmp_path / "d").mkdir()
    for name in ("a.png", "cut.png"):
        files.write_array(tmp_path / "d" / name, noise)
    whole = (tmp_path / "d/a.png").read_bytes()
    (tmp_path / "d/cut.png").write_bytes(whole[:3000])
    (tmp_path / "d/odd.png").write_bytes(whole[:-12])  # without the end mark
    for loader in ("mapped", "files"):
        words = ("--loader", loader, "--data", str(tmp_path / "d"), "--phase", "pretrain", "--pretrain-steps", "4")
        assert train(tmp_path / loader, *words) == 0
        said = capsys.readouterr().err
        assert said.count("odd.png ends without") == 1 and said.count("cut.png is damaged") == 1
