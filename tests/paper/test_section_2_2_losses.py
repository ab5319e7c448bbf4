"""Section 2.2: the perceptual loss, and how large its parts are with the real VGG19 on real pictures."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from srgan.image.files import read_rgb8
from srgan.image.resize import bicubic
from srgan.model import losses
from srgan.model.config import GeneratorConfig
from srgan.model.discriminator import Discriminator
from srgan.model.generator import Generator
from srgan.model.vgg import LAYERS, VGG19
from srgan.train.settings import LossWeights
from tests.support import random_vgg


def test_equation_5_reads_the_map_before_the_ith_pooling_after_the_jth_relu():
    """phi_22: convolution 4 of 16; phi_54: the last one; neither is ever negative, both are often zero."""
    assert list(LAYERS).index("22") == 3
    assert list(LAYERS).index("54") == 15
    features = VGG19(random_vgg(), layers=("22",))(torch.rand(1, 3, 24, 24) * 2 - 1)["22"]
    assert features.shape == (1, 128, 12, 12)  # halved once: before the second pooling, not after
    assert features.min() == 0
    assert 0.1 < (features == 0).float().mean() < 0.9


def test_equation_5_is_a_mean_of_squares_with_features_rescaled_by_1_over_12_75():
    """Section 3.2: "equivalent to multiplying Equation 5 with a rescaling factor of about 0.006"."""
    rng = torch.Generator().manual_seed(0)
    sr, hr = (torch.rand(2, 7, 5, 6, generator=rng, dtype=torch.float64) for _ in range(2))
    equation_5 = sum(((sr[:, :, y, x] - hr[:, :, y, x]) ** 2).mean() for y in range(5) for x in range(6)) / 30
    assert losses.content(sr, hr).item() == pytest.approx(float(equation_5) / 12.75**2)
    assert pytest.approx(0.006, abs=0.0002) == 1 / 12.75**2


@pytest.mark.parametrize("part", ["content", "adversarial"])
def test_both_parts_reach_every_parameter_of_the_generator(part):
    generator, hr_signed = Generator(GeneratorConfig(blocks=2, width=8)), torch.rand(2, 3, 32, 32) * 2 - 1
    sr = generator(torch.rand(2, 3, 8, 8))
    if part == "content":
        vgg = VGG19(random_vgg(), layers=("22",))
        losses.content(vgg(sr)["22"], vgg(hr_signed)["22"]).backward()
    else:
        losses.adversarial(Discriminator(crop=32, width=4)(sr)).backward()
    for name, parameter in generator.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_equation_2_is_least_where_the_discriminator_is_right():
    right, wrong = torch.tensor([[4.0], [6.0]]), torch.tensor([[-4.0], [-6.0]])
    assert losses.discriminator(right, wrong) < 0.04
    assert losses.discriminator(wrong, right) > 9.9
    probability = torch.sigmoid(right.double())
    equation_2 = torch.log(probability).mean() + torch.log(1 - torch.sigmoid(wrong.double())).mean()
    assert losses.discriminator(right, wrong).item() == pytest.approx(-equation_2.item(), rel=1e-6)


def test_equation_3_weighs_the_adversarial_part_by_a_thousandth():
    weight = LossWeights().adversarial_weight
    assert losses.perceptual(torch.tensor(0.25), torch.tensor(8.0), weight).item() == pytest.approx(0.258)


def test_equation_6_is_minus_log_d_not_log_1_minus_d():
    """At a confident discriminator, where the other form has no gradient left, this one is steepest."""
    assert losses.adversarial(torch.tensor([[0.0]])).item() == pytest.approx(math.log(2))
    logits = torch.tensor([[-20.0]], requires_grad=True)
    losses.adversarial(logits).backward()
    other = torch.tensor([[-20.0]], requires_grad=True)
    torch.log(1 - torch.sigmoid(other.double())).sum().backward()
    assert logits.grad is not None
    assert other.grad is not None
    assert logits.grad.item() == pytest.approx(-1.0)
    assert abs(other.grad.item()) < 1e-8


@pytest.fixture(scope="module")
def crops(data: Path) -> tuple[Tensor, Tensor]:
    """(sr, hr): the middle 96x96 of Set14's fourteen pictures, bicubic and original, in [-1, 1]."""
    pairs: tuple[list[Tensor], list[Tensor]] = ([], [])
    for path in sorted((data / "Set14" / "image_SRF_4").glob("*_HR.png")):
        hr = read_rgb8(path)
        sr = bicubic(read_rgb8(path.with_name(path.name.replace("_HR", "_LR"))), *hr.shape[:2])
        top, left = (hr.shape[0] - 96) // 2, (hr.shape[1] - 96) // 2
        for found, picture in zip(pairs, (sr, hr), strict=True):
            crop = torch.from_numpy(picture[top : top + 96, left : left + 96].copy())
            found.append(crop.permute(2, 0, 1).float() / 127.5 - 1)
    return torch.stack(pairs[0]), torch.stack(pairs[1])


def test_with_caffe_s_vgg19_the_parts_have_the_scale_that_the_paper_speaks_of(crops, vgg19_file):
    """Section 3.2's "scale that is comparable to the MSE loss", within the ranges of docs/paper.md.

    The medians over the pictures lie inside, no picture is beyond by more than a factor of three.
    """
    sr, hr = crops
    assert sr.shape == (14, 3, 96, 96)
    vgg = VGG19(vgg19_file, layers=("22", "54"))
    with torch.no_grad():
        of_sr, of_hr = vgg(sr), vgg(hr)
    measured = {"pixel": [losses.pixel_mse(a, b) for a, b in zip(sr, hr, strict=True)]}
    for layer in ("22", "54"):
        measured[f"std {layer}"] = [picture.std() for picture in of_hr[layer]]
        measured[f"content {layer}"] = [losses.content(a, b) for a, b in zip(of_sr[layer], of_hr[layer], strict=True)]
    ranges = {"pixel": (0.002, 0.05), "std 22": (130, 370), "content 22": (30, 540)}
    ranges |= {"std 54": (5, 9), "content 54": (0.1, 0.3)}
    for name, (low, high) in ranges.items():
        values = torch.stack(measured[name])
        assert low < values.median() < high, name
        assert low / 3 < values.min() <= values.max() < 3 * high, name
    content = losses.content(of_sr["54"], of_hr["54"]).item()
    assert 50 < content / (1e-3 * math.log(2)) < 500
