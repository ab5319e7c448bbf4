"""The three classic commands as their users type them: data/ in, outputs/, models/ and results/ out."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from srgan.image import files, resize
from srgan.model import weights
from srgan.model.config import GeneratorConfig
from tests.support import random_weights

ROOT = Path(__file__).parents[1]
QUICK = "--pretrain_steps 3 --train_steps 2 --checkpoint_interval 2 --batch_size 2 --num_res_blocks 1 --device cpu"


def run(line: str, folder: Path, *, compile: bool = False) -> subprocess.CompletedProcess[str]:
    """`python SCRIPT ARGUMENTS`, word for word, in a folder that holds data/; compiling takes a minute, for 5 steps."""
    script, *words = line.removeprefix("python ").split()
    command = [sys.executable, str(ROOT / script), *words]
    environment = os.environ | {"TORCHDYNAMO_DISABLE": "0" if compile else "1"}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)


def div2k(folder: Path, data: Path, *, count: int, side: int) -> None:
    """DIV2K's folders, made from photographs, with VGG19's weights beside them."""
    hrs = folder / "data/DIV2K/DIV2K_train_HR"
    lrs = folder / "data/DIV2K/DIV2K_train_LR_bicubic/X4"
    hrs.mkdir(parents=True)
    lrs.mkdir(parents=True)
    photos = sorted((data / "train").glob("photos-*/*.jpg"))[:count]
    assert len(photos) == count
    for number, photo in enumerate(photos, 1):
        hr = files.read_rgb8(photo)[:side, : side + 48]
        files.write_array(hrs / f"{number:04d}.png", hr)
        files.write_array(lrs / f"{number:04d}x4.png", resize.downscaled(hr))
    (folder / "data/vgg19").symlink_to(data / "vgg19")


def generator(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    one = random_weights(GeneratorConfig(blocks=1, width=4))
    weights.write(path, one.tensors, config=one.config, metadata={})
    return path


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which all three commands were run, on two pictures of Set14 (one of them grey)."""
    folder = tmp_path_factory.mktemp("classic")
    div2k(folder, data, count=3, side=144)
    small = folder / "data/Set14/image_SRF_4"
    small.mkdir(parents=True)
    for name in ("003", "009"):
        for kind in ("HR", "LR"):
            shutil.copy(data / f"Set14/image_SRF_4/img_{name}_SRF_4_{kind}.png", small)
    for line in (f"train.py {QUICK}", "infer.py --infer_model SRGAN --infer_step Final", "test.py"):
        done = run(f"python {line}", folder)
        assert done.returncode == 0, done.stderr
        (folder / f"{line.partition(' ')[0]}.out").write_text(done.stdout)
    return folder


def copy(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "copy", symlinks=True))


def test_train_writes_the_classic_places(trained):
    outputs = trained / "outputs"
    assert weights.read(outputs / "srresnet_final.safetensors").config == GeneratorConfig(blocks=1)
    assert {path.name for path in (outputs / "generators").iterdir()} == {
        "srresnet_0000002.safetensors",
        "srresnet_0000003.safetensors",
        "srgan_0000002.safetensors",
    }
    final = weights.read(trained / "models/srgan_final.safetensors")
    assert final.sha256 == weights.read(outputs / "generators/srgan_0000002.safetensors").sha256
    assert final.sha256 != weights.read(outputs / "srresnet_final.safetensors").sha256
    assert any((outputs / "checkpoints").iterdir())
    losses = [json.loads(line) for line in (outputs / "journal.jsonl").read_text().splitlines()]
    assert {line.get("phase") for line in losses} >= {"pretrain", "adversarial"}
    assert "models/srgan_final.safetensors" in (trained / "train.py.out").read_text()


def test_infer_writes_a_picture_per_lr_under_its_name(trained):
    results = trained / "results"
    assert {p.name for p in results.glob("*.png")} == {"img_003_SRF_4_LR.png", "img_009_SRF_4_LR.png"}
    for path in results.glob("*.png"):
        hr = trained / "data/Set14/image_SRF_4" / path.name.replace("_LR", "_HR")
        assert files.size(path) == files.size(hr)
    assert files.read_array(results / "img_003_SRF_4_LR.png").ndim == 2, "grey in, grey out"


def test_test_prints_what_it_writes(trained):
    def refuse(word: str) -> float:
        raise AssertionError(f"{word} is not JSON")

    found = json.loads((trained / "results/metrics.json").read_text(), parse_constant=refuse)
    assert found["count"] == 2 and set(found["pictures"]) == {"img_003", "img_009"}
    for name in ("psnr_y", "ssim_wang", "ssim_daala"):
        assert found["mean"][name] == pytest.approx(np.mean([s[name] for s in found["pictures"].values()]), abs=1e-6)
    rows = {line.split()[0]: line.split()[1:] for line in (trained / "test.py.out").read_text().splitlines() if line}
    assert rows["Set14"] == ["psnr_y", "ssim_wang", "ssim_daala"]
    for name, scores in {**found["pictures"], "mean": found["mean"]}.items():
        printed = [float(word) for word in rows[name]]
        assert printed == pytest.approx([scores[column] for column in rows["Set14"]], abs=1e-4)


def test_an_equal_image_scores_inf(trained, tmp_path):
    folder = copy(trained, tmp_path)
    shutil.copy(folder / "data/Set14/image_SRF_4/img_009_SRF_4_HR.png", folder / "results/img_009_SRF_4_LR.png")
    assert run("python test.py", folder).returncode == 0
    found = json.loads((folder / "results/metrics.json").read_text())
    assert found["pictures"]["img_009"]["psnr_y"] == "inf" and found["pictures"]["img_009"]["ssim_wang"] == 1.0


