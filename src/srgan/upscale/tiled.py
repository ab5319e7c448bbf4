"""An image through an engine, tile by tile: halo, sub-tiles, self-ensemble, scale, depth, grey and alpha."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from srgan.errors import ImageError, SrganError
from srgan.image.alpha import bleed_colour, local_range
from srgan.image.resize import bicubic
from srgan.image.symmetry import INVERSE, apply_symmetry, symmetric_box
from srgan.model.config import ReceptiveField
from srgan.progress import OnProgress
from srgan.upscale.back_projection import REACH, back_project
from srgan.upscale.engine import DeviceLost, Engine, Nchw, OutOfMemory
from srgan.upscale.flat import blend, flat_map, is_grey
from srgan.upscale.tile_plan import BORDER, SMALLEST_TILE, Box, Grid, TilePlan, cheapest_grid, whole

log = logging.getLogger("srgan")

Pixels = NDArray[Any]
WriteBox = Callable[[int, int, Pixels, Pixels | None], None]
"""Takes a finished rectangle of the output, in any order and possibly more than once: top, left, colour or grey, alpha."""
PEAKS = {np.dtype(np.uint8): 255.0, np.dtype(np.uint16): 65535.0, np.dtype(np.float32): 1.0}


class ImageRegions(Protocol):
    """An image that is read in rectangles: uint8, uint16, or float32 in 0..1."""

    @property
    def height(self) -> int: ...

    @property
    def width(self) -> int: ...

    @property
    def has_alpha(self) -> bool: ...

    def region(self, top: int, left: int, height: int, width: int) -> Pixels:
        """(h, w) grey or (h, w, 3), colours under transparent pixels filled if wanted."""

    def alpha_region(self, top: int, left: int, height: int, width: int) -> Pixels:
        """(h, w); only where `has_alpha`."""


@dataclass(frozen=True, kw_only=True)
class TileJob:
    """How the tiles of one image are computed."""

    engine: Engine
    halo: ReceptiveField
    """LR pixels around a tile that its pixels depend on."""
    scale: int
    resize_margin: int
    """LR pixels around a tile that the resize from the model's scale to `scale` reads."""
    trust: float
    """How much of its difference from the input the output gets back (`back_project`)."""
    self_ensemble: bool
    progress: OnProgress

    @property
    def margin(self) -> int:
        """LR pixels that a tile computes beyond its edges."""
        return self.resize_margin + (REACH if self.trust else 0)


def upscale_tiles(job: TileJob, source: ImageRegions, write: WriteBox, plan: TilePlan) -> None:
    """Compute all tiles of `plan`, row by row.

    Where memory runs out even for the smallest tile: raises DeviceLost if it is a GPU's, else SrganError.
    """
    bounds = whole(source.height, source.width)
    job.progress(0, bounds.pixels)
    done = 0
    for tile in plan.grid.tiles(bounds):
        _upscale_tile(job, source, write, tile, plan.tail_pixels, done)
        done += tile.pixels


