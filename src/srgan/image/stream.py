"""Pictures larger than memory: rectangles out of one file and into another, through raw scratch files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyvips
from numpy.typing import NDArray

from srgan.errors import ImageError
from srgan.image.alpha import REACH, bleed_colour
from srgan.image.colour import apply_orientation, orientation_of, stored_region, to_grey_or_rgb
from srgan.image.decode import DEFAULT_LIMITS, Limits, decode_error, open_image, shown, vips_reason, with_timeout
from srgan.image.encode import check_target, check_writable, not_written, save
from srgan.image.metadata import Metadata, metadata_of
from srgan.image.scratch import Scratch


class ImageReader:
    """A picture file of which rectangles are read in any order, from any thread, upright."""

    def __init__(self, path: Path, scratch: Path, limits: Limits, memory: int) -> None:
        header = open_image(path, limits)
        image = to_grey_or_rgb(header, path)
        self._orientation = orientation_of(header)
        self._stored = (image.height, image.width)
        turned = self._orientation >= 5
        self.height, self.width = self._stored[::-1] if turned else self._stored
        self.channels = 3 if image.bands >= 3 else 1
        self.has_alpha = image.bands in (2, 4)
        self.dtype = np.dtype(np.uint8 if image.format == "uchar" else np.uint16)
        self.metadata = metadata_of(image, path)
        self._shape = (image.height, image.width, image.bands)
        self._array: NDArray[Any] | None = None
        self._scratch: Scratch | None = None
        image = with_timeout(image, limits.seconds)
        try:
            if np.prod(self._shape, dtype=np.int64) * self.dtype.itemsize <= memory:
                self._array = np.frombuffer(image.write_to_memory(), self.dtype).reshape(self._shape)
            else:
                self._decode_to_disk(image, path, scratch)
        except pyvips.Error as error:
            self.close()
            raise decode_error(path, error, limits) from None
        except BaseException:
            self.close()
            raise

    def _decode_to_disk(self, image: Any, path: Path, folder: Path) -> None:
        _check_space(folder, int(np.prod(self._shape, dtype=np.int64)) * self.dtype.itemsize, path)
        try:
            self._scratch = Scratch(folder, self._shape, self.dtype)
        except OSError as error:
            raise ImageError(f"{shown(folder)} takes no scratch file: {vips_reason(error)}.") from None
        image.rawsave(str(self._scratch.path), keep=0)

    def _rectangle(self, top: int, left: int, height: int, width: int) -> NDArray[Any]:
        """(h, w, bands) of the upright picture."""
        place = stored_region(self._orientation, self._stored, top, left, height, width)
        if self._scratch is not None:
            part = self._scratch.read(*place)
        else:
            assert self._array is not None, "the source is closed"
            y, x, h, w = place
            part = self._array[y : y + h, x : x + w]
        return apply_orientation(part, self._orientation)

    def region(self, top: int, left: int, height: int, width: int) -> NDArray[Any]:
        """Colour (h, w) or (h, w, 3) of a rectangle inside the picture, bled under transparency."""
        assert 0 <= top <= top + height <= self.height and 0 <= left <= left + width <= self.width
        above, before = min(top, REACH), min(left, REACH)
        if self.has_alpha:
            below = min(top + height + REACH, self.height)
            after = min(left + width + REACH, self.width)
            part = self._rectangle(top - above, left - before, below - top + above, after - left + before)
            part = bleed_colour(part[..., :-1], part[..., -1])[above : above + height, before : before + width]
        else:
            part = self._rectangle(top, left, height, width)
        return np.ascontiguousarray(part if self.channels == 3 else part[..., 0])

    def alpha_region(self, top: int, left: int, height: int, width: int) -> NDArray[Any]:
        """Transparency (h, w) of a rectangle; only where `has_alpha`."""
        assert self.has_alpha
        return np.ascontiguousarray(self._rectangle(top, left, height, width)[..., -1])

    def close(self) -> None:
        """Free the memory or the scratch file."""
        self._array = None
        if self._scratch is not None:
            self._scratch.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_reader(
    path: str | os.PathLike[str],
    *,
    scratch: Path,
    limits: Limits = DEFAULT_LIMITS,
    memory: int = 134_217_728,
) -> ImageReader:
    """A picture file to read rectangles from: decoded once, in memory up to `memory` bytes, else on disk.

    `scratch` is the folder for the raw file then. ImageError for whatever is wrong with the picture.
    """
    return ImageReader(Path(path), scratch, limits, memory)


class ImageWriter:
    """A picture file that is put together from rectangles in any order, from any thread.

    Format and free disk space are checked at once. `finish` encodes and puts the file in its place;
    leaving the `with` block without it leaves nothing behind. PNG, JPEG and TIFF are encoded in bounded
    memory, WebP and AVIF are not (12 and 22 bytes a pixel).
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        height: int,
        width: int,
        channels: int,
        dtype: Any,
        alpha: bool = False,
        metadata: Metadata = Metadata(),  # noqa: B008  (frozen)
        provenance: Mapping[str, str] | None = None,
        quality: int | None = None,
        lossless: bool = False,
    ) -> None:
        assert channels in (1, 3) and np.dtype(dtype) in (np.uint8, np.uint16)
        self._target = Path(path)
        self._alpha = alpha
        self._options: dict[str, Any] = {
            "metadata": metadata,
            "provenance": provenance,
            "quality": quality,
            "lossless": lossless,
        }
        check_target(path, height=height, width=width, alpha=alpha)
        shape = (height, width, channels + alpha)
        check_writable(self._target, shape[2], dtype, **self._options)
        raw = height * width * shape[2] * np.dtype(dtype).itemsize
        _check_space(self._target.parent, 2 * raw, self._target)
        try:
            self._scratch = Scratch(self._target.parent, shape, dtype, margin=16)
        except OSError as error:
            raise not_written(self._target, error) from None

    def write_box(self, top: int, left: int, pixels: NDArray[Any], alpha: NDArray[Any] | None = None) -> None:
        """A rectangle: pixels (h, w) or (h, w, 3), with alpha (h, w) exactly where the sink has one."""
        part = pixels[..., None] if pixels.ndim == 2 else pixels
        assert (alpha is not None) == self._alpha and part.dtype == self._scratch.dtype
        if alpha is not None:
            part = np.concatenate([part, alpha[..., None]], axis=2)
        height, width, bands = self._scratch.shape
        assert part.shape[2] == bands and top + part.shape[0] <= height and left + part.shape[1] <= width
        try:
            self._scratch.write(top, left, part)
        except OSError as error:
            raise not_written(self._target, error) from None

    def finish(self, *, provenance: Mapping[str, str] | None = None) -> None:
        """Encode what was put (black where nothing was), in one pass, and remove the scratch file.

        `provenance` replaces what was given at the start.
        """
        if provenance is not None:
            self._options["provenance"] = provenance
        try:
            self._scratch.seal()
            image = pyvips.Image.tiffload(str(self._scratch.path), access="sequential")
            save(image, self._target, **self._options)
        except (OSError, pyvips.Error) as error:
            raise not_written(self._target, error) from None
        finally:
            self.close()

    def close(self) -> None:
        """Give up: remove the scratch file. Nothing happens after `finish`."""
        self._scratch.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_space(folder: Path, wanted: int, path: Path) -> None:
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise ImageError(f"{shown(folder)} cannot be used: {vips_reason(error)}.") from None
    if free < wanted:
        raise ImageError(
            f"{shown(path)} needs up to {wanted / 1e9:.1f} GB in {shown(folder)}, where {free / 1e9:.1f} GB are free."
        )
