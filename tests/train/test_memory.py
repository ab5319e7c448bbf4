"""A long run holds no more memory than a short one."""

from __future__ import annotations

import functools
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch

from srgan.data.loader import CropSampler, loader
from srgan.data.packed import pack_images
from srgan.data.pairs import Pair
from srgan.image import files
from srgan.model.config import GeneratorConfig
from srgan.model.discriminator import Discriminator
from srgan.model.generator import Generator
from srgan.train import loop, phases
from srgan.train.settings import Reports, TrainSettings
from tests.support import resident_bytes

CPU = torch.device("cpu")
SETTINGS = TrainSettings.flat(blocks=1, width=4, crop=16, batch_size=2, content="mse", ema=0.9)
WARM, STEPS = 200, 1000


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
@pytest.mark.parametrize("name", ["pretrain", pytest.param("adversarial", marks=pytest.mark.slow)])
def test_resident_memory_is_flat(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
