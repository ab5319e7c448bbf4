"""How other projects name the tensors of their SRResNet, and what else their networks do differently.

Names and traits were read from each project's own model and training code; every entry has a test that runs
an independent module of that layout beside ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from srgan.architecture import GeneratorConfig, layers

Range = Literal["unit", "signed", "imagenet"]
"""Of pictures: 0..1; -1..1; or 0..1 less ImageNet's mean, over its deviation, per channel."""
BN_EPSILON = 1e-5
Stage = tuple[str, str, str]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One project's names of modules, "" where it has none with tensors, and its network's traits."""

    name: str
    project: str
    head: tuple[str, str]
    """Convolution and activation."""
    block: Callable[[int], tuple[str, str, str, str, str]]
    """Of residual block i: convolution, norm, activation, convolution, norm."""
    trunk: Callable[[int], tuple[str, str]]
    """With B blocks: convolution and norm."""
    up: Callable[[int, int], Stage]
    """Of stage i, with B blocks: convolution, norm (none in the paper), activation."""
    tail: Callable[[int, int], str]
    """With B blocks and s stages."""
    idle: Callable[[int], tuple[str, ...]] = lambda blocks: ()
    """Tensors that their forward pass never uses."""
    bias: bool = True
    """The convolutions without a norm have a bias."""
    bias_before_norm: bool = False
    slope: float | None = None
    """A fixed slope in PReLU's place: 0 is ReLU."""
    epsilon: float = BN_EPSILON
    """Of the norms in the body; those after a sub-pixel convolution have 1e-5."""
    tail_function: Literal["linear", "tanh"] = "linear"
    input: Range = "unit"
    output: Range = "unit"
    """Of the picture that their network means, after the tail's function and any affine map to pixels."""

    def modules(self, config: GeneratorConfig) -> dict[str, str]:
        """Our layer's name -> their module's, for every layer that has tensors with them."""
        blocks, stages = config.blocks, config.scale // 2
        found = {"head.conv": self.head[0], "head.act": self.head[1]}
        for i in range(blocks):
            names = ("conv1", "bn1", "act", "conv2", "bn2")
            found |= {f"body.{i}.{ours}": theirs for ours, theirs in zip(names, self.block(i), strict=True)}
        found["trunk.conv"], found["trunk.bn"] = self.trunk(blocks)
        for i in range(stages):
            for ours, theirs in zip(("conv", "bn", "act"), self.up(i, blocks), strict=True):
                found[f"up.{i}.{ours}"] = theirs
        found["tail.conv"] = self.tail(blocks, stages)
        return {ours: theirs for ours, theirs in found.items() if theirs}

    def tensors(self, config: GeneratorConfig) -> dict[str, str]:
        """Their tensor's name -> ours; `up.*.bn.*` and biases before a norm are ours in name only."""
        modules, found = self.modules(config), dict[str, str]()
        normed = {layer.source for layer in layers(config) if layer.kind == "norm"}
        for ours, theirs in modules.items():
            parts = ["weight"]
            if ours.endswith((".bn", ".bn1", ".bn2")):
                parts += ["bias", "running_mean", "running_var"]
            elif not ours.endswith(".act") and (self.bias_before_norm if ours in normed else self.bias):
                parts += ["bias"]
            found |= {f"{theirs}.{part}": f"{ours}.{part}" for part in parts}
        return found


def _five(prefix: str, *names: str | int) -> tuple[str, str, str, str, str]:
    a, b, c, d, e = (f"{prefix}.{name}" if name != "" else "" for name in names)
    return a, b, c, d, e


def _lornatang(name: str, first: str, second: str, third: str) -> Layout:
    return Layout(
        name=name,
        project="Lornatang/SRGAN-PyTorch",
        head=(f"{first}.0", f"{first}.1"),
        block=lambda i: _five(f"trunk.{i}.rcb", 0, 1, 2, 3, 4),
        trunk=lambda blocks: (f"{second}.0", f"{second}.1"),
        up=lambda i, blocks: (f"upsampling.{i}.upsample_block.0", "", f"upsampling.{i}.upsample_block.2"),
        tail=lambda blocks, stages: third,
    )


def _eriklindernoren(name: str, slope: float | None, epsilon: float, pictures: Range) -> Layout:
    act = slope is None
    return Layout(
        name=name,
        project="eriklindernoren/PyTorch-GAN",
        head=("conv1.0", "conv1.1" if act else ""),
        block=lambda i: _five(f"res_blocks.{i}.conv_block", 0, 1, 2 if act else "", 3, 4),
        trunk=lambda blocks: ("conv2.0", "conv2.1"),
        up=lambda i, blocks: (
            f"upsampling.{4 * i}",
            f"upsampling.{4 * i + 1}",
            f"upsampling.{4 * i + 3}" if act else "",
        ),
        tail=lambda blocks, stages: "conv3.0",
        bias_before_norm=True,
        slope=slope,
        epsilon=epsilon,
        tail_function="tanh",
        input=pictures,
        output=pictures,
    )


