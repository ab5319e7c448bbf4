"""Section 3.2: data ranges, crops, optimiser, schedule, alternation, and what is frozen when."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from srgan.data import crops as plan
from srgan.data import loader
from srgan.model import losses
from srgan.model.config import GeneratorConfig
from srgan.model.discriminator import Discriminator
from srgan.model.generator import Generator
from srgan.train import optimizers, recipes, steps
from srgan.train.loop import learning_rate
from srgan.train.settings import LossWeights

OFF = torch.autocast("cpu", torch.bfloat16, enabled=False)


def _features(signed: Tensor) -> dict[str, Tensor]:
    """A stand-in for VGG19: two maps that depend on every pixel."""
    return {"54": 100 * nn.functional.avg_pool2d(signed, 4).square()}


class Watched(torch.optim.SGD):
    """SGD that remembers, at each step, the gradients it was given and both networks as they were."""

    def __init__(self, network: nn.Module, both: tuple[nn.Module, nn.Module]) -> None:
        super().__init__(network.parameters(), lr=0.1)
        self.network, self.both = network, both
        self.gradients: list[Tensor] = []
        self.before: tuple[list[Tensor], list[Tensor]] = ([], [])
        self.steps = 0

    def step(self, closure: None = None) -> None:
        self.gradients = [p.grad.clone() for p in self.network.parameters() if p.grad is not None]
        self.before = tuple([p.detach().clone() for p in n.parameters()] for n in self.both)
        self.others_gradients = [p.grad for n in self.both if n is not self.network for p in n.parameters()]
        self.steps += 1
        super().step()


class Update:
    """One adversarial update of two small networks, watched, beside copies of how they were before."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.generator, self.discriminator = (
            Generator(GeneratorConfig(blocks=1, width=4)),
            Discriminator(crop=16, width=4),
        )
        self.old_g, self.old_d = copy.deepcopy(self.generator), copy.deepcopy(self.discriminator)
        both = (self.generator, self.discriminator)
        self.of_g, self.of_d = Watched(self.generator, both), Watched(self.discriminator, both)
        self.lr_unit, self.hr_signed = torch.rand(3, 3, 4, 4), torch.rand(3, 3, 16, 16) * 2 - 1
        nets = steps.AdversarialNets(
            generator=self.generator,
            discriminator=self.discriminator,
            optimizer_g=self.of_g,
            optimizer_d=self.of_d,
            autocast=OFF,
            vgg=_features,
        )
        self.losses = steps.adversarial_step(nets, self.lr_unit, self.hr_signed, LossWeights(), "54")


@pytest.fixture(scope="module")
def update() -> Update:
    return Update()


def _same(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def _values(network: nn.Module) -> list[Tensor]:
    return [parameter.detach() for parameter in network.parameters()]


def test_the_discriminator_s_step_leaves_the_generator_untouched(update):
    assert all(gradient is None for gradient in update.of_d.others_gradients)
    assert _same(update.of_g.before[0], _values(update.old_g))
    assert not _same(update.of_g.before[1], _values(update.old_d))  # by then it has learnt


def test_the_generator_s_step_leaves_the_discriminator_untouched(update):
    assert _same(_values(update.discriminator), update.of_g.before[1])
    assert not _same(_values(update.generator), _values(update.old_g))


def test_the_discriminator_goes_down_equation_2(update):
    sr = update.old_g(update.lr_unit).detach()
    loss = losses.discriminator(update.old_d(update.hr_signed), update.old_d(sr))
    expected = torch.autograd.grad(loss, list(update.old_d.parameters()))
    for got, wanted in zip(update.of_d.gradients, expected, strict=True):
        assert torch.allclose(got, wanted, atol=1e-6)


def test_the_generator_goes_down_equation_3_against_the_discriminator_just_updated(update):
    sr = update.old_g(update.lr_unit)
    content = losses.content(_features(sr)["54"], _features(update.hr_signed)["54"])
    loss = content + 1e-3 * losses.adversarial(update.discriminator(sr))
    expected = torch.autograd.grad(loss, list(update.old_g.parameters()))
    for got, wanted in zip(update.of_g.gradients, expected, strict=True):
        assert torch.allclose(got, wanted, rtol=1e-4, atol=1e-6)
    assert update.losses["content"].item() == pytest.approx(content.item(), rel=1e-5)


def test_one_step_of_each_network_in_turn(update):
    """ "We alternate updates to the generator and discriminator network, which is equivalent to k = 1"."""
    assert (update.of_d.steps, update.of_g.steps) == (1, 1)


def test_the_discriminator_learns_again_after_the_generator_s_turn(update):
    assert all(parameter.requires_grad for parameter in update.discriminator.parameters())


def test_pretraining_goes_down_equation_4():
    torch.manual_seed(0)
    generator = Generator(GeneratorConfig(blocks=1, width=4))
    old = copy.deepcopy(generator)
    lr_unit, hr_signed = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 16, 16) * 2 - 1
    optimizer = Watched(generator, (generator, Discriminator(crop=16, width=2)))
    steps.pretrain_step(generator, optimizer, lr_unit, hr_signed, loss="mse", autocast=OFF)
    expected = torch.autograd.grad(((old(lr_unit) - hr_signed) ** 2).mean(), list(old.parameters()))
    for got, wanted in zip(optimizer.gradients, expected, strict=True):
        assert torch.allclose(got, wanted, atol=1e-6)


