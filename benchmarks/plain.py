"""The plain loop of benchmarks/, and pictures as PNG files for it: only from a checkout."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import active_children
from pathlib import Path
from types import ModuleType

from srgan.data.folders import sample_pairs, training_pairs
from srgan.data.packed import PackedImages
from srgan.data.packing import pack_images
from srgan.errors import UsageError
from srgan.image import files

FOLDER = Path(__file__).parent


def plain_loop() -> ModuleType:
    """The module benchmarks/plain_loop.py. Raises UsageError outside a checkout."""
    if not (FOLDER / "plain_loop.py").is_file():
        raise UsageError("this bench compares with benchmarks/plain_loop.py: run it from a checkout of the project.")
    if str(FOLDER) not in sys.path:
        sys.path.insert(0, str(FOLDER))  # by name, so that worker processes find it, too
    return importlib.import_module("plain_loop")


def pictures(data: Path | None, folder: Path, *, count: int, minimum: int) -> tuple[PackedImages, list[Path]]:
    """`count` training pictures, spread over the set: packed, and as PNG files of the same pixels."""
    pairs = sample_pairs()[0] if data is None else training_pairs(data)
    chosen = [pairs[i * len(pairs) // count] for i in range(count)] if count < len(pairs) else pairs
    packed = pack_images(chosen, folder / "bench.pack", min_side=minimum)
    paths = []
    for index in range(len(packed)):
        paths.append(folder / f"{index:05}.png")
        files.write_array(paths[-1], packed.hr(index))
    return packed, paths


@contextmanager
def stopped_workers() -> Iterator[None]:
    """The plain loop's workers stand still, so that they neither disturb another's turn nor work ahead in it."""
    workers = [process.pid for process in active_children() if process.pid is not None]
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