_ALL = (
    Layout(
        name="srgan",
        project="this project",
        head=("head.conv", "head.act"),
        block=lambda i: _five(f"body.{i}", "conv1", "bn1", "act", "conv2", "bn2"),
        trunk=lambda blocks: ("trunk.conv", "trunk.bn"),
        up=lambda i, blocks: (f"up.{i}.conv", "", f"up.{i}.act"),
        tail=lambda blocks, stages: "tail.conv",
        output="signed",
    ),
    _lornatang("lornatang", "conv1", "conv2", "conv3"),
    _lornatang("lornatang-2022", "conv_block1", "conv_block2", "conv_block3"),
    Layout(
        name="leftthomas",
        project="leftthomas/SRGAN",
        head=("block1.0", "block1.1"),
        block=lambda i: _five(f"block{i + 2}", "conv1", "bn1", "prelu", "conv2", "bn2"),
        trunk=lambda blocks: (f"block{blocks + 2}.0", f"block{blocks + 2}.1"),
        up=lambda i, blocks: (f"block{blocks + 3}.{i}.conv", "", f"block{blocks + 3}.{i}.prelu"),
        tail=lambda blocks, stages: f"block{blocks + 3}.{stages}",
        bias_before_norm=True,
        tail_function="tanh",
        output="signed",  # they map it to 0..1 by (tanh + 1) / 2
    ),
    Layout(
        name="aladdinpersson",
        project="aladdinpersson/Machine-Learning-Collection",
        head=("initial.cnn", "initial.act"),
        block=lambda i: _five(f"residuals.{i}", "block1.cnn", "block1.bn", "block1.act", "block2.cnn", "block2.bn"),
        trunk=lambda blocks: ("convblock.cnn", "convblock.bn"),
        up=lambda i, blocks: (f"upsamples.{i}.conv", "", f"upsamples.{i}.act"),
        tail=lambda blocks, stages: "final",
        idle=lambda blocks: (*(f"residuals.{i}.block2.act.weight" for i in range(blocks)), "convblock.act.weight"),
        tail_function="tanh",
        output="signed",
    ),
    Layout(
        name="sgrvinod",
        project="sgrvinod/a-PyTorch-Tutorial-to-Super-Resolution",
        head=("conv_block1.conv_block.0", "conv_block1.conv_block.1"),
        block=lambda i: _five(
            f"residual_blocks.{i}",
            "conv_block1.conv_block.0",
            "conv_block1.conv_block.1",
            "conv_block1.conv_block.2",
            "conv_block2.conv_block.0",
            "conv_block2.conv_block.1",
        ),
        trunk=lambda blocks: ("conv_block2.conv_block.0", "conv_block2.conv_block.1"),
        up=lambda i, blocks: (
            f"subpixel_convolutional_blocks.{i}.conv",
            "",
            f"subpixel_convolutional_blocks.{i}.prelu",
        ),
        tail=lambda blocks, stages: "conv_block3.conv_block.0",
        bias_before_norm=True,
        tail_function="tanh",
        input="imagenet",
        output="signed",
    ),
    _eriklindernoren("eriklindernoren", None, 0.8, "imagenet"),
    _eriklindernoren("eriklindernoren-relu", 0.0, BN_EPSILON, "signed"),
    Layout(
        name="mseitzer",
        project="mseitzer/srgan",
        head=("initial_conv.1", "initial_conv.2"),
        block=lambda i: _five(f"body.{i}.block", 1, 2, 3, 5, 6),
        trunk=lambda blocks: (f"body.{blocks + 1}", f"body.{blocks + 2}"),
        up=lambda i, blocks: (f"upsample.{4 * i + 1}", "", f"upsample.{4 * i + 3}"),
        tail=lambda blocks, stages: "final_conv.1",
        tail_function="tanh",
        output="signed",
    ),
    Layout(
        name="twtygqyy",
        project="twtygqyy/pytorch-SRResNet",
        head=("conv_input", ""),
        block=lambda i: _five(f"residual.{i}", "conv1", "bn1", "", "conv2", "bn2"),
        trunk=lambda blocks: ("conv_mid", "bn_mid"),
        up=lambda i, blocks: (f"upscale4x.{3 * i}", "", ""),
        tail=lambda blocks, stages: "conv_output",
        bias=False,
        slope=0.2,
    ),
)

LAYOUTS = {layout.name: layout for layout in _ALL}
