"""The generator of figure 4: SRResNet, and SRGAN when it is trained against the discriminator."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from srgan.model.config import GeneratorConfig, upsampling_stages
from srgan.model.weights import Weights, fold_batchnorm

PRELU_INIT = 0.25
"""PReLU's slope before training (He et al. 2015, section 2.1)."""


class Generator(nn.Module):
    """lr (N, 3, H, W) in [0, 1] -> sr (N, 3, scale * H, scale * W) in about [-1, 1].

    Nothing bounds the output: no clamp and no tanh. Its tensors have the names of `srgan.model.config.generator_layers`.
    `folded`: no BatchNorm, and a bias in every convolution, for the tensors of `weights.fold_batchnorm`.
    """

    batchnorm_frozen = False
    """BatchNorm normalises by its running statistics in training too, and leaves them unchanged."""

    def __init__(self, config: GeneratorConfig | None = None, *, folded: bool = False) -> None:
        super().__init__()
        self.config = config = config or GeneratorConfig()
        width = config.width
        self.head = _named(conv=_conv(config.channels, width, 9), act=_prelu(config))
        self.body = nn.Sequential(*(ResidualBlock(config, folded=folded) for _ in range(config.blocks)))
        self.trunk = _named(conv=_conv(width, width, 3, bias=folded), bn=_norm(width, folded))
        self.up = nn.Sequential(*(_upsampling(config) for _ in range(upsampling_stages(config))))
        self.tail = _named(conv=_conv(width, config.channels, 9))

    def forward(self, lr_unit: Tensor) -> Tensor:
        """(N, 3, H, W) in 0..1 -> sr_signed (N, 3, scale * H, scale * W), about -1..1."""
        return self.upsample(self.features(lr_unit))

    def features(self, lr_unit: Tensor) -> Tensor:
        """All layers that work at the LR's size: (N, 3, H, W) -> (N, width, H, W)."""
        head: Tensor = self.head(lr_unit)
        trunk: Tensor = self.trunk(self.body(head))
        return trunk + head

    def upsample(self, features: Tensor) -> Tensor:
        """The sub-pixel stages and the tail: (N, width, H, W) -> sr (N, 3, scale * H, scale * W)."""
        sr_signed: Tensor = self.tail(self.up(features))
        return sr_signed

    def train(self, mode: bool = True) -> Generator:
        """As nn.Module.train, but frozen BatchNorm stays in evaluation mode."""
        super().train(mode)
        if self.batchnorm_frozen:
            for layer in self.modules():
                if isinstance(layer, nn.BatchNorm2d | nn.SyncBatchNorm):
                    layer.eval()
        return self


class ResidualBlock(nn.Module):
    """x + BN(conv(PReLU(BN(conv(x))))), after Gross & Wilber 2016; 3x3 kernels."""

    def __init__(self, config: GeneratorConfig, *, folded: bool = False) -> None:
        super().__init__()
        width = config.width
        self.conv1 = _conv(width, width, 3, bias=folded)
        self.bn1 = _norm(width, folded)
        self.act = _prelu(config)
        self.conv2 = _conv(width, width, 3, bias=folded)
        self.bn2 = _norm(width, folded)

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.act(self.bn1(self.conv1(x)))
        change: Tensor = self.bn2(self.conv2(inner))
        return x + change


def generator_from_weights(weights: Weights, *, folded: bool = False) -> Generator:
    """The generator of a weights file, in evaluation mode, on the CPU. `folded`: without BatchNorm."""
    generator = Generator(weights.config, folded=folded)
    tensors = fold_batchnorm(weights) if folded else weights.tensors
    generator.load_state_dict({name: torch.from_numpy(np.array(tensor)) for name, tensor in tensors.items()})
    return generator.eval()


def tensors_from_generator(generator: Generator) -> dict[str, NDArray[np.float32]]:
    """Copies of the generator's tensors, float32, as a weights file holds them."""
    state = {name: tensor for name, tensor in generator.state_dict().items() if tensor.is_floating_point()}
    return {name: tensor.detach().to("cpu", torch.float32).numpy().copy() for name, tensor in state.items()}


def freeze_batchnorm(generator: Generator) -> None:
    """From now on every BatchNorm of the generator is an affine map by its present statistics."""
    generator.batchnorm_frozen = True
    generator.train(generator.training)


@torch.no_grad()
def init_weights(network: nn.Module, *, seed: int, icnr: bool = False) -> None:
    """Fill every convolution and dense layer, weights and bias, uniformly within 1 / sqrt(fan-in).

    This is PyTorch's own choice, drawn on the CPU from `seed` alone, so that the start does not depend on the device or on
    earlier draws. BatchNorm and PReLU keep their constants. `icnr`: the sub-pixel convolutions start as nearest-neighbour
    upsampling, without a checkerboard (Aitken et al. 2017, arXiv 1707.02937).
    """
    rng = torch.Generator().manual_seed(seed)
    for name, layer in network.named_modules():
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        bound = layer.weight[0].numel() ** -0.5
        for tensor in layer.parameters():
            drawn = torch.empty(tensor.shape).uniform_(-bound, bound, generator=rng)
            tensor.copy_(drawn[::4].repeat_interleave(4, dim=0) if icnr and name.startswith("up.") else drawn)


def _upsampling(config: GeneratorConfig) -> nn.Sequential:
    """One x2 sub-pixel stage (Shi et al. 2016): four times the channels, of which four become 2x2 pixels."""
    return _named(conv=_conv(config.width, 4 * config.width, 3), shuffle=nn.PixelShuffle(2), act=_prelu(config))


def _conv(inputs: int, outputs: int, kernel: int, *, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)


def _norm(width: int, folded: bool) -> nn.Module:
    return nn.Identity() if folded else nn.BatchNorm2d(width)


def _prelu(config: GeneratorConfig) -> nn.PReLU:
    return nn.PReLU(config.width if config.slopes == "channel" else 1, init=PRELU_INIT)


def _named(**modules: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(modules))
