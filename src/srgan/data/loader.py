"""Crops -> batches of uint8 on the training device, prepared by a thread ahead of the training.

Three places to take them from, the same crops from each: the device's own memory, a memory-mapped pack, files.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from srgan.data.crops import Crops, crops, turned
from srgan.data.degrade import degrade_batch
from srgan.data.image_files import Unpacked
from srgan.data.pack import Pack

SCALE = 4
SHARE = 0.4
"""Part of the device's free memory that the pictures may take when the loader is chosen automatically."""
_CHUNK = 64 << 20

Source = Literal["auto", "device", "mapped", "files"]


class Batch(NamedTuple):
    """One step's pictures, uint8: lr (N, 3, S/4, S/4) and hr (N, 3, S, S)."""

    lr: Tensor
    hr: Tensor


class Pictures(Protocol):
    """What a plan needs to know of a training set: the HRs' sizes."""

    @property
    def heights(self) -> NDArray[np.int64]: ...
    @property
    def widths(self) -> NDArray[np.int64]: ...


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which crops a rank takes of each step: its part of a batch that does not depend on how many ranks there are.

    `batch`: crops per step over all ranks. `crop`: side of the HR crops, pixels. `degrade`: blur, noise and compression
    for the LRs.
    """

    seed: int
    phase: str
    batch: int
    crop: int
    rank: int = 0
    world: int = 1
    degrade: bool = False

    def of(self, pictures: Pictures, step: int) -> Crops:
        """This rank's crops of `step`."""
        whole = crops(
            seed=self.seed,
            phase=self.phase,
            step=step,
            batch=self.batch,
            crop=self.crop // SCALE,
            heights=pictures.heights // SCALE,
            widths=pictures.widths // SCALE,
        )
        mine = slice(self.first, (self.rank + 1) * self.batch // self.world)
        return Crops(*(values[mine] for values in whole))

    @property
    def first(self) -> int:
        """Index of this rank's first crop in the batch."""
        return self.rank * self.batch // self.world

    def degraded(self, lr: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
        """This rank's LR crops (N, H, W, 3) of `step` as they are trained on."""
        if not self.degrade:
            return lr
        return degrade_batch(lr, seed=self.seed, phase=self.phase, step=step, first=self.first)


class Loader:
    """The batch of a step: `prepare(step)` runs in a thread `depth` steps ahead, `finish` when it is asked for."""

    def __init__(
        self,
        prepare: Callable[[int], Any],
        finish: Callable[[Any], Batch],
        *,
        depth: int = 1,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.prepare, self.finish, self.depth, self._close = prepare, finish, depth, close
        self.thread = ThreadPoolExecutor(1, "loader")
        self.ahead: dict[int, Future[Any]] = {}

    def __call__(self, step: int) -> Batch:
        """Any order of steps is allowed; the next one is the quick one."""
        wanted = range(step, step + self.depth + 1)
        for number in wanted:
            if number not in self.ahead:
                self.ahead[number] = self.thread.submit(self.prepare, number)
        for number in [n for n in self.ahead if n not in wanted]:
            self.ahead.pop(number).cancel()
        return self.finish(self.ahead.pop(step).result())

    def close(self) -> None:
        """Stop the thread."""
        self.thread.shutdown(cancel_futures=True)
        self._close()


def chosen(source: Source, pictures: Pack | Unpacked, device: torch.device, *, degrade: bool = False) -> Source:
    """The loader that `auto` stands for: the device's memory where the pack fits into a share of it."""
    if source != "auto":
        return source
    if isinstance(pictures, Unpacked):
        return "files"
    fits = device.type == "cuda" and not degrade and pictures.pixels.nbytes < SHARE * torch.cuda.mem_get_info(device)[0]
    return "device" if fits else "mapped"


def loader(
    pictures: Pack | Unpacked, plan: Plan, *, device: torch.device, source: Source = "auto", workers: int = 2
) -> Loader:
    """Batches of a plan. `source`: from where; `workers`: threads that decode, where pictures stay in files."""
    source = chosen(source, pictures, device, degrade=plan.degrade)
    if source == "device" and isinstance(pictures, Pack):
        return Loader(partial(_places, pictures, plan, device), _Resident(pictures, plan.crop, device))
    pool = ThreadPoolExecutor(workers, "decoder") if source == "files" else None

    def prepare(step: int) -> Batch:
        lr, hr = gather(pictures, plan.of(pictures, step), plan.crop, pool)
        lr = plan.degraded(lr, step)
        batch = Batch(torch.from_numpy(lr).permute(0, 3, 1, 2), torch.from_numpy(hr).permute(0, 3, 1, 2))
        return Batch(*(t.pin_memory() for t in batch)) if device.type == "cuda" else batch

    def finish(batch: Batch) -> Batch:
        return Batch(*(t.to(device, non_blocking=True) for t in batch))

    return Loader(prepare, finish, depth=2 if pool else 1, close=pool.shutdown if pool else lambda: None)


def gather(
    pictures: Pack | Unpacked, planned: Crops, crop: int, pool: ThreadPoolExecutor | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """LR (N, crop/4, crop/4, 3) and HR (N, crop, crop, 3), copied out of a pack or decoded; `crop` in HR pixels."""
    small = crop // SCALE
    lr = np.empty((len(planned.picture), small, small, 3), np.uint8)
    hr = np.empty((len(planned.picture), crop, crop, 3), np.uint8)

    def take(i: int) -> None:
        picture, top, left, turn = (int(values[i]) for values in planned)
        if isinstance(pictures, Unpacked):
            of_lr, of_hr = pictures.crop(picture, top, left, small)
        else:
            of_lr = pictures.lr(picture)[top : top + small, left : left + small]
            of_hr = pictures.hr(picture)[SCALE * top : SCALE * top + crop, SCALE * left : SCALE * left + crop]
        lr[i], hr[i] = turned(of_lr, turn), turned(of_hr, turn)

    for _ in (pool.map if pool else map)(take, range(len(lr))):
        pass
    return lr, hr


def _places(pack: Pack, plan: Plan, device: torch.device, step: int) -> Tensor:
    """Where the crops of a step lie in the pack: (7, N) int64; see `_Resident`."""
    picture, top, left, turn = plan.of(pack, step)
    hr_width, lr_width = pack.widths[picture], pack.widths[picture] // SCALE
    hr_start = pack.hr_offsets[picture] + 3 * SCALE * (top * hr_width + left)
    lr_start = pack.lr_offsets[picture] + 3 * (top * lr_width + left)
    rows = [hr_start, hr_width, lr_start, lr_width, turn & 1, turn & 2, turn & 4]
    places = torch.from_numpy(np.stack(rows))
    return places.pin_memory() if device.type == "cuda" else places


class _Resident:
    """All pictures in the device's memory; a batch is one gather by index for the HRs and one for the LRs."""

    def __init__(self, pack: Pack, crop: int, device: torch.device) -> None:
        self.crop, self.device = crop, device
        self.pixels = torch.empty(pack.pixels.shape, dtype=torch.uint8, device=device)
        for start in range(0, len(self.pixels), _CHUNK):
            part = torch.from_numpy(np.array(pack.pixels[start : start + _CHUNK]))
            self.pixels[start : start + _CHUNK] = part.to(device)

    def __call__(self, places: Tensor) -> Batch:
        hr_start, hr_width, lr_start, lr_width, *turns = places.to(self.device, non_blocking=True)
        return Batch(
            self._squares(lr_start, lr_width, turns, self.crop // SCALE),
            self._squares(hr_start, hr_width, turns, self.crop),
        )

    def _squares(self, start: Tensor, width: Tensor, turns: list[Tensor], side: int) -> Tensor:
        """Squares (N, 3, side, side) whose top left pixels are at `start`, turned as in `plan.turned`."""
        mirrored, upside_down, transposed = (turn.view(-1, 1, 1).bool() for turn in turns)
        along = torch.arange(side, device=self.device)
        i, j = along.view(1, -1, 1), along.view(1, 1, -1)
        row, column = torch.where(transposed, j, i), torch.where(transposed, i, j)
        row = torch.where(upside_down, side - 1 - row, row)
        column = torch.where(mirrored, side - 1 - column, column)
        first = start.view(-1, 1, 1) + 3 * (row * width.view(-1, 1, 1) + column)
        index = first.unsqueeze(-1) + torch.arange(3, device=self.device)
        return self.pixels[index].permute(0, 3, 1, 2)


def lr_unit(lr: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 -> floats in [0, 1] (section 3.2)."""
    return lr.to(dtype) / 255.0


def hr_signed(hr: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 -> floats in [-1, 1] (section 3.2)."""
    return hr.to(dtype) / 127.5 - 1.0
