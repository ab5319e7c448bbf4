"""The tensors that a network starts from, as a function of a seed. The paper does not say how it began."""

from __future__ import annotations

import torch
from torch import Tensor, nn


@torch.no_grad()
def init_weights(network: nn.Module, *, seed: int, icnr: bool = False) -> None:
    """Fill every convolution and dense layer, weights and bias, uniformly within 1 / sqrt(fan-in).

    That is PyTorch's own choice; here it is drawn on the CPU from `seed` alone, so that the start does not
    depend on the device or on what was drawn before. Other tensors (BatchNorm's, PReLU's) keep their
    constants. `icnr`: the sub-pixel convolutions start as nearest-neighbour enlargement, without a
    checkerboard (Aitken et al. 2017, arXiv 1707.02937).
    """
    rng = torch.Generator().manual_seed(seed)
    for name, layer in network.named_modules():
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            continue
        bound = layer.weight[0].numel() ** -0.5
        layer.weight.copy_(_uniform(layer.weight, bound, rng))
        if layer.bias is not None:
            layer.bias.copy_(_uniform(layer.bias, bound, rng))
        if icnr and name.startswith("up."):
            for tensor in layer.parameters():
                tensor.copy_(tensor[::4].repeat_interleave(4, dim=0))


def _uniform(like: Tensor, bound: float, rng: torch.Generator) -> Tensor:
    return torch.empty(like.shape).uniform_(-bound, bound, generator=rng)
