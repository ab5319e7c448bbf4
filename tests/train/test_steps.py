"""The adversarial step: each loss by its weight, the discriminator on features and on shifted images."""

import dataclasses
import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch import Tensor

from srgan.image.symmetry import apply_symmetry
from srgan.model import losses
from srgan.model.config import GeneratorConfig
from srgan.model.discriminator import FEATURE_SCALES, FeatureDiscriminator
from srgan.model.generator import Generator, init_weights
from srgan.model.vgg import VGG19
from srgan.train import steps
from srgan.train.settings import LossWeights
from srgan.train.steps import SelfEnsemble, Shift
from tests.support import random_vgg
from tests.train.small import assert_same, journal, last_state, still_nets, train

CPU = torch.device("cpu")
SOURCE = Path(steps.__file__).parents[1]
NO_WEIGHTS = dict.fromkeys((field.name for field in dataclasses.fields(LossWeights)), 0.0)


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("vgg") / "vgg19.safetensors"
    save_file(random_vgg(), target)
    return target


@pytest.fixture(scope="module")
def vgg(vgg_file: Path) -> VGG19:
    return VGG19(vgg_file, layers=("22", "54", *FEATURE_SCALES))


def crops() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(1)
    return torch.rand(2, 3, 8, 8, generator=rng), torch.rand(2, 3, 32, 32, generator=rng) * 2 - 1


def step(
    vgg: VGG19, layer: str = "54", **weights: float
) -> tuple[Generator, FeatureDiscriminator, dict[str, Tensor], list[Tensor]]:
    """Networks with the gradients of one step that changes nothing, its losses, and the images that VGG19 saw."""
    torch.manual_seed(0)
    generator, discriminator = Generator(GeneratorConfig(blocks=1, width=4)), FeatureDiscriminator(width=4)
    seen: list[Tensor] = []

    def features(images: Tensor) -> dict[str, Tensor]:
        seen.append(images.detach().clone())
        return vgg(images)

    nets = still_nets(generator, discriminator, discriminator_input=features)
    found = steps.adversarial_step(nets, *crops(), LossWeights(**(NO_WEIGHTS | weights)), layer)
    return generator, discriminator, found, seen


def gradient(vgg: VGG19, layer: str = "54", **weights: float) -> Tensor:
    """Of the generator's first kernel."""
    kernel = step(vgg, layer, **weights)[0].head.conv.weight.grad
    assert kernel is not None
    return kernel


@pytest.mark.parametrize("name", list(NO_WEIGHTS))
def test_each_loss_weight_changes_the_gradient_and_shows_in_the_journal(name, vgg, vgg_file, tmp_path, monkeypatch):
    """A weighted loss is a function, a field and a line in the step; this test is the proof of the third."""
    layer = "22" if name == "total_variation_weight" else "54"
    others = {"content_weight": 0.5} if name != "content_weight" else {"pixel_weight": 0.5}
    once, thrice = (gradient(vgg, layer, **others, **{name: weight}) for weight in (1.0, 3.0))
    without = gradient(vgg, layer, **others)
    assert (once - without).norm() > 1e-4 * without.norm()
    torch.testing.assert_close(thrice - without, 3 * (once - without), rtol=1e-2, atol=1e-5 * float(once.norm()))
    reported = set(step(vgg, layer, **{name: 1.0})[2]) - set(step(vgg, layer)[2])
    assert reported or name in ("content_weight", "adversarial_weight"), "these two are always reported"
    if name != "grid_weight":
        return
    monkeypatch.chdir(tmp_path)
    assert train(tmp_path / "run", "--phase", "both", "--grid-weight", "1") == 0
    last = journal(tmp_path / "run", "report")[-1]
    assert last["phase"] == "adversarial" and {"content", "adversarial", *reported} <= last["loss"].keys()


def test_eight_calls_from_the_command_line_to_the_loss(vgg_file, tmp_path, monkeypatch):
    """Those that docs/development.md names."""
    calls: list[str] = []
    content = losses.content

    def recorded(*features: Tensor) -> Tensor:
        frames = [frame for frame in inspect.stack(0)[1:] if Path(frame.filename).is_relative_to(SOURCE)]
        calls[:] = [f"{Path(frame.filename).stem}.{frame.function}" for frame in reversed(frames)]
        return content(*features)

    monkeypatch.setattr(losses, "content", recorded)
    assert train(tmp_path / "run", "--content", "vgg54", "--vgg", str(vgg_file)) == 0
    steps = "train.main run.train run._run_phase loop.run_steps phases.step steps.adversarial_step".split()
    assert calls == ["cli.main", *steps]  # and the loss itself


def test_the_texture_loss_adds_its_own_gradient(vgg):
    generator, (lr, hr) = step(vgg)[0], crops()
    alone = torch.autograd.grad(losses.texture(vgg(generator(lr)), vgg(hr)), generator.head.conv.weight)[0]
    torch.testing.assert_close(gradient(vgg, texture_weight=1.0), alone, rtol=1e-3, atol=1e-6)


def test_on_features_the_losses_are_those_of_the_features_computed_once_per_image(vgg):
    _, discriminator, found, (sr, hr) = step(vgg, content_weight=0.5, adversarial_weight=2.0)
    phi_sr, phi_hr = vgg(sr), vgg(hr)
    torch.testing.assert_close(found["content"], losses.content(phi_sr["54"], phi_hr["54"]))
    torch.testing.assert_close(found["adversarial"], losses.adversarial(discriminator(phi_sr)).detach())
    both = losses.discriminator(discriminator(phi_hr), discriminator(phi_sr))
    torch.testing.assert_close(found["discriminator"], both.detach())
    expected = torch.autograd.grad(both, list(discriminator.parameters()))
    for parameter, wanted in zip(discriminator.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, wanted)


