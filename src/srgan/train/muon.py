"""Muon (Jordan et al. 2024) for the kernels inside the generator; Adam for everything else."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""a, b, c of X <- aX + bXX'X + cXX'XX'X, which moves all singular values towards 1 and most of the way in a few rounds."""
ROUNDS = 5
MOMENTUM = 0.95
STRIDE = 0.6
"""Root mean square of a kernel's change, in learning rates. Adam's is about 0.2 to 0.4 (Liu et al. 2025, section 2.2)."""


class Muon(torch.optim.Adam):
    """One optimizer with two ways: `kernels` (convolutions, four dimensions) by Muon, `others` by Adam.

    Muon's step is the momentum of the gradient, as a matrix of one row per output channel, with all its singular
    values made equal: directions that the loss hardly shows are learned as fast as those that dominate it.
    """

    def __init__(self, kernels: list[Tensor], others: list[Tensor], **adam: Any) -> None:
        """`adam`: the options of `torch.optim.Adam`."""
        super().__init__([{"params": others}, {"params": kernels}], **adam)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of both kinds; the kernels' gradients are used up."""
        group = self.param_groups[1]
        kernels = [kernel for kernel in group["params"] if kernel.grad is not None]
        for _, alike in itertools.groupby(sorted(kernels, key=lambda k: k.shape), key=lambda k: k.shape):
            self._step(list(alike), group["lr"])
        for kernel in kernels:
            kernel.grad = None  # Adam passes over what has no gradient
        return super().step(closure)

    def _step(self, kernels: list[Tensor], rate: Tensor | float) -> None:
        for kernel in kernels:
            if "momentum" not in self.state[kernel]:
                self.state[kernel]["momentum"] = torch.zeros_like(kernel)
        momenta = [self.state[kernel]["momentum"] for kernel in kernels]
        gradients = [kernel.grad for kernel in kernels if kernel.grad is not None]
        torch._foreach_lerp_(momenta, gradients, 1.0 - MOMENTUM)
        ahead = torch._foreach_lerp(gradients, momenta, MOMENTUM)  # Nesterov's
        # Columns in the order of channels_last memory; their order does not matter to what follows.
        matrices = torch.stack([x.permute(0, 2, 3, 1).flatten(1) for x in ahead])
        change = orthogonal(matrices) * (STRIDE * max(matrices.shape[1:]) ** 0.5 * rate)
        outputs, inputs, height, width = kernels[0].shape
        for kernel, flat in zip(kernels, change, strict=True):
            kernel.sub_(flat.view(outputs, height, width, inputs).permute(0, 3, 1, 2))


def orthogonal(matrices: Tensor) -> Tensor:
    """(N, rows, columns) -> the same singular vectors with singular values between about 0.7 and 1.2."""
    tall = matrices.shape[1] > matrices.shape[2]
    x: Tensor = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-20)
    a, b, c = COEFFICIENTS
    for _ in range(ROUNDS):
        square = x @ x.mT
        x = a * x + (b * square + c * (square @ square)) @ x
    return x.mT if tall else x
