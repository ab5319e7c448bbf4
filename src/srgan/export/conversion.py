"""A generator in another project's layout <-> ours, exactly: every tensor used, or an error."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from srgan.architecture import GeneratorConfig, layers, tensor_shapes
from srgan.errors import WeightsError
from srgan.export.layouts import BN_EPSILON, LAYOUTS, Layout, Range
from srgan.weights import Tensors, Weights, content_hash

State = Mapping[str, NDArray[Any]]
Doubles = dict[str, NDArray[np.float64]]
IMAGENET_MEAN = np.array([0.485, 0.456, 0.406])
IMAGENET_DEVIATION = np.array([0.229, 0.224, 0.225])


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What a state dict does not say of its network: its pictures' ranges, its tail, its norms' epsilon."""

    input: Range
    output: Range
    tail: Literal["linear", "tanh"]
    epsilon: float
    accept_border: bool = False


def usual(layout: Layout, *, accept_border: bool = False) -> Meaning:
    """What the layout's own project means."""
    return Meaning(
        input=layout.input,
        output=layout.output,
        tail=layout.tail_function,
        epsilon=layout.epsilon,
        accept_border=accept_border,
    )


def recognise(state: State) -> tuple[Layout, GeneratorConfig] | None:
    """The layout whose names are exactly those of `state`, and its network; None when there is none."""
    for layout in LAYOUTS.values():
        config = describe(state, layout)
        if config is not None and set(state) == set(layout.tensors(config)) | set(layout.idle(config.blocks)):
            return layout, config
    return None


def describe(state: State, layout: Layout) -> GeneratorConfig | None:
    """The network that `state` would be in this layout, by counting; None where it cannot be one of ours."""
    blocks = stages = 0
    while f"{layout.block(blocks)[0]}.weight" in state:
        blocks += 1
    while f"{layout.up(stages, blocks)[0]}.weight" in state:
        stages += 1
    head = state.get(f"{layout.head[0]}.weight")
    if blocks == 0 or stages not in (1, 2) or head is None or head.ndim != 4:
        return None
    slopes = {state[name].size for name in state if name in _slopes(layout, blocks, stages)}
    kind: Literal["channel", "layer"] = "layer" if layout.slope is not None or slopes == {1} else "channel"
    try:
        return GeneratorConfig(blocks=blocks, width=int(head.shape[0]), scale=2**stages, slopes=kind)
    except ValueError:
        return None


def ours(state: State, layout: Layout, config: GeneratorConfig, meaning: Meaning) -> Weights:
    """The same network in our layout; float64 inside. Raises WeightsError where ours cannot be it."""
    config = dataclasses.replace(config, tail=meaning.tail)
    given = layout.tensors(config)
    found: Doubles = {mine: state[theirs].astype(np.float64) for theirs, mine in given.items()}
    _fill(found, layout, config)
    _without_bias_before_norm(found, config, meaning.epsilon)
    _without_norm_after_up(found, config)
    _from_input(found, meaning)
    _to_signed(found, meaning)
    tensors = _checked(found, config)
    return Weights(tensors=tensors, config=config, metadata={}, name=layout.name, sha256=content_hash(tensors, config))


def theirs(weights: Weights, layout: Layout) -> dict[str, NDArray[np.float32]]:
    """The state dict of the same network in another layout. Raises WeightsError where theirs cannot be it."""
    config = weights.config
    reasons = {
        "its activations have no learned slopes": layout.slope is not None,
        "it takes pictures in another range": layout.input != "unit",
        "its convolutions have no biases": not layout.bias,
        "its norms have another epsilon": layout.epsilon != BN_EPSILON,
        f"it ends in {layout.tail_function}, ours in {config.tail}": layout.tail_function != config.tail,
    }
    for reason, true in reasons.items():
        if true:
            raise WeightsError(f"{weights.name} cannot be written in the layout '{layout.name}': {reason}.")
    found: Doubles = {name: value.astype(np.float64) for name, value in weights.tensors.items()}
    if config.tail == "linear" and layout.output == "unit":
        found["tail.conv.weight"] = found["tail.conv.weight"] / 2
        found["tail.conv.bias"] = found["tail.conv.bias"] / 2 + 0.5
    width, slopes = config.width, config.width if config.slopes == "channel" else 1
    state = {
        name: found.get(mine, np.zeros(width)).astype(np.float32)  # a bias before a norm is zero
        for name, mine in layout.tensors(config).items()
    }
    return state | {name: np.full(slopes, 0.25, np.float32) for name in layout.idle(config.blocks)}


def _slopes(layout: Layout, blocks: int, stages: int) -> set[str]:
    names = [layout.head[1], *(layout.block(i)[2] for i in range(blocks))]
    names += [layout.up(i, blocks)[2] for i in range(stages)]
    return {f"{name}.weight" for name in names if name}


