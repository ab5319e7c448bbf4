"""The one description of the generator: its layers, its reach and its parameters, counted by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srgan.model.config import GeneratorConfig, generator_layers, receptive_field, upsampling_stages

CONFIGS = st.builds(
    GeneratorConfig,
    blocks=st.integers(1, 20),
    width=st.integers(1, 64),
    scale=st.sampled_from([2, 4]),
    slopes=st.sampled_from(["channel", "layer"]),
)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        # Body: 4 (head, 9x9) + 2 x 16 (blocks) + 1 (trunk) = 37; tail: 1 + 1/2 + 4/4 = 2.5; together 39.5.
        (GeneratorConfig(), (40, 37, 3)),
        (GeneratorConfig(blocks=1), (10, 7, 3)),  # 4 + 2 + 1 = 7; 7 + 2.5
        (GeneratorConfig(blocks=5, scale=2), (18, 15, 3)),  # one stage: 1 + 4/2 = 3
        (GeneratorConfig(width=8), (40, 37, 3)),
    ],
)
def test_receptive_field(config, expected):
    assert receptive_field(config) == expected


@given(CONFIGS)
def test_layers_are_a_computation(config):
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
def test_what_is_no_generator(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        GeneratorConfig(**wrong)
