"""Figure 4 and section 2.1: the two networks, layer by layer, their parameters counted by hand."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from srgan.model.config import GeneratorConfig, generator_layers
from srgan.model.discriminator import Discriminator
from srgan.model.generator import Generator, ResidualBlock


def _parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _convolutions(network: nn.Module) -> list[nn.Conv2d]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d)]


def test_generator_layers_with_kernel_maps_and_stride():
    """k9n64s1, sixteen times (k3n64s1, k3n64s1), k3n64s1, twice k3n256s1, k9n3s1."""
    drawn = [(c.kernel_size[0], c.out_channels, c.stride[0]) for c in _convolutions(Generator())]
    assert drawn == [(9, 64, 1)] + 33 * [(3, 64, 1)] + 2 * [(3, 256, 1)] + [(9, 3, 1)]


def test_generator_parameters_counted_by_hand():
    head = 9 * 9 * 3 * 64 + 64 + 64  # kernel, bias, slopes
    block = 2 * (3 * 3 * 64 * 64) + 2 * (64 + 64) + 64  # two kernels, two BatchNorms, slopes
    trunk = 3 * 3 * 64 * 64 + 64 + 64
    stage = 3 * 3 * 64 * 256 + 256 + 64  # kernel, bias, slopes after the shuffle
    tail = 9 * 9 * 64 * 3 + 3
    assert head + 16 * block + trunk + 2 * stage + tail == 1_548_547
    assert _parameters(Generator()) == 1_548_547


def test_one_slope_per_channel_or_one_per_layer():
    """The paper leaves it open; 19 PReLUs, so 19 * 63 parameters between the two readings."""
    per_layer = Generator(GeneratorConfig(slopes="layer"))
    assert sum(isinstance(module, nn.PReLU) for module in per_layer.modules()) == 19
    assert _parameters(per_layer) == 1_548_547 - 19 * 63
    slopes = [module.weight for module in Generator().modules() if isinstance(module, nn.PReLU)]
    assert all(slope.shape == (64,) and torch.all(slope == 0.25) for slope in slopes)


def test_sixteen_identical_blocks_of_conv_bn_prelu_conv_bn():
    body = Generator().body
    assert len(body) == 16
    names = [
        (layer.name.partition(".0.")[2], layer.kind)
        for layer in generator_layers(GeneratorConfig())
        if ".0." in layer.name
    ]
    kinds = {"conv1": "conv", "bn1": "norm", "act": "prelu", "conv2": "conv", "bn2": "norm", "add": "add"}
    assert names[:6] == list(kinds.items())
    assert len({str(block) for block in body}) == 1


def test_every_block_and_the_trunk_are_skipped_by_a_sum():
    """With the last BatchNorm's gain and shift at zero nothing but the skip connection is left."""
    generator = Generator(GeneratorConfig(blocks=3, width=4))
    block = ResidualBlock(generator.config)
    x = torch.randn(2, 4, 5, 5)
    for norm in (block.bn2, generator.trunk.bn):
        nn.init.zeros_(norm.weight)
    assert torch.equal(block(x), x)
    lr_unit = torch.rand(1, 3, 6, 5)
    assert torch.equal(generator.features(lr_unit), generator.head(lr_unit))


def test_no_bias_in_a_convolution_that_batchnorm_follows():
    generator = Generator()
    assert [c.bias is None for c in _convolutions(generator)] == [False] + 33 * [True] + 3 * [False]
    assert [c.bias is None for c in _convolutions(Discriminator())] == [False] + 7 * [True]


def test_two_sub_pixel_layers_enlarge_four_times():
    generator = Generator(GeneratorConfig(blocks=1, width=4))
    shuffles = [module for module in generator.modules() if isinstance(module, nn.PixelShuffle)]
    assert [module.upscale_factor for module in shuffles] == [2, 2]
    assert generator(torch.rand(1, 3, 24, 24)).shape == (1, 3, 96, 96)


def test_is_fully_convolutional():
    """Section 3.2: the generator can be applied to pictures of any size."""
    generator = Generator(GeneratorConfig(blocks=1, width=4)).eval()
    for height, width in ((1, 1), (7, 13), (31, 2)):
        assert generator(torch.rand(1, 3, height, width)).shape == (1, 3, 4 * height, 4 * width)


def test_nothing_bounds_the_output_and_the_gradient_survives_beyond_the_range():
    """No tanh and no clamp inside: a picture that is too bright is pulled back, not cut off."""
    generator = Generator(GeneratorConfig(blocks=1, width=4)).eval()
    nn.init.constant_(generator.tail.conv.bias, 3.0)
    sr = generator(torch.rand(1, 3, 4, 4))
    assert sr.min() > 1.0
    (sr**2).mean().backward()
    assert generator.head.conv.weight.grad is not None
    assert generator.head.conv.weight.grad.abs().sum() > 0


def test_discriminator_layers_with_kernel_maps_and_stride():
    drawn = [(c.kernel_size[0], c.out_channels, c.stride[0]) for c in _convolutions(Discriminator())]
    assert drawn == [
        (3, 64, 1),
        (3, 64, 2),
        (3, 128, 1),
        (3, 128, 2),
        (3, 256, 1),
        (3, 256, 2),
        (3, 512, 1),
        (3, 512, 2),
    ]


def test_discriminator_parameters_counted_by_hand():
    maps = (64, 64, 128, 128, 256, 256, 512, 512)
    first = 3 * 3 * 3 * 64 + 64
    others = sum(9 * a * b + 2 * b for a, b in pairwise(maps))  # kernel, gain and shift
    dense = (512 * 6 * 6) * 1024 + 1024 + 1024 + 1  # 96 / 16 = 6
    assert first + others + dense == 23_563_649
    assert _parameters(Discriminator()) == 23_563_649


def test_discriminator_has_batchnorm_on_all_but_the_first_and_leaky_slopes_of_a_fifth():
    kinds = [type(module) for module in Discriminator().convs]
    assert kinds == [nn.Conv2d, nn.LeakyReLU] + 7 * [nn.Conv2d, nn.BatchNorm2d, nn.LeakyReLU]
    slopes = [m.negative_slope for m in Discriminator().modules() if isinstance(m, nn.LeakyReLU)]
    assert slopes == 9 * [0.2]


def test_discriminator_has_no_max_pooling():
    """Section 2.1: "avoid max-pooling throughout the network"; strides halve the picture instead."""
    assert not any("Pool" in type(module).__name__ for module in Discriminator().modules())
    assert Discriminator(width=2).convs(torch.zeros(1, 3, 96, 96)).shape == (1, 16, 6, 6)


def test_discriminator_ends_in_two_dense_layers_and_a_probability():
    network = Discriminator()
    dense = [module for module in network.dense if isinstance(module, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in dense] == [(512 * 6 * 6, 1024), (1024, 1)]
    probability = torch.sigmoid(Discriminator(width=2)(torch.randn(4, 3, 96, 96)))
    assert probability.shape == (4, 1)
    assert torch.all((probability > 0) & (probability < 1))


@pytest.mark.parametrize("crop", [48, 64, 128])
def test_discriminator_is_not_tied_to_96_pixels(crop):
    assert Discriminator(crop=crop, width=2)(torch.zeros(2, 3, crop, crop)).shape == (2, 1)