def test_train_refuses_to_overwrite_and_resume_goes_on(trained, tmp_path):
    folder = copy(trained, tmp_path)
    refused = run(f"python train.py {QUICK}", folder)
    assert refused.returncode == 2
    assert "outputs is there from an earlier training; go on with --resume" in refused.stderr
    before = weights.read(folder / "models/srgan_final.safetensors").sha256
    done = run("python train.py --resume", folder)  # done already: everything else is as it was
    assert done.returncode == 0, done.stderr
    assert weights.read(folder / "models/srgan_final.safetensors").sha256 == before
    longer = run("python train.py --resume --train_steps 3", folder)
    assert longer.returncode == 0, longer.stderr
    assert "train_steps was 2, is 3" in longer.stderr
    after = weights.read(folder / "outputs/generators/srgan_0000003.safetensors").sha256
    assert weights.read(folder / "models/srgan_final.safetensors").sha256 == after != before


def test_infer_takes_a_step_and_replaces_only_its_own(trained, tmp_path):
    folder = copy(trained, tmp_path)
    before = (folder / "results/img_009_SRF_4_LR.png").read_bytes()
    again = run("python infer.py --infer_model srresnet --infer_step 2", folder)
    assert again.returncode == 0, again.stderr
    assert (folder / "results/img_009_SRF_4_LR.png").read_bytes() != before
    files.write_array(folder / "results/img_009_SRF_4_LR.png", np.zeros((8, 8, 3), np.uint8))
    mine = (folder / "results/img_009_SRF_4_LR.png").read_bytes()
    refused = run("python infer.py --infer_model srgan --infer_step final", folder)
    assert refused.returncode == 2 and "was not made by srgan" in refused.stderr
    assert (folder / "results/img_009_SRF_4_LR.png").read_bytes() == mine


def test_a_missing_model_names_what_there_is(trained):
    refused = run("python infer.py --infer_model srresnet --infer_step 7", trained)
    assert refused.returncode == 2 and len(refused.stderr.splitlines()) == 1
    assert "srresnet_0000007.safetensors does not exist" in refused.stderr and "steps 2, 3" in refused.stderr


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("infer.py --infer_model srgan --infer_step final", "models/srgan_final.safetensors does not exist"),
        ("infer.py --infer_model srgan --infer_step last", "--infer_step is 'final' or a step number, got 'last'"),
        ("infer.py --infer_model srgan", "required: --infer_step"),
        ("infer.py --infer_step final", "required: --infer_model"),
        ("infer.py", "required: --infer_model, --infer_step"),
        ("infer.py --infer_model vdsr --infer_step final", "vdsr"),
        ("train.py --channels 1", "--channels 1: the networks work on RGB, 3 channels"),
        ("train.py --in_channels 4", "--in_channels 4: the networks work on RGB"),
        ("train.py --train_steps 0", "--train_steps 0: train.py trains both networks"),
        ("train.py --dataset_name DIV8K", "there is no folder data/DIV8K"),
        ("train.py --learning_rate 1", "nrecognized arguments: --learning_rate"),
        ("train.py --lr 0", "pretrain_learning_rate is a number above 0"),
        ("test.py", "Test set Set14: there is no data/Set14"),
    ],
)
def test_misuse_is_a_sentence_and_2(line, sentence, tmp_path):
    (tmp_path / "data/DIV2K").mkdir(parents=True)
    (tmp_path / "data/vgg19").mkdir()
    (tmp_path / "data/vgg19/vgg19.npz").touch()
    refused = run(f"python {line}", tmp_path)
    assert refused.returncode == 2, refused.stderr
    assert sentence in " ".join(refused.stderr.split()) and "Traceback" not in refused.stderr
    assert not (tmp_path / "models").exists() and not (tmp_path / "results").exists()


def test_train_needs_vgg19_before_it_starts(tmp_path):
    (tmp_path / "data/DIV2K").mkdir(parents=True)
    refused = run("python train.py", tmp_path)
    assert refused.returncode == 2 and "srgan data fetch vgg19 --to data" in refused.stderr


def test_test_without_results_says_what_makes_them(data, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/Set14").symlink_to(data / "Set14")
    refused = run("python test.py", tmp_path)
    assert refused.returncode == 2 and "python infer.py --infer_model srgan" in refused.stderr
    (tmp_path / "results").mkdir()
    refused = run("python test.py", tmp_path)
    assert refused.returncode == 2 and "results has no image for img_001" in refused.stderr


@pytest.mark.slow
def test_the_commands_with_the_networks_and_batches_of_their_defaults(data, tmp_path):
    """Sixteen blocks, batches of 16, all of Set14; only the numbers of steps are small."""
    div2k(tmp_path, data, count=17, side=480)
    (tmp_path / "data/Set14").symlink_to(data / "Set14")
    for line in (
        "python train.py --pretrain_steps 4 --train_steps 2 --checkpoint_interval 2",
        "python infer.py --infer_model srgan --infer_step final",
        "python test.py",
    ):
        done = run(line, tmp_path, compile=True)
        assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "results/metrics.json").read_text())
    assert (
        found["count"] == 14 and weights.read(tmp_path / "models/srgan_final.safetensors").config == GeneratorConfig()
    )
