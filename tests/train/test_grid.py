"""What keeps a grid of LR pixels out of SRGAN's pictures: --shift moves the discriminator's crops, --grid-weight charges for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from srgan.config import to_mapping
from srgan.model import losses
from srgan.model.discriminator import Discriminator
from srgan.model.generator import init_weights
from srgan.train import steps
from srgan.train.settings import TrainSettings, changed
from srgan.train.shift import Shift
from tests.train.small import assert_same, last_state, train

CPU = torch.device("cpu")


def test_sixteen_steps_move_in_all_ways_and_repeat_the_edges() -> None:
    shift, picture = Shift(8, CPU), torch.rand(1, 3, 8, 8)
    around = np.pad(picture.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="edge")
    for start in (0, 5):
        ways = set()
        for step in range(start, start + 16):
            shift.turn(step)
            moved = shift(picture).numpy()
            ways |= {
                (y, x) for y in range(4) for x in range(4) if np.array_equal(moved, around[..., y : y + 8, x : x + 8])
            }
        assert len(ways) == 16


def repeating(gradient: Tensor) -> float:
    """Strength of what is the same in every 4x4 pixels, away from the edges."""
    inner = gradient[..., 8:-8, 8:-8]
    n, c, height, width = inner.shape
    places = inner.reshape(n, c, height // 4, 4, width // 4, 4).mean((0, 2, 4))
    return float((places - places.mean((1, 2), keepdim=True)).norm())


def test_the_discriminator_s_gradient_has_a_grid_and_the_mean_of_16_steps_has_none() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(crop=64, width=8)
    init_weights(discriminator, seed=0)
    pictures = torch.nn.functional.interpolate(torch.rand(4, 3, 16, 16), scale_factor=4, mode="bilinear") * 2 - 1
    shift = Shift(64, CPU)

    def gradient() -> Tensor:
        x = pictures.clone().requires_grad_()
        losses.adversarial(discriminator(shift(x))).backward()  # type: ignore[no-untyped-call]
        assert x.grad is not None
        return x.grad

    shift.turn(2)  # where nothing is moved
    plain = gradient()
    mean = torch.zeros_like(plain)
    for step in range(16):
        shift.turn(step)
        mean += gradient() / 16
    assert repeating(plain) > 5 * repeating(mean)


def test_photographs_and_made_pictures_move_alike_and_for_the_discriminator_alone() -> None:
    seen: list[Tensor] = []

    class Sees(torch.nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.detach().clone())
            return super().forward(x.mean((2, 3)))

    generator, judge, shift = torch.nn.Conv2d(3, 3, 1), Sees(3, 1), Shift(16, CPU)
    of_g, of_d = (torch.optim.SGD(network.parameters(), lr=0.0) for network in (generator, judge))
    x, hr = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
    looked: list[Tensor] = []

    def features(picture: Tensor) -> dict[str, Tensor]:
        looked.append(picture.detach().clone())
        return {"54": picture}

    shift.turn(0)
    steps.adversarial_step(
        generator,
        judge,
        features,
        "54",
        of_g,
        of_d,
        x,
        hr,
        content_weight=1.0,
        adversarial_weight=1.0,
        total_variation_weight=0.0,
        autocast=torch.autocast("cpu", enabled=False),
        shown=shift,
    )
    sr = generator(x)
    for found, wanted in zip(seen, (hr, sr, sr), strict=True):
        assert torch.equal(found, shift(wanted)) and not torch.equal(found, wanted)
    for found, wanted in zip(looked, (hr, sr), strict=True):
        assert torch.equal(found, wanted)


def test_what_does_not_know_where_lr_pixels_begin_is_no_grid() -> None:
    rng = torch.Generator().manual_seed(0)
    hr = torch.rand(2, 3, 96, 96, generator=rng)
    coarse = torch.rand(2, 3, 24, 24, generator=rng).repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert losses.grid(hr, hr) == 0.0
    assert losses.grid(hr + 0.1, hr) < 1e-12
    assert losses.grid(hr + coarse, hr) < 1e-12  # whole LR pixels too light or too dark
    noise = 0.1 * torch.randn(2, 3, 96, 96, generator=rng)
    expected = 0.1**2 / 12**2 * 15 / 16  # the mean of 144 places, less the mean of 16 such
    assert 0.8 * expected < losses.grid(hr + noise, hr) < 1.2 * expected


@pytest.mark.parametrize("side", [16, 32, 96])
def test_a_grid_counts_with_its_square_wherever_it_lies(side: int) -> None:
    hr = torch.rand(1, 3, side, side, dtype=torch.float64)
    for row, column in ((0, 0), (3, 1)):
        pattern = torch.zeros_like(hr)
        pattern[..., row::4, column::4] = 0.16
        wanted = 0.16**2 * (1 / 16 - 1 / 256)  # variance over the 16 places
        torch.testing.assert_close(losses.grid(hr + pattern, hr), torch.tensor(wanted, dtype=torch.float64))


def test_a_run_stopped_and_resumed_moves_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    how = ("--pretrain-steps", "1", "--decay", "none", "--shift")
    again = ("--resume", *how, "--train-steps", "6", "--allow-change", "train_steps")
    assert train(whole, *how, "--train-steps", "6") == 0
    assert train(halves, *how, "--train-steps", "3") == train(halves, *again) == 0
    assert_same(last_state(whole), last_state(halves))
    capsys.readouterr()
    assert train(halves, *again, "--no-shift") == 2
    assert "change the result: shift" in capsys.readouterr().err


def test_a_checkpoint_from_before_a_setting_had_its_default() -> None:
    before = to_mapping(TrainSettings())
    del before["shift"]
    assert changed(before, TrainSettings()) == {}
    assert changed(before, TrainSettings(shift=True)) == {"shift": (False, True)}
