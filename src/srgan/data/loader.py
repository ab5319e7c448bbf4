"""Crops -> batches of uint8 (N, 3, S, S) on the training device, one step ahead of the training."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srgan.data.pack import Pack
from srgan.data.plan import Crops, crops, turned

SCALE = 4


class Batch(NamedTuple):
    """One step's pictures, uint8: lr (N, 3, S/4, S/4) and hr (N, 3, S, S)."""

    lr: Tensor
    hr: Tensor


class PackLoader:
    """The batches of a phase, gathered from a memory-mapped pack by a thread that works one step ahead."""

    def __init__(
        self, pack: Pack, *, seed: int, phase: str, batch: int, crop: int, device: torch.device,
        rank: int = 0, world: int = 1,
    ) -> None:  # fmt: skip
        self.pack, self.seed, self.phase, self.size, self.crop, self.device = pack, seed, phase, batch, crop, device
        self.share = slice(rank * batch // world, (rank + 1) * batch // world)
        self.worker = ThreadPoolExecutor(1, "loader")
        self.ahead: dict[int, Future[Batch]] = {}

    def __call__(self, step: int) -> Batch:
        """The batch of `step`; any order is allowed, the next step is the quick one."""
        found = self.ahead.pop(step, None) or self.worker.submit(self._gather, step)
        self.ahead.clear()
        self.ahead[step + 1] = self.worker.submit(self._gather, step + 1)
        batch = found.result()
        if self.device.type == "cpu":
            return batch
        return Batch(*(t.to(self.device, non_blocking=True) for t in batch))

    def close(self) -> None:
        """Stop the thread."""
        self.worker.shutdown(cancel_futures=True)

    def _gather(self, step: int) -> Batch:
        planned = crops(
            seed=self.seed, phase=self.phase, step=step, batch=self.size, crop=self.crop // SCALE,
            heights=self.pack.heights // SCALE, widths=self.pack.widths // SCALE,
        )  # fmt: skip
        mine = Crops(*(values[self.share] for values in planned))
        lr, hr = gather(self.pack, mine, self.crop)
        batch = Batch(torch.from_numpy(lr).permute(0, 3, 1, 2), torch.from_numpy(hr).permute(0, 3, 1, 2))
        return Batch(*(t.pin_memory() for t in batch)) if self.device.type == "cuda" else batch


def gather(pack: Pack, planned: Crops, crop: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """LR (N, crop/4, crop/4, 3) and HR (N, crop, crop, 3) crops, copied out of the pack; `crop` in HR pixels."""
    count, small = len(planned.picture), crop // SCALE
    lr = np.empty((count, small, small, 3), np.uint8)
    hr = np.empty((count, crop, crop, 3), np.uint8)
    for i, (picture, top, left, turn) in enumerate(zip(*(values.tolist() for values in planned), strict=True)):
        height, width = int(pack.heights[picture]), int(pack.widths[picture])
        hr_start, lr_start = int(pack.hr_offsets[picture]), int(pack.lr_offsets[picture])
        whole = pack.pixels[hr_start : hr_start + height * width * 3].reshape(height, width, 3)
        rows, columns = slice(top * SCALE, top * SCALE + crop), slice(left * SCALE, left * SCALE + crop)
        hr[i] = turned(whole[rows, columns], turn)
        height, width = height // SCALE, width // SCALE
        whole = pack.pixels[lr_start : lr_start + height * width * 3].reshape(height, width, 3)
        lr[i] = turned(whole[top : top + small, left : left + small], turn)
    return lr, hr


def lr_unit(lr: Tensor) -> Tensor:
    """uint8 -> float32 in [0, 1] (section 3.2)."""
    return lr.to(torch.float32) / 255.0


def hr_signed(hr: Tensor) -> Tensor:
    """uint8 -> float32 in [-1, 1] (section 3.2)."""
    return hr.to(torch.float32) / 127.5 - 1.0
