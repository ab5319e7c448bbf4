import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from srgan.data.loader import CropSampler, loader, signed_from_uint8, unit_from_uint8
from srgan.data.packed import PackedImages, pack_images
from srgan.data.pairs import Pair
from srgan.errors import SettingsError
from srgan.image import files
from srgan.model import losses
from srgan.model.generator import init_weights
from srgan.train.distributed import ALONE, process_group, synchronise_batchnorm
from tests.train.ranks import CPU, STEPS, Features, SmallDiscriminator, first_generator
from tests.train.small import SMALL, assert_same, last_state

NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
ROOT = Path(__file__).parents[2]
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> PackedImages:
    home = tmp_path_factory.mktemp("pack")
    rng = np.random.default_rng(0)
    for n in range(20):
        files.write_array(home / f"{n:02}.png", rng.integers(0, 256, (64, 80, 3), dtype=np.uint8))
    pairs = [Pair(name=path.name, hr=path, lr=None) for path in sorted(home.glob("*.png"))]
    return pack_images(pairs, home / "p.pack", min_side=32)


@pytest.fixture(scope="module")
def two_ranks(pack: PackedImages, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two gloo processes come to, with BatchNorm per rank and synchronised."""
    folder = tmp_path_factory.mktemp("ranks")
    script = str(Path(__file__).with_name("ranks.py"))
    subprocess.run([*TORCHRUN, script, str(pack.path), str(folder)], check=True, env=environment(), timeout=500)
    return folder


def parts(pack: PackedImages, name: str, step: int, count: int) -> list[tuple[Tensor, Tensor]]:
    """The whole batch of a step, as floats, in `count` equal parts."""
    batches = loader(pack, CropSampler(seed=0, phase=name, batch=16, crop=32), device=CPU)
    lr, hr = batches(step)
    batches.close()
    whole = unit_from_uint8(lr, torch.float64), signed_from_uint8(hr, torch.float64)
    return list(zip(*(tensor.chunk(count) for tensor in whole), strict=True))


@functools.cache
def reference(pack: PackedImages, name: str, count: int) -> dict[str, Tensor]:
    """One process, in plain PyTorch: forwards the parts one by one, takes the mean of their gradients."""
    generator = first_generator().double().train()
    adam_g = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.9, 0.999))
    discriminator = SmallDiscriminator(32)
    init_weights(discriminator, seed=1)
    discriminator.double().train()
    adam_d = torch.optim.Adam(discriminator.parameters(), lr=1e-3, betas=(0.9, 0.999))
    features = Features()
    for step in range(STEPS):
        here = parts(pack, name, step, count)
        outputs = [(generator(lr), hr) for lr, hr in here]
        if name == "adversarial":
            adam_d.zero_grad()
            for sr, hr in outputs:
                loss = losses.discriminator(discriminator(hr), discriminator(sr.detach()))
                (loss / count).backward()
            adam_d.step()
        adam_g.zero_grad()
        for sr, hr in outputs:
            if name == "pretrain":
                loss = torch.mean((sr - hr) ** 2)
            else:
                content = losses.content(features(sr)["54"], features(hr)["54"])
                loss = content + 1e-3 * losses.adversarial(discriminator(sr))
            (loss / count).backward()
        adam_g.step()
    found = {f"g.{name}": tensor for name, tensor in generator.named_parameters()}
    if name == "adversarial":
        found |= {f"d.{name}": tensor for name, tensor in discriminator.named_parameters()}
    return {name: tensor.detach() for name, tensor in found.items()}


@pytest.mark.parametrize("name", ["pretrain", "adversarial"])
@pytest.mark.parametrize(("mode", "count"), [("rank", 2), pytest.param("sync", 1, marks=NEEDS_CUDA)])
def test_two_processes_are_one_that_averages(two_ranks, pack, name, mode, count):
    """BatchNorm per rank: as one process with two half batches; synchronised: as one with the whole batch."""
    together = torch.load(two_ranks / f"{mode}_{name}.pt")
    alone = reference(pack, name, count)
    start = first_generator().double().state_dict()
    assert max((alone["g.tail.conv.weight"] - start["tail.conv.weight"]).abs().max(), 0) > 1e-4, "it learned"
    for tensor_name, tensor in alone.items():
        assert together[tensor_name].dtype == torch.float64
        assert (together[tensor_name] - tensor).abs().max() < 1e-8, tensor_name
    other = reference(pack, name, 3 - count)
    assert max((together[n] - t).abs().max() for n, t in other.items()) > 1e-6, "the two ways are unlike"


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the threads in /proc")
def test_no_thread_of_the_exchange_outlives_the_group(two_ranks):
    """One that still runs while Python shuts down aborts the process."""
    for rank in (0, 1):
        threads = (two_ranks / f"threads_{rank}.txt").read_text().split()
        assert threads and not [name for name in threads if "gloo" in name]


def test_synchronised_batchnorm_needs_a_gpu():
    with pytest.raises(SettingsError, match=r"sync_batchnorm runs on CUDA devices only.*'cpu'"):
        synchronise_batchnorm(torch.nn.BatchNorm2d(2), CPU)


def test_alone_nothing_is_exchanged():
    with process_group(CPU, batch_size=7) as ranks:
        assert ranks is ALONE and ranks.is_main
        assert ranks.broadcast_object(lambda: 3) == 3 and ranks.all_reduce_max(15) == 15
        assert ranks.all_reduce_mean({"pixel": 0.5}) == {"pixel": 0.5}


def test_a_batch_that_cannot_be_shared_equally_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(SettingsError, match="batch_size is 16, which 3 processes"), process_group(CPU, batch_size=16):
        pass


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the process in /proc")
def test_killing_one_process_ends_the_job_with_a_sentence(tmp_path):
    with start(tmp_path, "--pretrain-steps", "100000") as job:
        wait_for(lambda: '"report"' in (tmp_path / "run/journal.jsonl").read_text(), job)
        os.kill(rank_of(job.pid, 1), signal.SIGKILL)
        began = time.monotonic()
        _, said = job.communicate(timeout=120)
        print(f"ended {time.monotonic() - began:.1f} s after the kill")
    assert job.returncode != 0
    assert "srgan: error: this process (rank 0) lost another one of its job" in said
    assert "Traceback" not in said.split("srgan: error")[0]


@pytest.mark.slow
def test_the_command_under_torchrun(tmp_path):
    """Both phases, one writer; and stopped before its last step and gone on with, it comes to the same bits."""

    def done(name: str, *more: str) -> Path:
        (tmp_path / name).mkdir(exist_ok=True)
        with start(tmp_path / name, "--pretrain-steps", "4", *more) as job:
            _, said = job.communicate(timeout=500)
        assert job.returncode == 0, said
        return tmp_path / name / "run"

    straight = done("straight", "--train-steps", "3")
    text = (straight / "journal.jsonl").read_text()
    assert text.count('"kind": "start"') == 1 and "Training with 2 processes, each with a batch of 1" in text
    assert (straight / "srresnet.safetensors").exists() and (straight / "srgan.safetensors").exists()
    done("stopped", "--train-steps", "2")  # which has the rate dropped after step 1, as 3 steps have
    stopped = done("stopped", "--train-steps", "3", "--resume", "--allow-change", "train_steps")
    assert_same(last_state(straight), last_state(stopped))


def start(folder: Path, *more: str) -> subprocess.Popen[str]:
    command = [*TORCHRUN, "-m", "srgan", *SMALL, "--output", str(folder / "run"), *more]
    return subprocess.Popen(command, env=environment(), cwd=folder, stderr=subprocess.PIPE, text=True)


def wait_for(condition: object, job: subprocess.Popen[str]) -> None:
    assert callable(condition)
    for _ in range(2400):
        try:
            if condition():
                return
        except OSError:
            pass
        assert job.poll() is None, job.communicate()[1]
        time.sleep(0.1)
    job.kill()
    pytest.fail("it never got so far")


def rank_of(torchrun: int, rank: int) -> int:
    """The process id of a rank."""
    for child in Path(f"/proc/{torchrun}/task/{torchrun}/children").read_text().split():
        if f"\0RANK={rank}\0".encode() in Path(f"/proc/{child}/environ").read_bytes():
            return int(child)
    raise AssertionError(f"torchrun {torchrun} has no rank {rank}")
