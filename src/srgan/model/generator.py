"""The generator of figure 4: SRResNet, and SRGAN when it is trained against the discriminator."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from srgan.model.batchnorm import BatchNorm
from srgan.model.config import GeneratorConfig, upsampling_stages
from srgan.model.weights import Weights

PRELU_INIT = 0.25
"""PReLU's slope before training (He et al. 2015, section 2.1)."""


class Generator(nn.Module):
    """Pictures `scale` times larger: lr (N, 3, H, W) in [0, 1] -> sr (N, 3, 4H, 4W) in about [-1, 1].

    Nothing bounds the output (no clamp, and no tanh unless imported weights need one); whoever wants pixels
    clamps and rounds once. The names of its tensors are those of `srgan.model.config.layers`.
    """

    def __init__(self, config: GeneratorConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or GeneratorConfig()
        width = config.width
        self.head = _named(conv=_conv(config.channels, width, 9), act=_prelu(config))
        self.body = nn.Sequential(*(ResidualBlock(config) for _ in range(config.blocks)))
        self.trunk = _named(conv=_conv(width, width, 3, bias=False), bn=BatchNorm(width))
        self.up = nn.Sequential(*(_upscaling(config) for _ in range(upsampling_stages(config))))
        self.tail = _named(conv=_conv(width, config.channels, 9))
        if config.tail == "tanh":
            self.tail.add_module("tanh", nn.Tanh())

    def forward(self, lr_unit: Tensor) -> Tensor:
        return self.upsample(self.features(lr_unit))

    def features(self, lr_unit: Tensor) -> Tensor:
        """All layers that work at the LR's size: (N, 3, H, W) -> (N, width, H, W)."""
        first: Tensor = self.head(lr_unit)
        deep: Tensor = self.trunk(self.body(first))
        return deep + first

    def upsample(self, features: Tensor) -> Tensor:
        """The sub-pixel stages and the tail: (N, width, H, W) -> sr (N, 3, 4H, 4W)."""
        sr_signed: Tensor = self.tail(self.up(features))
        return sr_signed


class ResidualBlock(nn.Module):
    """x + BN(conv(PReLU(BN(conv(x))))), after Gross & Wilber 2016; 3x3 kernels."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        width = config.width
        self.conv1 = _conv(width, width, 3, bias=False)
        self.bn1 = BatchNorm(width)
        self.act = _prelu(config)
        self.conv2 = _conv(width, width, 3, bias=False)
        self.bn2 = BatchNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.act(self.bn1(self.conv1(x)))
        change: Tensor = self.bn2(self.conv2(inner))
        return x + change


def generator_from_weights(weights: Weights) -> Generator:
    """The generator of a weights file, in evaluation mode, on the CPU."""
    generator = Generator(weights.config)
    generator.load_state_dict({name: torch.from_numpy(np.array(t)) for name, t in weights.tensors.items()})
    return generator.eval()


def tensors_from_generator(generator: Generator) -> dict[str, NDArray[np.float32]]:
    """Copies of the generator's tensors, float32, as a weights file holds them."""
    state = generator.state_dict()
    return {name: tensor.detach().to("cpu", torch.float32).numpy().copy() for name, tensor in state.items()}


def _upscaling(config: GeneratorConfig) -> nn.Sequential:
    """One x2 sub-pixel stage (Shi et al. 2016): four times the channels, of which four become 2x2 pixels."""
    return _named(conv=_conv(config.width, 4 * config.width, 3), shuffle=nn.PixelShuffle(2), act=_prelu(config))


def _conv(inputs: int, outputs: int, kernel: int, *, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)


def _prelu(config: GeneratorConfig) -> nn.PReLU:
    return nn.PReLU(config.width if config.slopes == "channel" else 1, init=PRELU_INIT)


def _named(**modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(modules))
