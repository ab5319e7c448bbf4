"""The one description of the generator: its layers, its reach and its parameters, counted by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srgan.model.config import GeneratorConfig, generator_layers, receptive_field, tensor_shapes, upsampling_stages

CONFIGS = st.builds(
    GeneratorConfig,
    blocks=st.integers(1, 20),
    width=st.integers(1, 64),
    scale=st.sampled_from([2, 4]),
    slopes=st.sampled_from(["channel", "layer"]),
)


def learned(config: GeneratorConfig) -> int:
    shapes = tensor_shapes(config).items()
    return sum(math.prod(shape) for name, shape in shapes if "running" not in name)


def stored(config: GeneratorConfig) -> int:
    return sum(math.prod(shape) for shape in tensor_shapes(config).values())


def test_parameters_of_figure_4() -> None:
    """Weights + biases of every layer of figure 4 with B = 16, written out."""
    head = 9 * 9 * 3 * 64 + 64 + 64  # convolution, its bias, PReLU slopes
    block = 2 * (3 * 3 * 64 * 64) + 2 * (64 + 64) + 64  # two convolutions, two BatchNorms, PReLU
    trunk = 3 * 3 * 64 * 64 + (64 + 64)
    stage = 3 * 3 * 64 * 256 + 256 + 64  # to 4 x 64 maps, shuffled to 64 at twice the size
    tail = 9 * 9 * 64 * 3 + 3
    statistics = (2 * 16 + 1) * (64 + 64)  # BatchNorm's running means and variances, stored but not learned
    assert head + 16 * block + trunk + 2 * stage + tail == 1_548_547 == learned(GeneratorConfig())
    assert 1_548_547 + statistics == 1_552_771 == stored(GeneratorConfig())


def test_slopes_per_layer_save_63_of_each_64() -> None:
    slopes = 1 + 16 + 2  # PReLUs: head, blocks, stages
    assert learned(GeneratorConfig(slopes="layer")) == 1_548_547 - 63 * slopes


def test_reach_of_the_default() -> None:
    """Body: 4 (head, 9x9) + 2 x 16 (blocks) + 1 (trunk) = 37; tail: 1 + 1/2 + 4/4 = 2.5; together 39.5."""
    assert receptive_field(GeneratorConfig()) == (40, 37, 3)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (GeneratorConfig(blocks=1), (10, 7, 3)),  # 4 + 2 + 1 = 7; 7 + 2.5
        (GeneratorConfig(blocks=5, scale=2), (18, 15, 3)),  # one stage: 1 + 4/2 = 3
        (GeneratorConfig(width=8), (40, 37, 3)),
    ],
)
def test_reach_of_others(config: GeneratorConfig, expected: tuple[int, int, int]) -> None:
    assert receptive_field(config) == expected


@given(CONFIGS)
def test_layers_are_a_computation(config: GeneratorConfig) -> None:
    """Every layer takes what an earlier one made, with as many maps as that one gives; names are unique."""
    made = {"input": config.channels}
    for layer in generator_layers(config):
        assert layer.name not in made
        assert made[layer.source] == layer.inputs
        if layer.kind == "add":
            assert made[layer.other] == layer.inputs == layer.outputs
        if layer.kind == "shuffle":
            assert layer.inputs == 4 * layer.outputs
        made[layer.name] = layer.outputs
    assert made[generator_layers(config)[-1].name] == config.channels
    assert 2 ** upsampling_stages(config) == config.scale


@given(CONFIGS)
def test_a_convolution_before_batchnorm_has_no_bias(config: GeneratorConfig) -> None:
    found = generator_layers(config)
    normed = {layer.source for layer in found if layer.kind == "norm"}
    assert len(normed) == 2 * config.blocks + 1
    assert all(layer.bias == (layer.name not in normed) for layer in found if layer.kind == "conv")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"blocks": 0}, "blocks is a whole number from 1 to 64, got 0"),
        ({"blocks": 16.0}, "blocks is a whole number"),
        ({"blocks": True}, "blocks is a whole number"),
        ({"width": 4096}, "width is a whole number from 1 to 1024, got 4096"),
        ({"scale": 3}, "scale is 2 or 4, got 3"),
        ({"channels": 1}, "channels is 3"),
        ({"slopes": "none"}, "slopes is 'channel' or 'layer', got 'none'"),
        ({"tail": "tanh"}, "tail is 'linear'.*not supported.*got 'tanh'"),
    ],
)
def test_what_is_no_generator(wrong: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        GeneratorConfig(**wrong)  # type: ignore[arg-type]
