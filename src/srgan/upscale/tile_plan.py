"""How large tiles may be: a function of the picture's size, the engine and the memory allowed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from srgan.errors import UsageError
from srgan.image.tiles import Grid, cheapest_grid
from srgan.model.config import ReceptiveField, multiply_adds
from srgan.upscale.engine import Engine

SMALLEST_CORE = 16
_SHARES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Body tiles of the whole picture, and the largest window (LR pixels) of the tail inside each."""

    grid: Grid
    tail_pixels: int
    whole: bool
    """The picture goes through in one piece, without a halo."""


def bytes_from_text(text: str) -> int:
    """ "1GB", "500 MB", "1.5GiB", "800000000" -> bytes. Raises UsageError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?\s*", text, re.IGNORECASE)
    if not match:
        raise UsageError(f"memory is a size like 1GB or 500MB, got '{text}'.")
    number, unit, binary = match.groups()
    scale = _UNITS[unit.upper()]
    if binary:
        scale = 1024 ** {1: 0, 10**3: 1, 10**6: 2, 10**9: 3, 10**12: 4}[scale]
    return int(float(number) * scale)


def plan(
    height: int, width: int, engine: Engine, halo: ReceptiveField, memory: int, *, margin: int = 0, copies: int = 1
) -> Plan:
    """The cheapest tiles of a `height` x `width` picture that hold at most `memory` bytes of activations.

    `margin`: LR pixels that each tile computes beyond its core; `copies`: sets of features held at once (1 counts in body_bytes).
    Raises UsageError where not even a core of 16 pixels fits.
    """
    reading = halo.total + margin
    more = 4 * engine.config.width * (copies - 1)
    if copies == 1 and height * width * engine.tail_bytes <= memory:
        return Plan(grid=Grid(1, 1), tail_pixels=height * width, whole=True)
    body_work, tail_work = multiply_adds(engine.config)
    best: tuple[float, Plan] | None = None
    for share in _SHARES:
        window = int(memory * share / (engine.body_bytes + more))
        tail_pixels = int(memory * (1 - share) / engine.tail_bytes)
        tail_side = tail_pixels**0.5 - 2 * (halo.tail + margin)
        grid = cheapest_grid(height, width, reading, window, SMALLEST_CORE)
        if grid is None or tail_side < SMALLEST_CORE:
            continue
        body_cost = _covered(height, grid.rows, reading) * _covered(width, grid.columns, reading)
        cost = body_work * body_cost / (height * width) + tail_work * tail_pixels / tail_side**2
        if best is None or cost < best[0]:
            best = (cost, Plan(grid=grid, tail_pixels=tail_pixels, whole=False))
    if best is None:
        raise UsageError(
            f"--memory {memory / 1e6:g}MB is too little for the smallest tile; "
            f"allow at least {least(engine, halo, margin, copies)}."
        )
    return best[1]


def least(engine: Engine, halo: ReceptiveField, margin: int = 0, copies: int = 1) -> str:
    """A text: memory that a tile with a core of 16 pixels certainly fits into."""
    body = (SMALLEST_CORE * 2 + 2 * (halo.total + margin)) ** 2 * (
        engine.body_bytes + 4 * engine.config.width * (copies - 1)
    )
    tail = (SMALLEST_CORE + 2 * (halo.tail + margin) + 1) ** 2 * engine.tail_bytes
    return f"{max(body / 0.8, tail / 0.2) / 1e6:.0f}MB"


def free_memory() -> int | None:
    """Bytes that this process may still take, of the machine's or its control group's, where known."""
    found = [value for value in (_meminfo(), _control_group()) if value is not None]
    return min(found) if found else None


def _covered(size: int, count: int, halo: int) -> int:
    return min(size + 2 * halo * (count - 1), size * count)


def _meminfo() -> int | None:
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return None
    match = re.search(r"MemAvailable:\s+(\d+) kB", text)
    return int(match[1]) * 1024 if match else None


def _control_group() -> int | None:
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
    except (OSError, ValueError):
        return None
    return None if limit == "max" else max(int(limit) - used, 0)
