"""Batch normalisation (Ioffe & Szegedy 2015) whose state is exactly the four tensors of a weights file."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srgan.weights import BATCH_NORM_EPSILON

MOMENTUM = 0.1
"""Share of a new batch in the running statistics: they remember about the last 1 / 0.1 = 10 batches."""


class BatchNorm(nn.Module):
    """`torch.nn.BatchNorm2d` without its counter of batches, which a constant momentum does not need."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W): normalised by the batch in training, by the running statistics in evaluation."""
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias,
            training=self.training, momentum=MOMENTUM, eps=BATCH_NORM_EPSILON,
        )  # fmt: skip
