"""The PyTorch generator: the one description of its layers, an independent implementation, its edges, its first weights."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from srgan.export.parity import reference
from srgan.model import weights
from srgan.model.config import GeneratorConfig, receptive_field, tensor_shapes
from srgan.model.discriminator import Discriminator
from srgan.model.generator import (
    Generator,
    freeze_batchnorm,
    generator_from_weights,
    init_weights,
    tensors_from_generator,
)
from tests.support import random_weights

SMALL = GeneratorConfig(blocks=2, width=8)
CONFIGS = [
    GeneratorConfig(),
    SMALL,
    GeneratorConfig(blocks=1, width=5, scale=2),
    GeneratorConfig(blocks=3, width=2, slopes="layer"),
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_tensors_are_those_of_the_one_description_in_order(config):
    tensors = tensors_from_generator(Generator(config))
    assert [(name, tensor.shape) for name, tensor in tensors.items()] == list(tensor_shapes(config).items())


@settings(max_examples=15, deadline=None)
@given(
    config=st.builds(
        GeneratorConfig,
        blocks=st.integers(1, 3),
        width=st.integers(1, 5),
        scale=st.sampled_from((2, 4)),
        slopes=st.sampled_from(("channel", "layer")),
    ),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    seed=st.integers(0, 2**16),
)
def test_agrees_with_numpy(config, height, width, seed):
    """Which exports are compared with, so that they need no PyTorch."""
    random = random_weights(config, seed)
    lr_unit = np.random.default_rng(seed).random((2, 3, height, width), np.float32)
    with torch.no_grad():
        sr = generator_from_weights(random)(torch.from_numpy(lr_unit)).numpy()
    assert sr.shape == (2, 3, config.scale * height, config.scale * width)
    np.testing.assert_allclose(np.clip((sr + 1) / 2, 0, 1), reference(random)(lr_unit), atol=2e-6)


def test_weights_go_in_and_come_out_unchanged():
    random = random_weights(SMALL)
    tensors = tensors_from_generator(generator_from_weights(random))
    assert list(tensors) == list(random.tensors)
    assert all(np.array_equal(tensors[name], random.tensors[name]) for name in tensors)


@pytest.mark.parametrize("change", ["missing", "unknown", "another shape"])
def test_tensors_that_do_not_fit_are_not_passed_over(change):
    """`strict=False`, and dropping what does not match, load half a network and say nothing."""
    state = Generator(SMALL).state_dict()
    taken = state.pop("trunk.bn.running_mean")
    if change == "unknown":
        state |= {"trunk.bn.running_mean": taken, "trunk.bn.stranger": torch.tensor(1)}
    elif change == "another shape":
        state["trunk.bn.running_mean"] = torch.zeros(5)
    with pytest.raises(RuntimeError, match=r"trunk\.bn\."):
        Generator(SMALL).load_state_dict(state)


@pytest.mark.parametrize("config", [GeneratorConfig(blocks=16, width=2), GeneratorConfig(blocks=3, width=2, scale=2)])
def test_a_pixel_reaches_exactly_as_far_as_the_layers_say(config):
    """With every kernel positive nothing cancels: an SR pixel sees the LR pixels within reach, no others."""
    generator = generator_from_weights(_positive(config)).double()
    total, side = receptive_field(config).total, 2 * receptive_field(config).total + 7
    middle = side // 2
    lr_unit = torch.full((1, 3, side, side), 0.5, dtype=torch.float64, requires_grad=True)
    sr = generator(lr_unit)
    scale = config.scale
    corners = [scale * middle, scale * middle + scale - 1]
    (gradient,) = torch.autograd.grad(sr[0, :, corners, corners].sum(), lr_unit)
    seen = (gradient[0].abs().sum(0) > 0).numpy()
    rows = np.flatnonzero(seen.any(axis=1))
    assert (rows[0], rows[-1]) == (middle - total, middle + total)
    assert np.array_equal(seen, seen.T)


def test_frozen_batchnorm_trains_as_it_evaluates():
    generator = generator_from_weights(random_weights(SMALL)).double().train()
    freeze_batchnorm(generator)
    before = tensors_from_generator(generator)
    lr_unit = torch.rand(2, 3, 5, 5, dtype=torch.float64)
    assert torch.equal(generator.train()(lr_unit), generator.eval()(lr_unit))
    assert all(np.array_equal(t, before[name]) for name, t in tensors_from_generator(generator).items())
    generator.train()(lr_unit).square().sum().backward()
    assert generator.trunk.bn.weight.grad is not None, "its weight and bias still learn"
    assert not Generator(SMALL).batchnorm_frozen, "another generator is not frozen"


@pytest.mark.parametrize("slopes", ["channel", "layer"])
def test_folded_is_the_same_function_without_batchnorm(slopes):
    random = random_weights(GeneratorConfig(blocks=2, width=8, slopes=slopes))
    whole, folded = (generator_from_weights(random, folded=folded).double() for folded in (False, True))
    assert not [layer for layer in folded.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    lr_unit = torch.rand(2, 3, 7, 6, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(folded(lr_unit), whole(lr_unit), rtol=1e-6, atol=1e-6)


def test_traces_whole_for_any_size():
    """No branch on data and no fixed size: one graph, which torch.compile and the exporters need."""
    generator = generator_from_weights(random_weights(SMALL))
    traced = torch.fx.symbolic_trace(generator)
    lr_unit = torch.rand(1, 3, 11, 5)
    assert torch.equal(traced(lr_unit), generator(lr_unit))


def _positive(config: GeneratorConfig) -> weights.Weights:
    """Tensors with which every path from a pixel to another adds up; small, so that 16 blocks stay finite."""
    tensors = {name: np.full(shape, 0.05, np.float32) for name, shape in tensor_shapes(config).items()}
    for name in tensors:
        if name.endswith("running_var"):
            tensors[name][:] = 1.0
    return weights.Weights(tensors=tensors, config=config, metadata={}, name="positive", sha256="")


def _started(seed: int, icnr: bool = False) -> Generator:
    generator = Generator(SMALL)
    init_weights(generator, seed=seed, icnr=icnr)
    return generator


def test_is_a_function_of_the_seed_alone_and_leaves_the_global_random_numbers():
    first = tensors_from_generator(_started(3))
    generator = Generator(SMALL)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    init_weights(generator, seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    assert weights.content_hash(tensors_from_generator(generator), SMALL) == weights.content_hash(first, SMALL)
    assert not np.array_equal(first["head.conv.weight"], tensors_from_generator(_started(4))["head.conv.weight"])


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
