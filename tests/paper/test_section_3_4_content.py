"""Section 3.4 and table 1: which content losses there are, and what goes with them."""

from typing import get_args, get_type_hints

import pytest
import torch
from torch import Tensor

from srgan.model.config import GeneratorConfig
from srgan.model.discriminator import Discriminator
from srgan.model.generator import Generator
from srgan.train import recipes, steps
from srgan.train.settings import Losses, LossWeights
from tests.train.small import still_nets


def test_srgan_is_the_variant_with_vgg54():
    assert recipes.paper().losses.content == "vgg54"


def test_table_1_s_three_content_losses_can_be_chosen():
    assert set(get_args(get_type_hints(Losses)["content"])) - {"auto"} == {"mse", "vgg22", "vgg54"}


def nets(vgg: steps.Features | None, seed: int = 0) -> steps.AdversarialNets:
    """Small networks in float64, with optimizers that change nothing."""
    torch.manual_seed(seed)
    generator = Generator(GeneratorConfig(blocks=1, width=4)).double()
    return still_nets(generator, Discriminator(crop=16, width=2).double(), vgg=vgg)


def test_srgan_mse_has_the_pixels_as_content():
    lr, hr = (torch.rand(2, 3, side, side, dtype=torch.float64) for side in (4, 16))
    values = steps.adversarial_step(nets(None), lr, hr, LossWeights(), "mse")
    assert values["content"] == values["pixel"]


@pytest.mark.parametrize("layer", ["22", "54"])
def test_content_is_equation_5_on_the_layer_that_was_asked_for(layer):
    def features(signed: Tensor) -> dict[str, Tensor]:
        return {"22": 3 * signed, "54": 7 * signed}

    sr, hr = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    phi_sr, phi_hr = steps.content_features(nets(features), layer, sr, hr, sr, hr)
    assert torch.equal(phi_sr, features(sr)[layer]) and torch.equal(phi_hr, features(hr)[layer])


def gradient(layer: str, **weights: float) -> Tensor:
    """Of the first kernel of a small generator, float64, in the adversarial step."""
    small = nets(lambda x: {layer: x})
    lr, hr = (torch.rand(2, 3, side, side, dtype=torch.float64) for side in (4, 16))
    chosen = LossWeights(**({"total_variation_weight": 0.0} | weights))
    steps.adversarial_step(small, lr, hr, chosen, layer)
    assert isinstance(small.generator, Generator) and small.generator.head.conv.weight.grad is not None
    return small.generator.head.conv.weight.grad


@pytest.mark.parametrize(("layer", "counts"), [("22", True), ("54", False)])
def test_total_variation_goes_with_vgg22_alone(layer, counts):
    """The paper's weight is 2e-8; a heavy one here shows in the gradient where the loss takes part."""

    assert torch.equal(gradient(layer), gradient(layer, total_variation_weight=10.0)) is not counts
    assert recipes.paper().losses.total_variation_weight == 2e-8