def _upscale_tile(
    job: TileJob, source: ImageRegions, write: WriteBox, tile: Box, tail_pixels: int, done_before: int
) -> None:
    """Compute one tile; where memory runs out, its halves, from the start."""
    # All sub-tiles, if they fit into memory.
    done = done_before
    try:
        for subtile, sr, alpha in _subtiles(job, source, tile, tail_pixels):
            write(subtile.top * job.scale, subtile.left * job.scale, sr, alpha)
            done += subtile.pixels
            job.progress(done, source.height * source.width)
        return
    except (OutOfMemory, MemoryError) as error:
        size = f"a tile of {tile.height} x {tile.width} pixels"
        minimum = (SMALLEST_TILE + 2 * (job.halo.tail + job.margin)) ** 2
        divisible = max(tile.height, tile.width) >= 2 * SMALLEST_TILE
        if not divisible and tail_pixels <= minimum:
            if isinstance(error, OutOfMemory) and job.engine.device_name is not None:
                raise DeviceLost(f"it has no memory left, even for {size}") from error
            raise SrganError(f"no memory is left, even for {size} ({error}).") from error
        log.warning("out of memory at %s: computing it in smaller parts.", size)
    # Otherwise with half of the memory: each half of the tile, or the tile itself where it is too small to divide.
    job.engine.release()
    for part in tile.halves() if divisible else [tile]:
        _upscale_tile(job, source, write, part, max(tail_pixels // 2, minimum), done_before)
        done_before += part.pixels


def _subtiles(
    job: TileJob, source: ImageRegions, tile: Box, tail_pixels: int
) -> Iterator[tuple[Box, Pixels, Pixels | None]]:
    """The sub-tiles of `tile` (LR boxes), each with its output pixels and alpha."""
    # Read the tile with its halo.
    image = whole(source.height, source.width)
    region = tile.padded(job.halo.total + job.margin, image.grown(BORDER))
    pixels, inner = _mirrored(source.region, region, image), tile.relative_to(region)
    alphas = None
    if source.has_alpha:
        alphas = _alpha_subtiles(job, _mirrored(source.alpha_region, region, image), inner, tail_pixels)
    # Grey stored as colour is computed as grey.
    colour = pixels.ndim == 3
    if colour and is_grey(pixels):
        pixels = pixels[..., 0]
    # Run the network; then flat colours, scale, depth and grey.
    for subtile, sr_unit in _run(job, pixels, inner, tail_pixels, flat=True):
        sr = pixels_from_unit(_to_scale(job, sr_unit, subtile, region), pixels.dtype)
        if colour and sr.ndim == 2:
            sr = np.repeat(sr[..., None], 3, axis=2)
        yield subtile.absolute_in(region), sr, next(alphas) if alphas else None


def _mirrored(read: Callable[[int, int, int, int], Pixels], region: Box, image: Box) -> Pixels:
    """The pixels of `region`; beyond the image's edges they are its mirror image, so that edges are as good as the inside."""
    inner = region.padded(0, image)
    rows = inner.top - region.top, region.bottom - inner.bottom
    columns = inner.left - region.left, region.right - inner.right
    pixels = read(*inner)
    return np.pad(pixels, (rows, columns, (0, 0))[: pixels.ndim], "symmetric") if region != inner else pixels


def _alpha_subtiles(job: TileJob, alpha: Pixels, tile: Box, tail_pixels: int) -> Iterator[Pixels]:
    """Alpha of the same sub-tiles: upscaled as grey, clamped to the range of its 3 x 3 neighbours.

    So fully opaque and fully transparent areas stay so.
    """
    bounds = whole(*alpha.shape)
    for subtile, sr_unit in _run(job, alpha, tile, tail_pixels, flat=False):
        sr_unit = _to_scale(job, sr_unit, subtile, bounds)
        near = subtile.padded(1, bounds)
        low, high = local_range(alpha[near.slices()], job.scale)
        inner = subtile.relative_to(near).scaled(job.scale).slices()
        yield np.clip(pixels_from_unit(sr_unit, alpha.dtype), low[inner], high[inner])


def _to_scale(job: TileJob, sr_unit: Pixels, subtile: Box, region: Box) -> Pixels:
    """Resize from the model's scale, margin included, to the job's scale, without the margin."""
    if not job.resize_margin:
        return sr_unit
    padded = subtile.padded(job.resize_margin, whole(region.height, region.width))
    resized = np.clip(bicubic(sr_unit, padded.height * job.scale, padded.width * job.scale), 0.0, 1.0)
    inner: Pixels = resized[subtile.relative_to(padded).scaled(job.scale).slices()]
    return inner


def _run(job: TileJob, pixels: Pixels, tile: Box, tail_pixels: int, *, flat: bool) -> Iterator[tuple[Box, Pixels]]:
    """The sub-tiles of `tile` with the network's result at its own scale, `job.resize_margin` wider, in 0..1."""
    lr_unit, region = lr_unit_from_pixels(pixels), whole(*pixels.shape[:2])
    run = run_tile_ensemble if job.self_ensemble else run_tile
    weights = flat_map(pixels) if flat else None
    for subtile, sr_signed in run(job.engine, lr_unit, tile, job.halo, tail_pixels, job.margin):
        if pixels.ndim == 2:
            sr_signed = sr_signed.mean(axis=1, dtype=np.float32, keepdims=True)
        channels, box = sr_signed.shape[1], subtile.padded(job.resize_margin, region)
        if job.trust:
            computed = subtile.padded(job.margin, region)
            back_project(sr_signed, lr_unit[:, :channels, *computed.slices()], job.trust)
            sr_signed = sr_signed[:, :, *box.relative_to(computed).scaled(job.engine.config.scale).slices()]
        if weights is not None:
            blend(sr_signed, lr_unit[:, :channels], weights, box)
        yield subtile, unit_from_signed(sr_signed)


def run_tile(
    engine: Engine, lr_unit: Nchw, tile: Box, halo: ReceptiveField, tail_pixels: int, margin: int = 0
) -> Iterator[tuple[Box, Nchw]]:
    """The sub-tiles of `tile` with their sr_signed (1, 3, s*h, s*w), `margin` LR pixels wider on each side.

    `lr_unit` is a region of the image, with its border, and `tile` lies in it, at least `halo.total + margin` pixels
    from each edge of the region that is not an edge of the image, and at least `margin` from those that are.
    `tail_pixels`: largest input of the network's tail.
    """
    region = whole(*lr_unit.shape[2:])
    # The whole image with its border, if it fits: one call.
    if region.pixels <= tail_pixels and tile.padded(BORDER, region) == region:
        rows, columns = tile.padded(margin, region).scaled(engine.config.scale).slices()
        yield tile, engine.run(lr_unit)[:, :, rows, columns]
        return
    # The network's body once, its tail in columns of strips.
    features, scale = engine.body(lr_unit), engine.config.scale
    output = tile.padded(margin, region)
    grid = cheapest_grid(output.height, tile.width, halo.tail, tail_pixels, 1, margin)
    assert grid is not None, f"plan_tiles allows no tail of {tail_pixels} pixels for {tile}"
    for column in Grid(1, grid.columns).tiles(tile):
        top, above = tile.top, None
        for strip in Grid(grid.rows, 1).tiles(column.padded(margin, region)):
            padded = strip.padded(halo.tail, region)
            rows, columns = padded.slices()
            sr_signed = engine.tail(features[:, :, rows, columns])
            # Undo the halo of the strip, and put the rows that its margin shares with the one above on top.
            rows, columns = strip.relative_to(padded).scaled(scale).slices()
            sr_signed = sr_signed[:, :, rows, columns]
            if above is not None:
                sr_signed = np.concatenate([above, sr_signed], axis=2)
            above = sr_signed[:, :, -2 * margin * scale :].copy() if margin else None
            bottom = strip.bottom - margin
            if bottom > top:
                yield Box(top, column.left, bottom - top, column.width), sr_signed
                top = bottom


def run_tile_ensemble(
    engine: Engine, lr_unit: Nchw, tile: Box, halo: ReceptiveField, tail_pixels: int, margin: int = 0
) -> Iterator[tuple[Box, Nchw]]:
    """As `run_tile`, in one sub-tile: the mean over the eight flips and turns of the region (self-ensemble)."""
    scale, region = engine.config.scale, whole(*lr_unit.shape[2:])
    output = tile.padded(margin, region)
    total = np.zeros((1, 3, scale * output.height, scale * output.width), np.float32)
    for symmetry in range(8):
        flipped, inverse = apply_symmetry(lr_unit, symmetry, axis=2), INVERSE[symmetry]
        flipped_box = Box(*symmetric_box(output, lr_unit.shape[2:], symmetry))
        for subtile, sr_signed in run_tile(engine, flipped, flipped_box, halo, tail_pixels):
            box = Box(*symmetric_box(subtile, flipped.shape[2:], inverse)).relative_to(output).scaled(scale)
            rows, columns = box.slices()
            total[:, :, rows, columns] += apply_symmetry(sr_signed, inverse, axis=2)
    total /= 8
    yield tile, total


class ArrayRegions:
    """`ImageRegions` of arrays (H, W[, 3]) and alpha (H, W); `bleed`: colours under transparent pixels are filled."""

    def __init__(self, pixels: Pixels, alpha: Pixels | None = None, *, bleed: bool = True) -> None:
        self.height, self.width = int(pixels.shape[0]), int(pixels.shape[1])
        self.has_alpha = alpha is not None
        self._pixels = _bleed_any_depth(pixels, alpha) if alpha is not None and bleed else pixels
        self._alpha = alpha

    def region(self, top: int, left: int, height: int, width: int) -> Pixels:
        """(h, w) or (h, w, 3), a view."""
        return self._pixels[top : top + height, left : left + width]

    def alpha_region(self, top: int, left: int, height: int, width: int) -> Pixels:
        """(h, w), a view."""
        assert self._alpha is not None
        return self._alpha[top : top + height, left : left + width]


def write_to_array(pixels: Pixels, alpha: Pixels | None = None) -> WriteBox:
    """A `WriteBox` that fills arrays (H, W[, 3]) and (H, W)."""

    def write(top: int, left: int, box: Pixels, box_alpha: Pixels | None = None) -> None:
        place = slice(top, top + box.shape[0]), slice(left, left + box.shape[1])
        pixels[place] = box
        if alpha is not None:
            alpha[place] = box_alpha

    return write


def _bleed_any_depth(pixels: Pixels, alpha: Pixels) -> Pixels:
    """`bleed_colour`, which computes in integers, also for float32 in 0..1."""
    if pixels.dtype != np.float32:
        return bleed_colour(pixels, alpha)
    filled = bleed_colour(np.rint(pixels * 65535).astype(np.uint16), np.ceil(alpha * 65535).astype(np.uint16))
    visible = (alpha > 0) if pixels.ndim == 2 else (alpha > 0)[..., None]
    return np.where(visible, pixels, filled.astype(np.float32) / np.float32(65535))


def check_pixels(pixels: Pixels) -> None:
    """Raise ImageError unless (H, W) or (H, W, 3|4) of uint8, uint16, or float32 in 0..1."""
    if not isinstance(pixels, np.ndarray):
        raise ImageError(f"an image is a NumPy array or a path, got {type(pixels).__name__}.")
    if pixels.dtype not in PEAKS:
        raise ImageError(f"an image's values are uint8, uint16 or float32 in 0..1, got {pixels.dtype}.")
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)) or 0 in pixels.shape:
        raise ImageError(f"an image's shape is (H, W), (H, W, 3) or (H, W, 4), got {pixels.shape}.")
    if pixels.dtype == np.float32:
        low, high = float(pixels.min()), float(pixels.max())
        if not (low >= 0.0 and high <= 1.0):
            raise ImageError(f"a float32 image's values are in 0..1, got {low:g} to {high:g}.")


