"""Other projects' networks, taken over: the same picture as PyTorch gives with their own layout."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from srgan import weights
from srgan.architecture import GeneratorConfig
from srgan.errors import WeightsError
from srgan.export.conversion import ours, recognise, theirs, usual
from srgan.export.layouts import LAYOUTS
from srgan.networks.generator import generator_from_weights
from srgan.weights import Weights
from tests.export import others

EXACT: dict[str, Callable[[], nn.Module]] = {
    "lornatang": others.lornatang,
    "lornatang-2022": lambda: others.lornatang(prefix="conv_block"),
    "leftthomas": others.leftthomas,
    "aladdinpersson": others.aladdinpersson,
    "mseitzer": others.mseitzer,
    "twtygqyy": others.twtygqyy,
}


def state_of(module: nn.Module) -> dict[str, np.ndarray]:
    names = module.state_dict().items()
    return {name: tensor.numpy() for name, tensor in names if not name.endswith("num_batches_tracked")}


def taken(module: nn.Module, **changes: object) -> Weights:
    state = state_of(module)
    found = recognise(state)
    assert found is not None
    layout, config = found
    return ours(state, layout, config, dataclasses.replace(usual(layout), **changes))  # type: ignore[arg-type]


def furthest(module: nn.Module, weights: Weights, border: int = 0, size: int = 24) -> float:
    """Largest difference of the two networks' pictures in -1..1, clamped as when saved."""
    lr = torch.rand(1, 3, size, size + 5, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        wanted, got = module(lr).clamp(-1, 1), generator_from_weights(weights)(lr).clamp(-1, 1)
    assert wanted.std() > 0.05, "a picture in which something happens"
    inside = slice(border, -border or None)
    return float((wanted - got)[:, :, inside, inside].abs().max())


@pytest.mark.parametrize("name", EXACT)
def test_gives_the_same_picture(name: str) -> None:
    module = others.trained(EXACT[name]())
    assert recognise(state_of(module))[0].name == name  # type: ignore[index]
    assert furthest(module, taken(module)) < 2e-5


@pytest.mark.parametrize("slopes", [1, 8])
@pytest.mark.parametrize("stages", [1, 2])
def test_finds_blocks_width_scale_and_slopes(slopes: int, stages: int) -> None:
    module = others.trained(others.lornatang(width=8, blocks=4, stages=stages, slopes=slopes))
    kind = "layer" if slopes == 1 else "channel"
    assert taken(module).config == GeneratorConfig(blocks=4, width=8, scale=2**stages, slopes=kind)
    assert furthest(module, taken(module)) < 2e-5


def test_another_input_range_is_refused_or_differs_at_the_border_alone() -> None:
    module = others.trained(others.sgrvinod())
    with pytest.raises(WeightsError, match="--accept-border"):
        taken(module)
    accepted = taken(module, accept_border=True)
    reach = 4 + 2 * 2 + 1 + 3  # head, two blocks, trunk, up and tail in LR pixels
    assert furthest(module, accepted, border=4 * reach, size=40) < 5e-5
    assert furthest(module, accepted, size=40) > 1e-3, "the border does differ"


def test_a_wrapped_module_trained_on_unit_pictures_needs_no_excuse() -> None:
    module = others.trained(others.sgrvinod(imagenet=False))
    assert furthest(module, taken(module, input="unit")) < 2e-5


@pytest.mark.parametrize("relu", [False, True])
def test_norms_behind_the_upscaling_and_their_epsilon_are_folded(relu: bool) -> None:
    module = others.trained(others.eriklindernoren(relu=relu))
    weights = taken(module, input="unit", output="signed")
    assert weights.name == ("eriklindernoren-relu" if relu else "eriklindernoren")
    assert furthest(module, weights) < 2e-5
    wrong = taken(module, input="unit", output="signed", epsilon=0.3)
    assert furthest(module, wrong) > 1e-3, "the epsilon matters"


def test_a_tanh_that_means_another_range_is_refused() -> None:
    module = others.trained(others.eriklindernoren())
    with pytest.raises(WeightsError, match="tanh"):
        taken(module, input="unit")


def test_stages_of_another_width_are_refused() -> None:
    with pytest.raises(WeightsError, match=r"up\.0\.conv\.weight is \(64, 8, 3, 3\), ours \(32, 8, 3, 3\)"):
        taken(others.trained(others.mseitzer(wide=16)))


def test_nan_is_refused() -> None:
    module = others.trained(others.lornatang())
    module.state_dict()["trunk.1.rcb.3.weight"][0, 0, 0, 0] = float("nan")
    with pytest.raises(WeightsError, match=r"body\.1\.conv2\.weight holds NaN"):
        taken(module)


@pytest.mark.parametrize("change", ["missing", "extra"])
@pytest.mark.parametrize("name", EXACT)
def test_every_tensor_is_used_or_the_layout_is_not_recognised(name: str, change: str) -> None:
    state = state_of(others.trained(EXACT[name]()))
    if change == "extra":
        state["attention.weight"] = np.zeros((8, 8, 1, 1), np.float32)
    else:
        del state[sorted(state)[len(state) // 2]]
    assert recognise(state) is None


@pytest.mark.parametrize("slopes", ["channel", "layer"])
@pytest.mark.parametrize("layout", ["lornatang", "lornatang-2022", "leftthomas", "aladdinpersson", "srgan"])
def test_there_and_back_is_the_same_network(layout: str, slopes: str) -> None:
    tail = LAYOUTS[layout].tail_function
    config = GeneratorConfig(blocks=2, width=8, slopes=slopes, tail=tail)  # type: ignore[arg-type]
    source = weights.random(config, seed=5)
    state = theirs(source, LAYOUTS[layout])
    found = recognise(state)
    assert found is not None and found[0].name == layout
    back = ours(state, *found, usual(found[0]))
    assert back.config == config
    for name, tensor in source.tensors.items():
        np.testing.assert_allclose(back.tensors[name], tensor, atol=2e-7, err_msg=name)


def test_our_weights_load_strictly_into_their_module() -> None:
    source = weights.random(GeneratorConfig(blocks=2, width=8, slopes="layer"), seed=6)
    module = others.lornatang()
    state = theirs(source, LAYOUTS["lornatang"])
    module.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()}, strict=True)
    assert furthest(module.eval(), source) < 2e-5


@pytest.mark.parametrize("layout", ["leftthomas", "twtygqyy", "sgrvinod"])
def test_a_layout_that_cannot_be_our_network_is_refused(layout: str) -> None:
    with pytest.raises(WeightsError, match="cannot be written in the layout"):
        theirs(weights.random(GeneratorConfig(blocks=1, width=4)), LAYOUTS[layout])