def test_sixteen_steps_shift_by_all_16_offsets_and_repeat_the_edges():
    shift, image = Shift(8, CPU), torch.rand(1, 3, 8, 8)
    around = np.pad(image.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="edge")
    for start in (0, 5):
        ways = set()
        for step in range(start, start + 16):
            shift.set_step(step)
            moved = shift(image).numpy()
            ways |= {
                (y, x) for y in range(4) for x in range(4) if np.array_equal(moved, around[..., y : y + 8, x : x + 8])
            }
        assert len(ways) == 16


def test_sr_and_hr_shift_alike_and_for_the_discriminator_alone():
    seen: list[Tensor] = []

    class Sees(torch.nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x.detach().clone())
            return super().forward(x.mean((2, 3)))

    generator, discriminator, shift = torch.nn.Conv2d(3, 3, 1), Sees(3, 1), Shift(16, CPU)
    x, hr = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
    content: list[Tensor] = []

    def features(images: Tensor) -> dict[str, Tensor]:
        content.append(images.detach().clone())
        return {"54": images}

    shift.set_step(0)
    nets = still_nets(generator, discriminator, vgg=features, discriminator_input=shift)
    steps.adversarial_step(nets, x, hr, LossWeights(), "54")
    sr = generator(x)
    for found, wanted in zip(seen, (hr, sr, sr), strict=True):
        assert torch.equal(found, shift(wanted)) and not torch.equal(found, wanted)
    for found, wanted in zip(content, (hr, sr), strict=True):
        assert torch.equal(found, wanted)


def test_a_resumed_run_keeps_shifting(vgg_file, tmp_path, capsys):
    how = "--pretrain-steps 1 --decay none --shift --discriminator features --discriminator-rate 4 --content vgg54".split()
    how += ["--vgg", str(vgg_file)]
    again = ("--resume", *how, "--train-steps", "4", "--allow-change", "train_steps")
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert train(whole, *how, "--train-steps", "4") == 0
    assert train(halves, *how, "--train-steps", "2") == train(halves, *again) == 0
    assert_same(last_state(whole), last_state(halves))
    capsys.readouterr()
    assert train(halves, *again, "--discriminator", "figure4") == 2
    assert "have another discriminator" in capsys.readouterr().err


def test_discriminator_rate_is_a_factor(vgg_file, tmp_path):
    """Adam's first step is as long as the learning rate, whatever the gradient."""
    how = (
        "--pretrain-steps 1 --train-steps 1 --decay none --learning-rate 1e-3 --discriminator features "
        f"--content vgg54 --vgg {vgg_file} --checkpoint-interval 1"
    ).split()
    states = []
    for rate in ("1", "4"):
        assert train(tmp_path / rate, *how, "--discriminator-rate", rate) == 0
        states.append(last_state(tmp_path / rate))
    biases = [state["d.heads.34.4.bias"] for state in states]
    assert abs(float((biases[0] - biases[1]).abs()) - 3e-3) < 1e-6
    change = (states[0]["g.head.conv.weight"] - states[1]["g.head.conv.weight"]).abs()
    assert float(change.max()) < 2.001e-3  # at most the other way


def test_the_mean_of_56_steps_of_the_self_ensemble_is_that_over_eight_symmetries():
    generator = Generator(GeneratorConfig(blocks=1, width=4)).eval()
    init_weights(generator, seed=3)
    ensemble, lr = SelfEnsemble(generator), torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))

    def view(symmetry: int) -> Tensor:
        turned = torch.from_numpy(apply_symmetry(lr.numpy(), symmetry, axis=2).copy())
        inverse = {5: 6, 6: 5}.get(symmetry, symmetry)  # the two quarter turns; each other symmetry undoes itself
        return torch.from_numpy(apply_symmetry(generator(turned).numpy(), inverse, axis=2).copy())

    outputs, pairs = [], []
    with torch.no_grad():
        for step in range(56):
            ensemble.set_step(step)
            outputs.append(ensemble(lr))
            pairs.append(ensemble.pair)
        views = [view(symmetry) for symmetry in range(8)]
    assert len(set(pairs)) == 56
    torch.testing.assert_close(outputs[20], (views[pairs[20][0]] + views[pairs[20][1]]) / 2)
    torch.testing.assert_close(torch.stack(outputs).mean(0), torch.stack(views).mean(0))
    assert (views[0] - views[5]).abs().max() > 1e-3  # otherwise the inverses could be wrong


def test_pretraining_towards_the_self_ensemble_comes_closer_to_it_and_resumes_exactly(tmp_path, capsys):
    start = tmp_path / "start"
    assert train(start, "--init", "none", "--phase", "pretrain") == 0
    generator = start / "srresnet.safetensors"
    more = ("--init", str(generator), "--pixel-loss", "ensemble", "--phase", "pretrain", "--freeze-batchnorm")
    more += ("--pretrain-decay", "none")
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert train(whole, *more, "--pretrain-steps", "40") == 0
    distances = [line["loss"]["pixel"] for line in journal(whole, "report")]
    assert np.mean(distances[-3:]) < 0.9 * np.mean(distances[:3])

    assert train(halves, *more, "--pretrain-steps", "20") == 0
    again = ("--resume", "--pretrain-steps", "40", "--allow-change", "pretrain_steps")
    assert train(halves, *more, *again) == 0
    assert_same(last_state(whole), last_state(halves))

    assert train(tmp_path / "none", "--init", "none", "--pixel-loss", "ensemble") == 2
    assert "name one with init" in capsys.readouterr().err
