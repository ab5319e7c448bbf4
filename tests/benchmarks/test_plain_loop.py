"""The plain loop computes what ours does, so that the two may be compared."""

import copy
import functools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks import plain_loop
from srgan.data.loader import Batch, signed_from_uint8, unit_from_uint8
from srgan.image import resize
from srgan.model.config import GeneratorConfig
from srgan.model.discriminator import Discriminator
from srgan.model.generator import Generator, init_weights
from srgan.train import phases
from srgan.train.phases import Phase, adversarial, pretraining
from srgan.train.settings import TrainSettings

CPU = torch.device("cpu")
SETTINGS = TrainSettings.flat(blocks=2, width=16, crop=32, batch_size=4, precision="fp32")
STEPS = 50


class Features(nn.Module):
    """A stand-in for VGG19: one frozen convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(0)) * 5)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"54": torch.relu(torch.conv2d(x, self.get_buffer("weight")))}


def batch(step: int) -> Batch:
    rng = np.random.default_rng(step)
    small = [rng.integers(0, 256, (4, 4, 3), dtype=np.uint8) for _ in range(4)]
    hr = np.stack([resize.bicubic(s, 32, 32) for s in small])
    lr = np.stack([resize.downscaled(picture) for picture in hr])
    return Batch(*(torch.from_numpy(x).permute(0, 3, 1, 2) for x in (lr, hr)))


@pytest.mark.parametrize("name", ["pretrain", "adversarial"])
def test_loss_curves_agree(name, monkeypatch):
    """fp32, same seed and crops: 1e-5 at the first step, 2 % at the fiftieth."""
    features = Features()
    generator = Generator(GeneratorConfig(blocks=2, width=16))
    init_weights(generator, seed=0)
    theirs = copy.deepcopy(generator).train()
    adam = torch.optim.Adam(theirs.parameters(), lr=1e-4)
    ours: Phase
    if name == "pretrain":
        ours = pretraining(generator, SETTINGS, CPU)
        step, parts = plain_loop.pretrain_step, (theirs, adam)
    else:
        monkeypatch.setattr(phases, "Discriminator", functools.partial(Discriminator, width=8))
        ours = adversarial(generator, features, SETTINGS, CPU)
        discriminator = Discriminator(32, width=8)
        init_weights(discriminator, seed=SETTINGS.run.seed + 1)
        adam_d = torch.optim.Adam(discriminator.train().parameters(), lr=1e-4)
        step, parts = plain_loop.adversarial_step, (theirs, discriminator, features, adam, adam_d)
    curves = []
    for n in range(STEPS):
        lr, hr = batch(n)
        losses = step(*parts, unit_from_uint8(lr).contiguous(), signed_from_uint8(hr).contiguous())
        found = ours.step(n, batch(n), 1e-4)
        curves.append({key: (value, float(found[key])) for key, value in losses.items()})
    for key, (wanted, got) in curves[0].items():
        assert got == pytest.approx(wanted, rel=1e-5), key
    for key, (wanted, got) in curves[-1].items():
        assert got == pytest.approx(wanted, rel=0.02), key
    assert min(curves[-1].values()) != min(curves[0].values())
