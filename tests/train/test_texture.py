"""--texture-weight: Gram matrices of VGG19's maps, patch by patch; what texture there is, wherever in the patch it lies."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from srgan.errors import SettingsError
from srgan.model import losses
from srgan.train import recipes
from srgan.train.settings import TrainSettings

CHANNELS = {"12": 3, "22": 4, "34": 5}


def maps(seed: int, side: int = 32) -> dict[str, Tensor]:
    """As VGG19 gives them: each block of it halves the picture."""
    rng = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand((2, c, *[side // 2 ** (int(name[0]) - 1)] * 2), generator=rng, dtype=torch.float64)
        for name, c in CHANNELS.items()
    }


def test_it_is_the_relative_error_of_each_patch_s_products() -> None:
    sr, hr = maps(0), maps(1)
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


def test_places_within_a_patch_do_not_count_and_the_patch_does() -> None:
    hr = maps(0)
    turned = {name: m.unflatten(2, (2, -1)).flip(3).flatten(2, 3) for name, m in hr.items()}  # rows of each patch
    assert losses.texture(turned, hr) < 1e-20
    exchanged = {name: m.roll(m.shape[2] // 2, 2) for name, m in hr.items()}
    assert losses.texture(exchanged, hr) > 1e-3


def test_the_error_is_relative() -> None:
    """Maps half as strong: products a quarter, and the relative error does not know how strong they were."""
    hr = maps(0)
    for strength in (1.0, 100.0):
        strong = {name: strength * m for name, m in hr.items()}
        weak = {name: 0.5 * m for name, m in strong.items()}
        torch.testing.assert_close(losses.texture(weak, strong), torch.tensor(0.75**2, dtype=torch.float64))


def test_where_the_original_has_nothing_the_loss_is_finite_and_so_is_its_gradient() -> None:
    black = {name: torch.zeros_like(m) for name, m in maps(0).items()}
    sr = {name: torch.zeros_like(m).requires_grad_() for name, m in black.items()}
    loss = losses.texture(sr, black)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss == 0.0 and all(torch.isfinite(m.grad).all() for m in sr.values() if m.grad is not None)


def test_originals_get_no_gradient() -> None:
    sr, hr = ({name: m.requires_grad_() for name, m in maps(seed).items()} for seed in (0, 1))
    losses.texture(sr, hr).backward()  # type: ignore[no-untyped-call]
    assert all(m.grad is None for m in hr.values()) and all(m.grad is not None for m in sr.values())


def test_it_needs_the_discriminator_that_sees_maps_and_the_paper_has_none() -> None:
    with pytest.raises(SettingsError, match=r"texture_weight.*discriminator features"):
        TrainSettings(texture_weight=1.0)
    assert TrainSettings(texture_weight=1.0, discriminator="features").texture_weight == 1.0
    assert recipes.paper().texture_weight == 0.0