def _fill(found: Doubles, layout: Layout, config: GeneratorConfig) -> None:
    """The slopes and biases that theirs has without tensors; slopes of mixed kinds become per channel."""
    for name, shape in tensor_shapes(config).items():
        if name.endswith(".act.weight"):
            slope = found.get(name, np.full(1, layout.slope or 0.0))
            found[name] = np.broadcast_to(slope, shape) if slope.size == 1 else slope
        elif name.endswith(".conv.bias") and not layout.bias:
            found[name] = np.zeros(shape)


def _without_bias_before_norm(found: Doubles, config: GeneratorConfig, epsilon: float) -> None:
    """norm(x + bias) is norm(x) with the bias taken off its mean; another epsilon goes into its variance."""
    for layer in layers(config):
        if layer.kind == "norm":
            bias = found.pop(f"{layer.source}.bias", np.zeros(1))
            found[f"{layer.name}.running_mean"] = found[f"{layer.name}.running_mean"] - bias
            found[f"{layer.name}.running_var"] = found[f"{layer.name}.running_var"] + (epsilon - BN_EPSILON)


def _without_norm_after_up(found: Doubles, config: GeneratorConfig) -> None:
    """Fold a norm behind a sub-pixel convolution, which our network does not have, into that convolution."""
    for i in range(config.scale // 2):
        if f"up.{i}.bn.weight" not in found:
            continue
        gain, shift, mean, variance = (
            found.pop(f"up.{i}.bn.{part}") for part in ("weight", "bias", "running_mean", "running_var")
        )
        factor = gain / np.sqrt(variance + BN_EPSILON)
        found[f"up.{i}.conv.weight"] = found[f"up.{i}.conv.weight"] * factor[:, None, None, None]
        found[f"up.{i}.conv.bias"] = (found[f"up.{i}.conv.bias"] - mean) * factor + shift


def _from_input(found: Doubles, meaning: Meaning) -> None:
    """Fold the map from 0..1 to their input into the first convolution: exact but at the border."""
    if meaning.input == "unit":
        return
    if not meaning.accept_border:
        raise WeightsError(
            f"that network takes pictures as '{meaning.input}', ours 0..1. Its first convolution can be "
            "changed to fit, but zero padding at the picture's border is grey to it and black to ours, so up "
            "to 40 LR pixels from the border differ a little. Say --accept-border if that is good enough, or "
            "--input unit if it was trained on 0..1."
        )
    mean, deviation = _normalisation(meaning.input)
    kernel = found["head.conv.weight"] / deviation[None, :, None, None]
    found["head.conv.weight"] = kernel
    found["head.conv.bias"] = found["head.conv.bias"] - (kernel * mean[None, :, None, None]).sum((1, 2, 3))


def _to_signed(found: Doubles, meaning: Meaning) -> None:
    """Fold the map from their output to -1..1 into the last convolution."""
    if meaning.output == "signed":
        return
    if meaning.tail == "tanh":
        raise WeightsError(
            f"that network ends in a tanh whose output means '{meaning.output}' pictures; ours can end in a "
            "tanh for -1..1 only. Say --output-range signed if it was trained on -1..1, or --tail linear if "
            "it has no tanh."
        )
    mean, deviation = _normalisation(meaning.output)
    kernel, bias = found["tail.conv.weight"], found["tail.conv.bias"]
    found["tail.conv.weight"] = kernel * (2 * deviation)[:, None, None, None]
    found["tail.conv.bias"] = bias * 2 * deviation + 2 * mean - 1


def _normalisation(pictures: Range) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation with which unit pictures were normalised."""
    if pictures == "imagenet":
        return IMAGENET_MEAN, IMAGENET_DEVIATION
    return (np.full(3, 0.5), np.full(3, 0.5)) if pictures == "signed" else (np.zeros(3), np.ones(3))


def _checked(found: Doubles, config: GeneratorConfig) -> Tensors:
    expected, tensors = tensor_shapes(config), Tensors()
    for name, shape in expected.items():
        if found[name].shape != shape:
            raise WeightsError(
                f"that network is another than ours: its {name} is {found[name].shape}, ours {shape} "
                f"at a width of {config.width}."
            )
        if not np.isfinite(found[name]).all():
            raise WeightsError(f"{name} holds NaN or infinity; the file is damaged or its training diverged.")
        tensors[name] = np.ascontiguousarray(found[name], np.float32)
    if left := set(found) - set(expected):
        raise WeightsError(f"these tensors have no place in our network: {', '.join(sorted(left)[:5])}.")
    return tensors
