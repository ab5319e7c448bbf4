"""Section 3.4 and table 1: which content losses there are, and what goes with them."""

from __future__ import annotations

from typing import get_args, get_type_hints

import pytest
import torch
from torch import Tensor

from srgan.model import losses
from srgan.model.config import GeneratorConfig
from srgan.model.discriminator import Discriminator
from srgan.model.generator import Generator
from srgan.train import recipes, steps
from srgan.train.settings import TrainSettings

OFF = torch.autocast("cpu", torch.bfloat16, enabled=False)


def test_srgan_is_the_variant_with_vgg54() -> None:
    assert recipes.paper().content == "vgg54"


def test_table_1_s_three_content_losses_can_be_chosen() -> None:
    assert set(get_args(get_type_hints(TrainSettings)["content"])) == {"mse", "vgg22", "vgg54"}


def test_srgan_mse_has_the_pixels_as_content() -> None:
    sr, hr = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    assert steps.content_loss(None, "mse", sr, hr, OFF) == losses.pixel_mse(sr, hr)


@pytest.mark.parametrize("layer", ["22", "54"])
def test_content_is_equation_5_on_the_layer_that_was_asked_for(layer: str) -> None:
    def features(signed: Tensor) -> dict[str, Tensor]:
        return {"22": 3 * signed, "54": 7 * signed}

    sr, hr = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    wanted = losses.content(features(sr)[layer], features(hr)[layer])
    assert steps.content_loss(features, layer, sr, hr, OFF) == wanted


def gradient(layer: str, **weights: float) -> Tensor:
    """Of the first kernel of a small generator, float64, in the adversarial step."""
    torch.manual_seed(0)
    generator, discriminator = (
        Generator(GeneratorConfig(blocks=1, width=4)).double(),
        Discriminator(crop=16, width=2).double(),
    )
    of_g, of_d = (torch.optim.SGD(n.parameters(), lr=0.0) for n in (generator, discriminator))
    lr, hr = (torch.rand(2, 3, side, side, dtype=torch.float64) for side in (4, 16))
    weights = {"content_weight": 1.0, "adversarial_weight": 1e-3, "total_variation_weight": 0.0} | weights
    steps.adversarial_step(
        generator, discriminator, lambda x: {layer: x}, layer, of_g, of_d, lr, hr, autocast=OFF, **weights
    )
    assert generator.head.conv.weight.grad is not None
    return generator.head.conv.weight.grad


@pytest.mark.parametrize("term", ["pixel_weight", "grid_weight"])
def test_what_equation_3_lacks_counts_only_where_it_is_asked_for(term: str) -> None:
    """The pixels' mean absolute error, and the grid in the error: each adds its own gradient, times its weight."""
    one, three = (gradient("54", **{term: weight}) - gradient("54") for weight in (1.0, 3.0))
    assert one.norm() > 0
    torch.testing.assert_close(three, 3 * one)
    alone = {"content_weight": 0.0, "adversarial_weight": 0.0}
    torch.testing.assert_close(gradient("54", **alone, **{term: 1.0}), one)
    assert getattr(recipes.paper(), term) == 0.0


@pytest.mark.parametrize(("layer", "counts"), [("22", True), ("54", False)])
def test_total_variation_goes_with_vgg22_alone(layer: str, counts: bool) -> None:
    """The paper's weight is 2e-8; a heavy one here shows in the gradient where the loss takes part."""

    assert torch.equal(gradient(layer), gradient(layer, total_variation_weight=10.0)) is not counts
    assert recipes.paper().total_variation_weight == losses.TOTAL_VARIATION_WEIGHT == 2e-8
