"""Crops -> batches of uint8 on the training device, prepared ahead of the training by a thread or by processes.

The crops come from the device's memory, from packed images or from files: the same ones from each.
"""

import contextlib
import hashlib
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import resource_tracker
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from srgan.data.crops import Crops, crops
from srgan.data.degrade import Damage, degrade_batch
from srgan.data.image_files import ImageFiles
from srgan.data.packed import PackedImages
from srgan.errors import STOP_SIGNALS
from srgan.image.symmetry import apply_symmetry

SCALE = 4
MAX_MEMORY_SHARE = 0.4
"""Part of the device's free memory that the images may take when the source is chosen automatically."""
_CHUNK = 64 << 20

TrainingImages = PackedImages | ImageFiles
CropSource = Literal["auto", "device", "mapped", "files"]


class Batch(NamedTuple):
    """The crops of one step, uint8: lr (N, 3, S/4, S/4) and hr (N, 3, S, S)."""

    lr: Tensor
    hr: Tensor


@dataclass(frozen=True, kw_only=True)
class CropSampler:
    """The crops of each step that one rank trains on: its part of a batch that does not depend on the number of ranks.

    `batch`: crops per step over all ranks. `crop`: side of the HR crops, pixels. `degrade`: what happens to the LRs.
    """

    seed: int
    phase: str
    batch: int
    crop: int
    rank: int = 0
    world_size: int = 1
    degrade: Damage = "none"

    def crops(self, images: TrainingImages, step: int) -> Crops:
        """This rank's crops of `step`."""
        heights, widths, crop = images.heights // SCALE, images.widths // SCALE, self.crop // SCALE
        key = (self.seed, self.phase, step)
        whole = crops(*key, batch=self.batch, heights=heights, widths=widths, crop=crop)
        part = slice(self.first, (self.rank + 1) * self.batch // self.world_size)
        return Crops(*(values[part] for values in whole))

    @property
    def first(self) -> int:
        """Index of this rank's first crop in the batch."""
        return self.rank * self.batch // self.world_size

    def degraded(self, lr: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
        """This rank's LR crops (N, H, W, 3) of `step`, degraded if the recipe asks for it."""
        return degrade_batch(lr, self.degrade, seed=self.seed, phase=self.phase, step=step, first=self.first)


class Loader:
    """The batch of a step: `prepare(step)` runs in a thread, `depth` steps ahead; `finish` runs in the caller."""

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
        self.prefetched: dict[int, Future[Any]] = {}

    def __call__(self, step: int) -> Batch:
        """The batch of `step`; steps may come in any order, the next one is fast."""
        steps = range(step, step + self.depth + 1)
        for number in steps:
            if number not in self.prefetched:
                self.prefetched[number] = self.thread.submit(self.prepare, number)
        for number in [n for n in self.prefetched if n not in steps]:
            self.prefetched.pop(number).cancel()
        return self.finish(self.prefetched.pop(step).result())

    def close(self) -> None:
        """Stop the thread."""
        self.thread.shutdown(cancel_futures=True)
        self._close()


class ProcessLoader(Loader):
    """The batch of a step, as `Loader` gives it, prepared by several processes: PyTorch's workers."""

    def __init__(self, prepare: Callable[[int], Any], finish: Callable[[Any], Batch], *, workers: int) -> None:
        """`prepare` can be pickled."""
        super().__init__(prepare, finish)
        self.workers = workers
        self.expected = -1
        self.prepared: Iterator[Any] = iter(())

    def __call__(self, step: int) -> Batch:
        """The batch of `step`; any step but the one after the last starts the processes anew."""
        if step != self.expected:
            # Not forked: a lock that another thread holds at a fork is never opened in the child.
            batches: DataLoader[Any] = DataLoader(
                range(step, sys.maxsize),  # type: ignore[arg-type]
                batch_size=None,
                collate_fn=self.prepare,  # type: ignore[arg-type]
                num_workers=self.workers,
                pin_memory=torch.cuda.is_available(),
                multiprocessing_context="spawn",
                worker_init_fn=_ignore_signals,
            )
            with _signals_blocked():
                self.prepared = iter(batches)
        self.expected = step + 1
        return self.finish(next(self.prepared))

    def close(self) -> None:
        """Stop the processes."""
        self.prepared = iter(())
        super().close()


def _ignore_signals(worker: int) -> None:
    for number in STOP_SIGNALS:  # a terminal and a scheduler send them to all processes
        signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """A process that is started within the block inherits that STOP_SIGNALS are blocked: one would end its imports."""
    if sys.platform == "win32":
        yield
        return
    resource_tracker.ensure_running()  # its own start would unblock them
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def choose_source(
    source: CropSource, images: TrainingImages, device: torch.device, *, degrade: Damage = "none"
) -> CropSource:
    """The source that `auto` stands for: the device's memory where the packed images fit into a share of it."""
    if source != "auto":
        return source
    if isinstance(images, ImageFiles):
        return "files"
    if device.type != "cuda" or degrade != "none":
        return "mapped"
    fits = images.pixels.nbytes < MAX_MEMORY_SHARE * torch.cuda.mem_get_info(device)[0]
    return "device" if fits else "mapped"


def loader(
    images: TrainingImages, sampler: CropSampler, *, device: torch.device, source: CropSource = "auto", workers: int = 2
) -> Loader:
    """Batches of a sampler's crops.

    `workers`: threads that decode, where images stay in files; processes that degrade, on a GPU.
    """
    source = choose_source(source, images, device, degrade=sampler.degrade)
    if source == "device" and isinstance(images, PackedImages):
        return Loader(partial(crop_offsets, images, sampler, device), DeviceImages(images, sampler.crop, device))
    pool = ThreadPoolExecutor(workers, "decoder") if source == "files" else None

    def prepare(step: int) -> Batch:
        batch = prepare_batch(images, sampler, pool, step)
        return Batch(*(t.pin_memory() for t in batch)) if device.type == "cuda" else batch

    def finish(batch: Batch) -> Batch:
        return Batch(*(t.to(device, non_blocking=True) for t in batch))

    if device.type == "cuda" and sampler.degrade != "none":  # a thread degrades slower than a GPU trains
        return ProcessLoader(partial(prepare_batch, images, sampler, None), finish, workers=workers)
    return Loader(prepare, finish, depth=2 if pool else 1, close=pool.shutdown if pool else lambda: None)


def prepare_batch(images: TrainingImages, sampler: CropSampler, pool: ThreadPoolExecutor | None, step: int) -> Batch:
    """The batch of a step on the CPU, its LRs degraded if the sampler says so."""
    lr, hr = gather(images, sampler.crops(images, step), sampler.crop, pool)
    lr = sampler.degraded(lr, step)
    return Batch(torch.from_numpy(lr).permute(0, 3, 1, 2), torch.from_numpy(hr).permute(0, 3, 1, 2))


def gather(
    images: TrainingImages, batch: Crops, crop: int, pool: ThreadPoolExecutor | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """LR (N, crop/4, crop/4, 3) and HR (N, crop, crop, 3), copied or decoded; `crop` in HR pixels."""
    side = crop // SCALE
    lr = np.empty((len(batch.image), side, side, 3), np.uint8)
    hr = np.empty((len(batch.image), crop, crop, 3), np.uint8)

    def copy(i: int) -> None:
        image, top, left, symmetry = (int(values[i]) for values in batch)
        lr_crop, hr_crop = images.crop(image, top, left, side)
        lr[i], hr[i] = apply_symmetry(lr_crop, symmetry), apply_symmetry(hr_crop, symmetry)

    for _ in (pool.map if pool else map)(copy, range(len(lr))):
        pass
    return lr, hr


def crop_offsets(images: PackedImages, sampler: CropSampler, device: torch.device, step: int) -> Tensor:
    """Where the crops of a step lie in the packed pixels, for `DeviceImages`: (7, N) int64."""
    image, top, left, symmetry = sampler.crops(images, step)
    hr_width, lr_width = images.widths[image], images.widths[image] // SCALE
    hr_start = images.hr_offsets[image] + 3 * SCALE * (top * hr_width + left)
    lr_start = images.lr_offsets[image] + 3 * (top * lr_width + left)
    rows = [hr_start, hr_width, lr_start, lr_width, symmetry & 1, symmetry & 2, symmetry & 4]
    offsets = torch.from_numpy(np.stack(rows))
    return offsets.pin_memory() if device.type == "cuda" else offsets


class DeviceImages:
    """All images in the device's memory; a batch is one gather by index for the HRs and one for the LRs."""

    def __init__(self, images: PackedImages, crop: int, device: torch.device) -> None:
        self.crop, self.device = crop, device
        self.pixels = torch.empty(images.pixels.shape, dtype=torch.uint8, device=device)
        for start in range(0, len(self.pixels), _CHUNK):
            chunk = torch.from_numpy(np.array(images.pixels[start : start + _CHUNK]))
            self.pixels[start : start + _CHUNK] = chunk.to(device)

    def __call__(self, offsets: Tensor) -> Batch:
        hr_start, hr_width, lr_start, lr_width, *flips = offsets.to(self.device, non_blocking=True)
        return Batch(
            self.gather_crops(lr_start, lr_width, flips, self.crop // SCALE),
            self.gather_crops(hr_start, hr_width, flips, self.crop),
        )

    def gather_crops(self, start: Tensor, width: Tensor, flips: list[Tensor], side: int) -> Tensor:
        """Crops (N, 3, side, side) whose top left pixels are at `start`, with the symmetries of `apply_symmetry`."""
        mirrored, upside_down, transposed = (flip.view(-1, 1, 1).bool() for flip in flips)
        along = torch.arange(side, device=self.device)
        i, j = along.view(1, -1, 1), along.view(1, 1, -1)
        # Undo the symmetry: which pixel of the crop lands at (i, j).
        row, column = torch.where(transposed, j, i), torch.where(transposed, i, j)
        row = torch.where(upside_down, side - 1 - row, row)
        column = torch.where(mirrored, side - 1 - column, column)
        # Index of its red byte, then of all three.
        red = start.view(-1, 1, 1) + 3 * (row * width.view(-1, 1, 1) + column)
        index = red.unsqueeze(-1) + torch.arange(3, device=self.device)
        return self.pixels[index].permute(0, 3, 1, 2)


def images_digest(images: TrainingImages) -> str:
    """A hash over the names and sizes of training images, the same for every loader; checkpoints hold it."""
    sizes = zip(images.names, images.heights.tolist(), images.widths.tolist(), strict=True)
    return hashlib.sha256(repr(list(sizes)).encode()).hexdigest()


def unit_from_uint8(lr: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 -> floats in [0, 1] (section 3.2)."""
    return lr.to(dtype) / 255.0


def signed_from_uint8(hr: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """uint8 -> floats in [-1, 1] (section 3.2)."""
    return hr.to(dtype) / 127.5 - 1.0
