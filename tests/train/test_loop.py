"""The loop's watch: what is not finite is caught at its step and named; rollback after it; and flat memory."""

import functools
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor

from srgan.data.loader import CropSampler, loader
from srgan.data.packed import pack_images
from srgan.data.pairs import Pair
from srgan.image import files
from srgan.model.config import GeneratorConfig
from srgan.model.discriminator import Discriminator
from srgan.model.generator import Generator
from srgan.train import loop, phases, steps
from srgan.train.settings import Reports, TrainSettings
from tests.support import resident_bytes
from tests.train.small import train


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class Plant:
    """Spoils something at the n-th update of the generator, once or always."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, spoil: str, *, always: bool = False) -> None:
        self.count, self.at, self.spoil, self.always = 0, at, spoil, always
        self.norm, self.unit, self.step = steps.gradient_norm, phases.unit_from_uint8, phases.Phase.step
        monkeypatch.setattr(steps, "gradient_norm", self._norm)
        monkeypatch.setattr(phases, "unit_from_uint8", self._unit)
        plant = self

        def step(phase: phases.Phase, *args: object) -> dict[str, Tensor]:
            plant.count += 1
            losses = plant.step(phase, *args)
            if plant.due("statistic"):
                phase.generator.trunk.bn.running_mean[0] = torch.nan
            return losses

        monkeypatch.setattr(phases.Phase, "step", step)

    def due(self, what: str) -> bool:
        return self.spoil == what and (self.count == self.at or (self.always and self.count > self.at))

    def _unit(self, lr: Tensor, dtype: torch.dtype) -> Tensor:
        unit = self.unit(lr, dtype)
        if self.due("batch"):
            unit[0, 0, 0, 0] = torch.nan
        return unit

    def _norm(self, optimizer: torch.optim.Optimizer) -> Tensor:
        if self.due("gradient"):
            optimizer.param_groups[0]["params"][0].grad[0, 0, 0, 0] = torch.inf
        return self.norm(optimizer)


SPOILT = {"batch": "pixel", "gradient": "gradient", "statistic": "BatchNorm statistic trunk.bn.running_mean"}


@pytest.mark.parametrize(("spoil", "named"), SPOILT.items())
def test_a_planted_nan_stops_the_run_at_its_step(spoil, named, tmp_path, monkeypatch, capsys):
    Plant(monkeypatch, 5, spoil)
    assert train(tmp_path / "run") == 3
    said = capsys.readouterr().err
    assert "pretrain at step 5" in said and f"the {named}" in said and "Traceback" not in said
    assert "--resume --pretrain-learning-rate 5e-5" in said
    assert (tmp_path / "run/checkpoints/pretrain_00000004.checkpoint").exists()
    assert not (tmp_path / "run/checkpoints/pretrain_00000006.checkpoint").exists()


def test_rollback_halves_the_rate(tmp_path, monkeypatch, capsys):
    rates: list[float] = []
    plain = phases.optimizers.set_learning_rate
    monkeypatch.setattr(phases.optimizers, "set_learning_rate", lambda o, rate: (rates.append(rate), plain(o, rate)))
    Plant(monkeypatch, 5, "gradient")
    words = ["--on-divergence", "rollback", "--phase", "pretrain", "--pretrain-decay", "none"]
    assert train(tmp_path / "run", *words) == 0
    assert rates == [4e-4] * 5 + [2e-4] * 2
    assert "rollback 1 of 3" in capsys.readouterr().err


@pytest.mark.parametrize("at", [1, 5])
def test_rollback_gives_up(at, tmp_path, monkeypatch, capsys):
    Plant(monkeypatch, at, "batch", always=True)
    words = ["--on-divergence", "rollback", "--phase", "pretrain"]
    assert train(tmp_path / "run", *words) == 3
    said = capsys.readouterr().err
    assert "rollback 3 of 3" in said and "rollback 4" not in said
    assert ("Returning to the beginning" in said) == (at == 1)
    assert "3 times with a smaller learning rate did not help" in said and "--on-divergence" not in said


CPU = torch.device("cpu")
SETTINGS = TrainSettings.flat(blocks=1, width=4, crop=16, batch_size=2, content="mse", ema=0.9)
WARM, STEPS = 200, 1000


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
@pytest.mark.parametrize("name", ["pretrain", pytest.param("adversarial", marks=pytest.mark.slow)])
def test_resident_memory_is_flat(name, tmp_path, monkeypatch):
    """Less than 4 MB more after 1,000 steps: 4 kB a step would be one kept batch of floats."""
    monkeypatch.setattr(phases, "Discriminator", functools.partial(Discriminator, width=4))
    for n in range(3):
        pixels = np.random.default_rng(n).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        files.write_array(tmp_path / f"{n}.png", pixels)
    pairs = [Pair(name=path.name, hr=path, lr=None) for path in sorted(tmp_path.glob("*.png"))]
    pack = pack_images(pairs, tmp_path / "p.pack", min_side=16)
    build = phases.pretraining if name == "pretrain" else functools.partial(phases.adversarial, vgg=None)
    phase = build(Generator(GeneratorConfig(blocks=1, width=4)), settings=SETTINGS, device=CPU)
    batches = loader(pack, CropSampler(seed=0, phase=name, batch=2, crop=16), device=CPU)
    seen: list[int] = []
    recorder = mock.Mock()
    recorder.report.side_effect = lambda phase, report: seen.append(resident_bytes())
    every = Reports(report_interval=WARM, validation_interval=10**9, checkpoint_interval=10**9)
    loop.run_steps(phase, batches, recorder, start=0, stop=WARM + STEPS, rate=lambda step: 1e-4, every=every)
    batches.close()
    assert len(seen) == 1 + STEPS // WARM
    assert seen[-1] - seen[0] < 4 * 2**20, seen
