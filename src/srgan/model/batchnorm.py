"""Batch normalisation (Ioffe & Szegedy 2015) whose state is exactly the four tensors of a weights file."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srgan.model.weights import BATCH_NORM_EPSILON

MOMENTUM = 0.1
"""Share of a new batch in the running statistics: they remember about the last 1 / 0.1 = 10 batches."""


class BatchNorm(nn.Module):
    """`torch.nn.BatchNorm2d` without its counter of batches, which a constant momentum does not need."""

    running_mean: Tensor
    running_var: Tensor
    frozen = False
    """Normalise by the running statistics in training too, and leave them as they are."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W): normalised by the batch in training unless frozen, by the running statistics otherwise."""
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=self.training and not self.frozen,
            momentum=MOMENTUM,
            eps=BATCH_NORM_EPSILON,
        )


class Synchronised(BatchNorm):
    """A BatchNorm whose batch is that of all processes together; takes over the tensors of another one."""

    def __init__(self, other: BatchNorm, total: Callable[[Tensor], Tensor]) -> None:
        """`total`: the sum of a tensor over all processes, differentiable."""
        nn.Module.__init__(self)
        self.weight, self.bias = other.weight, other.bias
        self.register_buffer("running_mean", other.running_mean)
        self.register_buffer("running_var", other.running_var)
        self.total = total
        self.frozen = other.frozen
        self.train(other.training)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W), as `BatchNorm`; mean and variance in fp32 at least, each by one exchange."""
        if not self.training or self.frozen:
            return super().forward(x)
        wide = x.to(self.weight.dtype)
        count = self.total(wide.new_tensor(float(x.numel() // x.shape[1])))
        mean = self.total(wide.sum((0, 2, 3))) / count
        centred = wide - mean.view(1, -1, 1, 1)
        variance = self.total(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean, MOMENTUM)
            self.running_var.lerp_(variance * count / (count - 1), MOMENTUM)
        scale = self.weight * torch.rsqrt(variance + BATCH_NORM_EPSILON)
        return (centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)).to(x.dtype)


@torch.no_grad()
def anchor(norm: BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Give a BatchNorm other running statistics (C,) and a slope and offset with which it does the same as before."""
    slope = norm.weight / torch.sqrt(norm.running_var + BATCH_NORM_EPSILON)
    norm.bias.add_(slope * (mean - norm.running_mean))
    norm.weight.copy_(slope * torch.sqrt(variance + BATCH_NORM_EPSILON))
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)


def freeze(network: nn.Module) -> None:
    """From now on every BatchNorm of the network is an affine map by its present statistics."""
    for module in network.modules():
        if isinstance(module, BatchNorm):
            module.frozen = True
