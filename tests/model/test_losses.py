"""The losses: known answers, properties, and agreement with the paper's formulas in NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor

from srgan.model import losses

finite = st.floats(-20, 20, width=32)
logits = hnp.arrays(np.float64, st.tuples(st.integers(1, 5), st.just(1)), elements=finite)
pictures = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 2), st.just(3), st.integers(2, 5), st.integers(2, 5)),
    elements=st.floats(-1, 1, width=32),
)


@given(pictures, pictures)
def test_pixel_losses_are_means_over_everything(a, b):
    b = np.resize(b, a.shape)
    sr, hr = torch.from_numpy(a), torch.from_numpy(b)
    assert losses.pixel_mse(sr, hr).item() == pytest.approx(((a - b) ** 2).mean(), abs=1e-12)
    assert losses.pixel_l1(sr, hr).item() == pytest.approx(np.abs(a - b).mean(), abs=1e-12)
    assert losses.pixel_mse(sr, hr) == losses.pixel_mse(hr, sr)


def test_content_sends_no_gradient_to_the_photograph():
    sr, hr = (torch.ones(1, 2, 2, 2, requires_grad=True) for _ in range(2))
    losses.content(sr, 3 * hr).backward()
    assert sr.grad is not None
    assert torch.all(sr.grad < 0)
    assert hr.grad is None


@pytest.mark.parametrize(
    "loss", [losses.adversarial, lambda x: losses.discriminator(-x, x), lambda x: losses.discriminator(x, -x)]
)
@pytest.mark.parametrize("value", [-1e4, 1e4])
def test_extreme_logits_stay_finite(loss, value):
    x = torch.tensor([[value]], requires_grad=True)
    result: Tensor = loss(x)
    result.backward()
    assert torch.isfinite(result)
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


@given(pictures)
def test_total_variation_is_the_mean_length_of_the_gradient(a):
    down, right = np.diff(a, axis=2)[..., :-1], np.diff(a, axis=3)[..., :-1, :]
    expected = np.hypot(down, right).mean()
    assert losses.total_variation(torch.from_numpy(a)).item() == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_total_variation_of_a_flat_picture_has_a_finite_gradient():
    flat = torch.full((1, 3, 4, 4), 0.25, requires_grad=True)
    losses.total_variation(flat).backward()
    assert flat.grad is not None
    assert torch.all(flat.grad == 0)


CHANNELS = {"12": 3, "22": 4, "34": 5}


def features(seed: int, side: int = 32) -> dict[str, Tensor]:
    """As VGG19 gives them: each block of it halves the picture."""
    rng = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand((2, c, *[side // 2 ** (int(name[0]) - 1)] * 2), generator=rng, dtype=torch.float64)
        for name, c in CHANNELS.items()
    }


def test_texture_is_the_relative_error_of_each_patch_s_products():
    sr, hr = features(0), features(1)
    errors: dict[str, list[float]] = {name: [] for name in CHANNELS}
    for name in CHANNELS:
        p = {"12": 16, "22": 8, "34": 4}[name]
        for n in range(2):
            for y in (0, p):
                for x in (0, p):
                    a, b = (m[name][n, :, y : y + p, x : x + p].numpy() for m in (sr, hr))
                    products = [np.einsum("iyx,jyx->ij", f, f) for f in (a, b)]
                    errors[name].append(((products[0] - products[1]) ** 2).sum() / (products[1] ** 2).sum())
    wanted = np.mean([np.mean(each) for each in errors.values()])
    np.testing.assert_allclose(float(losses.texture(sr, hr)), wanted, rtol=1e-12)


def test_texture_ignores_the_order_within_a_patch_and_not_the_patch():
    hr = features(0)
    turned = {name: m.unflatten(2, (2, -1)).flip(3).flatten(2, 3) for name, m in hr.items()}  # rows of each patch
    assert losses.texture(turned, hr) < 1e-20
    exchanged = {name: m.roll(m.shape[2] // 2, 2) for name, m in hr.items()}
    assert losses.texture(exchanged, hr) > 1e-3


def test_texture_of_black_is_finite_and_so_is_its_gradient():
    black = {name: torch.zeros_like(m) for name, m in features(0).items()}
    sr = {name: torch.zeros_like(m).requires_grad_() for name, m in black.items()}
    hr = {name: m.clone().requires_grad_() for name, m in black.items()}
    loss = losses.texture(sr, hr)
    loss.backward()
    assert loss == 0.0 and all(m.grad is not None and torch.isfinite(m.grad).all() for m in sr.values())
    assert all(m.grad is None for m in hr.values()), "no gradient goes to HR"


def test_grid_ignores_errors_that_do_not_depend_on_the_place_in_an_lr_pixel():
    rng = torch.Generator().manual_seed(0)
    hr = torch.rand(2, 3, 96, 96, generator=rng)
    coarse = torch.rand(2, 3, 24, 24, generator=rng).repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert losses.grid(hr, hr) == 0.0
    assert losses.grid(hr + 0.1, hr) < 1e-12
    assert losses.grid(hr + coarse, hr) < 1e-12  # whole LR pixels too light or too dark
    noise = 0.1 * torch.randn(2, 3, 96, 96, generator=rng)
    expected = 0.1**2 / 12**2 * 15 / 16  # the mean of 144 places, less the mean of 16 such means
    assert 0.8 * expected < losses.grid(hr + noise, hr) < 1.2 * expected


@pytest.mark.parametrize("side", [16, 32, 96])
def test_grid_is_the_variance_of_a_pattern_wherever_it_lies(side):
    hr = torch.rand(1, 3, side, side, dtype=torch.float64)
    for row, column in ((0, 0), (3, 1)):
        pattern = torch.zeros_like(hr)
        pattern[..., row::4, column::4] = 0.16
        wanted = 0.16**2 * (1 / 16 - 1 / 256)  # variance over the 16 places
        torch.testing.assert_close(losses.grid(hr + pattern, hr), torch.tensor(wanted, dtype=torch.float64))