def lr_unit_from_pixels(pixels: Pixels) -> Nchw:
    """(h, w) or (h, w, 3) of any depth -> lr_unit (1, 3, h, w); grey is repeated."""
    unit = np.multiply(pixels, np.float32(1.0 / PEAKS[pixels.dtype]), dtype=np.float32)
    if unit.ndim == 2:
        return np.broadcast_to(unit, (1, 3, *unit.shape))
    return np.ascontiguousarray(unit.transpose(2, 0, 1))[None]


def unit_from_signed(sr_signed: Nchw) -> Pixels:
    """(1, 3, h, w) or (1, 1, h, w) in about -1..1 -> (h, w, 3) or (h, w) in 0..1, clamped."""
    unit = (sr_signed[0, 0] if sr_signed.shape[1] == 1 else sr_signed[0].transpose(1, 2, 0)) * np.float32(0.5)
    unit += np.float32(0.5)
    clamped: Pixels = np.clip(unit, 0.0, 1.0, out=unit)
    return clamped


def pixels_from_unit(unit: Pixels, dtype: np.dtype[Any]) -> Pixels:
    """0..1 -> uint8 or uint16 rounded half up, or float32 unchanged."""
    if dtype == np.float32:
        return np.ascontiguousarray(unit)
    scaled = unit * np.float32(PEAKS[dtype])
    scaled += np.float32(0.5)
    return np.ascontiguousarray(scaled.astype(dtype))
