"""--discriminator features: one look of VGG19 at each picture serves discriminator and content loss."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from srgan.errors import SettingsError
from srgan.model import losses
from srgan.model.config import GeneratorConfig
from srgan.model.discriminator import FEATURE_SCALES, FeatureDiscriminator
from srgan.model.generator import Generator
from srgan.model.vgg import LAYERS, VGG19
from srgan.train import steps
from srgan.train.settings import TrainSettings
from tests.train.small import assert_same, last_state, train

OFF = torch.autocast("cpu", enabled=False)
WEIGHTS = {"content_weight": 0.5, "adversarial_weight": 2.0, "total_variation_weight": 0.0}


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VGG19 of random kernels that keep the strength of what they are given."""
    rng = torch.Generator().manual_seed(0)
    tensors = {}
    for layer in LAYERS.values():
        fan_in = layer.shape[1] * 9
        tensors[f"{layer.name}.weight"] = torch.randn(layer.shape, generator=rng) * (2 / fan_in) ** 0.5
        tensors[f"{layer.name}.bias"] = torch.zeros(layer.shape[0])
    target = tmp_path_factory.mktemp("vgg") / "vgg19.safetensors"
    save_file(tensors, target)
    return target


Watched = tuple[Generator, FeatureDiscriminator, dict[str, Tensor], list[Tensor]]


def _crops() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    return torch.rand(2, 3, 8, 8, generator=rng), torch.rand(2, 3, 32, 32, generator=rng) * 2 - 1


def _step(vgg: VGG19, **weights: float) -> Watched:
    """Gradients and losses of one step that changes nothing, and what VGG19 looked at."""
    torch.manual_seed(0)
    generator, discriminator = Generator(GeneratorConfig(blocks=1, width=4)), FeatureDiscriminator(width=4)
    of_g, of_d = (torch.optim.SGD(n.parameters(), lr=0.0) for n in (generator, discriminator))
    looked: list[Tensor] = []

    def shown(pictures: Tensor) -> dict[str, Tensor]:
        looked.append(pictures.detach().clone())
        return vgg(pictures)  # type: ignore[no-any-return]

    lr, hr = _crops()
    found = steps.adversarial_step(
        generator, discriminator, None, "54", of_g, of_d, lr, hr, autocast=OFF, shown=shown, **(WEIGHTS | weights)
    )
    return generator, discriminator, found, looked


def test_the_losses_are_those_of_the_maps_and_each_picture_is_looked_at_once(vgg_file: Path) -> None:
    vgg = VGG19(vgg_file, layers=("54", *FEATURE_SCALES))
    _, discriminator, found, (sr, hr) = _step(vgg)
    maps_sr, maps_hr = vgg(sr), vgg(hr)
    torch.testing.assert_close(found["content"], losses.content(maps_sr["54"], maps_hr["54"]))
    torch.testing.assert_close(found["adversarial"], losses.adversarial(discriminator(maps_sr)).detach())
    both = losses.discriminator(discriminator(maps_hr), discriminator(maps_sr))
    torch.testing.assert_close(found["discriminator"], both.detach())


def test_each_network_learns_from_its_own_loss_alone(vgg_file: Path) -> None:
    vgg = VGG19(vgg_file, layers=("54", *FEATURE_SCALES))
    _, discriminator, _, (sr, hr) = _step(vgg)
    discriminator_alone = torch.autograd.grad(
        losses.discriminator(discriminator(vgg(hr)), discriminator(vgg(sr))), list(discriminator.parameters())
    )
    for parameter, wanted in zip(discriminator.parameters(), discriminator_alone, strict=True):
        torch.testing.assert_close(parameter.grad, wanted)
    with_it, without = (_step(vgg, adversarial_weight=w)[0].head.conv.weight.grad for w in (2.0, 0.0))
    assert with_it is not None and without is not None and (with_it - without).norm() > 1e-3 * without.norm()


def test_the_texture_counts_with_its_weight(vgg_file: Path) -> None:
    vgg = VGG19(vgg_file, layers=("54", *FEATURE_SCALES))
    without, once, thrice = (_step(vgg, texture_weight=w)[0].head.conv.weight.grad for w in (0.0, 1.0, 3.0))
    assert without is not None and once is not None and thrice is not None
    torch.testing.assert_close(thrice - without, 3 * (once - without), rtol=1e-3, atol=1e-6)
    generator, (lr, hr) = _step(vgg)[0], _crops()
    alone = torch.autograd.grad(losses.texture(vgg(generator(lr)), vgg(hr)), generator.head.conv.weight)[0]
    torch.testing.assert_close(once - without, alone, rtol=1e-3, atol=1e-6)


def test_a_run_with_moved_crops_stopped_and_resumed_moves_on(
    vgg_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    how = (
        "--pretrain-steps",
        "1",
        "--decay",
        "none",
        "--shift",
        "--discriminator",
        "features",
        "--discriminator-rate",
        "4",
        "--content",
        "vgg54",
        "--vgg",
        str(vgg_file),
    )
    again = ("--resume", *how, "--train-steps", "4", "--allow-change", "train_steps")
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert train(whole, *how, "--train-steps", "4") == 0
    assert train(halves, *how, "--train-steps", "2") == train(halves, *again) == 0
    assert_same(last_state(whole), last_state(halves))
    capsys.readouterr()
    assert train(halves, *again, "--discriminator", "figure4") == 2
    assert "change the result: discriminator" in capsys.readouterr().err


def test_it_needs_vgg19(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SettingsError, match=r"features.*VGG19.*--content vgg54"):
        TrainSettings(discriminator="features", content="mse")
    assert train(tmp_path / "run", "--content", "vgg54", "--discriminator", "features") == 2
    error = capsys.readouterr().err
    assert "VGG19" in error and "srgan data fetch vgg19" in error


def test_the_discriminator_s_rate_is_a_factor(vgg_file: Path, tmp_path: Path) -> None:
    """Adam's first step is as long as the learning rate, whatever the gradient."""
    how = (
        "--pretrain-steps",
        "1",
        "--train-steps",
        "1",
        "--decay",
        "none",
        "--learning-rate",
        "1e-3",
        "--discriminator",
        "features",
        "--content",
        "vgg54",
        "--vgg",
        str(vgg_file),
        "--checkpoint-interval",
        "1",
    )
    states = []
    for rate in ("1", "4"):
        assert train(tmp_path / rate, *how, "--discriminator-rate", rate) == 0
        states.append(last_state(tmp_path / rate))
    judged = [state["d.heads.34.4.bias"] for state in states]
    assert abs(float((judged[0] - judged[1]).abs()) - 3e-3) < 1e-6
    made = (states[0]["g.head.conv.weight"] - states[1]["g.head.conv.weight"]).abs()
    assert float(made.max()) < 2.001e-3  # at most the other way