def test_lr_is_scaled_to_0_1_and_hr_to_minus_1_1():
    every = torch.arange(256, dtype=torch.uint8)
    unit, signed = loader.unit_from_uint8(every), loader.signed_from_uint8(every)
    assert (unit[0], unit[-1], signed[0], signed[-1]) == (0, 1, -1, 1)
    assert torch.allclose(signed, 2 * unit - 1)
    assert unit.dtype == signed.dtype == torch.float32


def test_the_paper_s_recipe():
    paper = recipes.paper()
    schedule, weights, networks = paper.schedule, paper.losses, paper.networks
    assert (schedule.pretrain_steps, schedule.train_steps) == (1_000_000, 200_000)
    assert (schedule.batch_size, paper.data.crop) == (16, 96)
    assert (schedule.b1, networks.blocks, networks.width) == (0.9, 16, 64)
    assert (weights.pixel_loss, weights.content) == ("mse", "vgg54")
    assert (weights.content_weight, weights.adversarial_weight) == (1.0, 1e-3)
    assert (networks.ema, networks.icnr, schedule.warmup) == (0.0, False, 0)  # ours, and off
    assert (schedule.pretrain_optimizer, networks.freeze_batchnorm, networks.shift) == ("adam", False, False)


def test_schedule_of_the_paper():
    """1e-4 for 1e6 updates; then 1e5 updates at 1e-4 and another 1e5 at 1e-5."""
    p = recipes.paper().schedule

    def pretraining(step: int) -> float:
        return learning_rate(step, steps=p.pretrain_steps, peak=p.pretrain_learning_rate, decay=p.pretrain_decay)

    def adversarial(step: int) -> float:
        return learning_rate(step, steps=p.train_steps, peak=p.learning_rate, decay=p.decay, drop=p.drop)

    assert {pretraining(step) for step in (0, 1, 500_000, 999_999)} == {1e-4}
    assert {adversarial(step) for step in (0, 1, 50_000, 99_999)} == {1e-4}
    assert [adversarial(step) for step in (100_000, 199_999)] == [pytest.approx(1e-5)] * 2


def test_schedule_of_the_original_project_halves_at_the_floor_half():
    d = recipes.div2k().schedule
    assert (d.pretrain_steps, d.train_steps) == (2286, 457)
    rates = [learning_rate(s, steps=457, peak=d.learning_rate, decay=d.decay, drop=d.drop) for s in (227, 228)]
    assert rates == [1e-4, 5e-5]


def test_adam_with_beta_1_of_0_9():
    paper = recipes.paper()
    optimizer = optimizers.adam(
        Generator(GeneratorConfig(blocks=1, width=2)), b1=paper.schedule.b1, b2=paper.schedule.b2
    )
    assert isinstance(optimizer, torch.optim.Adam)
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.999)
    assert optimizer.param_groups[0]["weight_decay"] == 0


def test_adam_s_first_step_is_the_learning_rate():
    """Kingma & Ba: after one step m / sqrt(v) is the gradient's sign, so each parameter moves by the rate."""
    parameter = nn.Linear(1, 1, bias=False)
    nn.init.constant_(parameter.weight, 2.0)
    optimizer = optimizers.adam(parameter, b1=0.9, b2=0.999)
    optimizers.set_learning_rate(optimizer, 1e-3)
    (parameter.weight.sum() * 7).backward()
    optimizer.step()
    assert parameter.weight.item() == pytest.approx(2.0 - 1e-3, abs=1e-6)


def test_a_mini_batch_is_16_random_crops_of_distinct_pictures():
    heights = widths = np.full(40, 60)
    for step in range(50):
        planned = plan.crops(seed=0, phase="pretrain", step=step, batch=16, heights=heights, widths=widths)
        assert len(set(planned.image.tolist())) == 16
        assert planned.top.min() >= 0
        assert planned.top.max() <= 60 - 24


def test_in_evaluation_the_output_depends_on_the_input_alone():
    """ "During test time we turn batch-normalization update off"."""
    generator = Generator(GeneratorConfig(blocks=2, width=4))
    generator(torch.rand(4, 3, 8, 8))
    generator.eval()
    state = copy.deepcopy(generator.state_dict())
    picture, others = torch.rand(1, 3, 8, 8), torch.rand(3, 3, 8, 8)
    with torch.no_grad():
        alone = generator(picture)
        together = generator(torch.cat([picture, others]))[:1]
        again = generator(picture)
    assert torch.allclose(alone, together, atol=1e-6)
    assert torch.equal(alone, again)
    assert all(torch.equal(state[name], tensor) for name, tensor in generator.state_dict().items())


def test_the_moving_average_leans_on_the_past():
    """mean <- decay * mean + (1 - decay) * weights; the other way round is a defect of a well-known code."""
    mean, network = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    nn.init.constant_(mean.weight, 1.0)
    nn.init.constant_(network.weight, 0.0)
    optimizers.update_ema(mean, network, 0.9, step=10_000)
    assert mean.weight.item() == pytest.approx(0.9)
    assert math.isclose(network.weight.item(), 0.0)
