"""The discriminator's crops, moved: its strides then stand on no fixed grid over the generator's pixels.

Of a convolution with stride 2 some pixels of a picture reach more outputs than others, and so does the gradient that
comes back: it has a grid. Crops always begin at a whole LR pixel, so that this grid and the generator's own, the 4x4
pixels made from one, lie on each other step after step, and the generator learns it. docs/results.md has figures.
"""

from __future__ import annotations

import torch
from torch import Tensor

FACTOR = 4


class Shift:
    """Moves pictures by up to two pixels, edges repeated; each 16 steps in a row have all 16 ways."""

    def __init__(self, side: int, device: torch.device) -> None:
        self.base = torch.arange(side, device=device)
        self.rows, self.columns = self.base.clone(), self.base.clone()

    def turn(self, step: int) -> None:
        """Move as is this step's turn; in place, for a captured step (`compute.Update`)."""
        down, right = step % FACTOR, (step + step // FACTOR) % FACTOR
        for places, offset in ((self.rows, down), (self.columns, right)):
            torch.clamp(self.base + (offset - FACTOR // 2), 0, len(self.base) - 1, out=places)

    def __call__(self, pictures: Tensor) -> Tensor:
        """(N, C, side, side) -> the same shape, in the order of memory that convolutions like."""
        moved = pictures.index_select(2, self.rows).index_select(3, self.columns)
        return moved.contiguous(memory_format=torch.channels_last)
