"""What a network starts from: a function of the seed, of the documented size; ICNR without a checkerboard."""

import numpy as np
import pytest
import torch

from srgan.model.config import GeneratorConfig
from srgan.model.discriminator import Discriminator
from srgan.model.generator import Generator, init_weights, tensors_from_generator

SMALL = GeneratorConfig(blocks=2, width=8)


def _started(seed: int, icnr: bool = False) -> Generator:
    generator = Generator(SMALL)
    init_weights(generator, seed=seed, icnr=icnr)
    return generator


def test_is_a_function_of_the_seed_alone():
    first = tensors_from_generator(_started(3))
    torch.manual_seed(99)
    torch.rand(5)
    again, other = tensors_from_generator(_started(3)), tensors_from_generator(_started(4))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["head.conv.weight"], other["head.conv.weight"])


def test_leaves_the_global_generator_of_random_numbers_alone():
    generator = Generator(SMALL)
    before = torch.get_rng_state()
    init_weights(generator, seed=1)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("network", [Generator(SMALL), Discriminator(crop=32, width=8)], ids=["G", "D"])
def test_weights_fill_their_interval_and_constants_stay(network):
    init_weights(network, seed=0)
    for name, tensor in network.named_parameters():
        if tensor.dim() >= 2:
            bound = tensor[0].numel() ** -0.5
            assert 0.9 * bound < tensor.abs().max() <= bound, name
            assert tensor.std().item() == pytest.approx(bound / 3**0.5, rel=0.15), name
    constants = {"act.weight": 0.25, "bn1.weight": 1.0, "bn1.bias": 0.0}
    for name, tensor in network.named_parameters():
        for ending, value in constants.items():
            if name.endswith(ending):
                assert torch.all(tensor == value), name


def test_icnr_starts_as_nearest_neighbour_enlargement():
    features = torch.rand(1, 8, 5, 6, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for stage in _started(0, icnr=True).up:
            enlarged = stage.shuffle(stage.conv(features))
            assert torch.equal(enlarged, enlarged[..., ::2, ::2].repeat_interleave(2, 2).repeat_interleave(2, 3))
        plain = _started(0).up[0]
        enlarged = plain.shuffle(plain.conv(features))
    assert not torch.allclose(enlarged[..., ::2, ::2], enlarged[..., 1::2, ::2])
