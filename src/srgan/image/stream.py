"""Images larger than memory: rectangles out of one file and into another, through scratch files."""

import contextlib
import os
import secrets
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
from numpy.typing import NDArray

from srgan.errors import ImageError
from srgan.fs import check_free_space, printable
from srgan.image import decode
from srgan.image.alpha import REACH, bleed_colour
from srgan.image.encode import check_target, check_writable, fit_metadata, save, write_error
from srgan.image.metadata import Metadata, metadata_of
from srgan.image.source import DEFAULT_LIMITS, Limits, Source, name_of, reason
from srgan.image.symmetry import INVERSE, apply_symmetry, symmetric_box

Shape = tuple[int, int, int]


class Scratch:
    """An array (H, W, C), uint8 or uint16, in a file of raw numbers that close() removes; safe for threads.

    The file is read and written, not mapped: mapped pages count as the process's memory, and a full disk would
    kill the process instead of raising OSError.
    """

    def __init__(self, folder: Path, shape: Shape, dtype: Any) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)
        self.path = folder / f".{secrets.token_hex(6)}.tmp"
        self._file = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        self._start = 0

    def read(self, top: int, left: int, height: int, width: int) -> NDArray[Any]:
        """A copy of the rectangle."""
        array = np.empty((height, width, self.shape[2]), self.dtype)
        for part, offset in self._runs(top, left, array):
            view = part.data.cast("B")
            while view and (count := os.preadv(self._file, [view], offset)):
                view, offset = view[count:], offset + count
        return array

    def write(self, top: int, left: int, array: NDArray[Any]) -> None:
        """Put a rectangle (h, w, C) at its place. Raises OSError when the disk is full."""
        for part, offset in self._runs(top, left, np.ascontiguousarray(array, self.dtype)):
            view = part.data.cast("B")
            while view:
                count = os.pwrite(self._file, view, offset)
                view, offset = view[count:], offset + count

    def _runs(self, top: int, left: int, array: NDArray[Any]) -> list[tuple[NDArray[Any], int]]:
        """Contiguous parts of an array, and their offsets in the file."""
        _, width, channels = self.shape
        pixel = channels * self.dtype.itemsize
        start = self._start + (top * width + left) * pixel
        if left == 0 and array.shape[1] == width:
            return [(array, start)] if array.size else []
        return [(row, start + y * width * pixel) for y, row in enumerate(array) if row.size]

    def close(self) -> None:
        """Close and remove the file; may be called again."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


class ScratchTiff(Scratch):
    """A scratch file that is an uncompressed BigTIFF: libvips reads it strip by strip, but maps a raw file as a whole."""

    def __init__(self, folder: Path, shape: Shape, dtype: Any) -> None:
        import tifffile

        super().__init__(folder, shape, dtype)
        try:
            # Header and a hole of the pixels' size: the strips are contiguous from the offset on.
            place = tifffile.imwrite(
                self.path,
                shape=shape if shape[2] > 1 else shape[:2],
                dtype=self.dtype,
                bigtiff=True,
                photometric="minisblack" if shape[2] < 3 else "rgb",
                planarconfig="contig" if shape[2] > 1 else None,
                extrasamples=["unassalpha"] if shape[2] in (2, 4) else None,
                rowsperstrip=max(1, (1 << 20) // (shape[1] * shape[2] * self.dtype.itemsize)),
                metadata=None,
                software=False,
                returnoffset=True,
            )
            assert place is not None
            self._start = place[0]
        except BaseException:
            self.close()
            raise

    def image(self) -> Any:
        """The pixels for libvips, read once from top to bottom."""
        return pyvips.Image.tiffload(os.fsencode(self.path), access="sequential")


class PixelsInMemory:
    """As `ScratchTiff`, without a file: importing tifffile and writing a file take longer than upscaling a small image."""

    def __init__(self, array: NDArray[Any]) -> None:
        self.shape, self.dtype, self._array = array.shape, array.dtype, array

    def read(self, top: int, left: int, height: int, width: int) -> NDArray[Any]:
        """A view of the rectangle."""
        return self._array[top : top + height, left : left + width]

    def write(self, top: int, left: int, array: NDArray[Any]) -> None:
        """Put a rectangle (h, w, C) at its place."""
        self._array[top : top + array.shape[0], left : left + array.shape[1]] = array

    def image(self) -> Any:
        """The pixels for libvips."""
        return pyvips.Image.new_from_array(self._array)

    def close(self) -> None:
        """Free the memory."""
        self._array = np.empty(0, self.dtype)


class ImageReader(AbstractContextManager["ImageReader"]):
    """An image file, decoded once, of which rectangles are read in any order, from any thread, upright.

    The pixels are kept in memory up to `memory` bytes, or all without the folder `scratch`; else in a raw file there.
    `page`: one of a TIFF's several. `bleed`: colours under transparent pixels are filled. Raises ImageError.
    """

    def __init__(
        self,
        source: Source,
        *,
        scratch: Path | None = None,
        limits: Limits = DEFAULT_LIMITS,
        memory: int = 134_217_728,
        page: int | None = None,
        bleed: bool = True,
    ) -> None:
        page = decode.only_page(source, limits) if page is None else page
        header = decode.open_image(source, limits, page, warn=True)
        image = decode.to_grey_or_rgb(header, source)
        self._bleed = bleed
        self._symmetry = decode.symmetry_of(header)
        stored = image.height, image.width
        self.height, self.width = stored[::-1] if self._symmetry & 4 else stored
        self.channels = 3 if image.bands >= 3 else 1
        self.has_alpha = image.bands in (2, 4)
        self.dtype = np.dtype(np.uint8 if image.format == "uchar" else np.uint16)
        self.metadata = metadata_of(image, source, page)
        self._pixels: Scratch | PixelsInMemory
        shape = (*stored, int(image.bands))
        image = decode.with_timeout(image, limits.seconds)
        try:
            with decode.watched_pixels(header, source):
                if scratch is None or np.prod(shape, dtype=np.int64) * self.dtype.itemsize <= memory:
                    array = np.frombuffer(image.write_to_memory(), self.dtype)
                    self._pixels = PixelsInMemory(array.reshape(shape))
                else:
                    self._pixels = _decode_to_disk(image, source, scratch, shape, self.dtype)
        except pyvips.Error as error:
            raise decode.decode_error(source, error, limits) from None

    def drop_opaque_alpha(self) -> None:
        """Forget alpha where it is opaque everywhere."""
        top, rows = 2 ** (8 * self.dtype.itemsize) - 1, max(1, (1 << 22) // self.width)
        if self.has_alpha:
            starts = range(0, self.height, rows)
            parts = (self.alpha_region(y, 0, min(rows, self.height - y), self.width) for y in starts)
            self.has_alpha = any((part != top).any() for part in parts)

    def _rectangle(self, top: int, left: int, height: int, width: int) -> NDArray[Any]:
        """(h, w, bands) of the upright image."""
        stored = symmetric_box((top, left, height, width), (self.height, self.width), INVERSE[self._symmetry])
        return apply_symmetry(self._pixels.read(*stored), self._symmetry)

    def region(self, top: int, left: int, height: int, width: int) -> NDArray[Any]:
        """Colour (h, w) or (h, w, 3) of a rectangle inside the image."""
        assert 0 <= top <= top + height <= self.height and 0 <= left <= left + width <= self.width
        above, before = min(top, REACH), min(left, REACH)
        if self.has_alpha and self._bleed:
            below = min(top + height + REACH, self.height)
            after = min(left + width + REACH, self.width)
            part = self._rectangle(top - above, left - before, below - top + above, after - left + before)
            part = bleed_colour(part[..., :-1], part[..., -1])[above : above + height, before : before + width]
        else:
            part = self._rectangle(top, left, height, width)
        return np.ascontiguousarray(part[..., :3] if self.channels == 3 else part[..., 0])

    def alpha_region(self, top: int, left: int, height: int, width: int) -> NDArray[Any]:
        """Transparency (h, w) of a rectangle; only where `has_alpha`."""
        assert self.has_alpha
        return np.ascontiguousarray(self._rectangle(top, left, height, width)[..., -1])

    def close(self) -> None:
        """Free the memory or the scratch file."""
        self._pixels.close()

    def __exit__(self, *_: object) -> None:
        self.close()


def _decode_to_disk(image: Any, source: Source, folder: Path, shape: Shape, dtype: np.dtype[Any]) -> Scratch:
    """All pixels of a lazy image in a scratch file. Raises ImageError and pyvips.Error."""
    needed = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    check_free_space(folder, needed, name_of(source), error=ImageError)
    try:
        scratch = Scratch(folder, shape, dtype)
    except OSError as error:
        raise ImageError(f"{printable(folder)} takes no scratch file: {reason(error)}.") from None
    try:
        image.rawsave(os.fsencode(scratch.path), keep=0)
    except BaseException:
        scratch.close()
        raise
    return scratch


class ImageWriter(AbstractContextManager["ImageWriter"]):
    """An image file that is put together from rectangles in any order, from any thread.

    Its raw pixels are kept in memory up to `memory` bytes, else in a scratch file beside it. Format and free disk space
    are checked at once. `finish` encodes and puts the file in its place; leaving the `with` block without it leaves
    nothing behind. Messages call the file `name`, whose suffix is its format. PNG, JPEG and TIFF are encoded in bounded
    memory, WebP and AVIF are not (12 and 22 bytes per pixel). Raises ImageError.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        height: int,
        width: int,
        channels: int,
        dtype: Any,
        name: Path | None = None,
        alpha: bool = False,
        metadata: Metadata = Metadata(),  # noqa: B008  (frozen)
        quality: int | None = None,
        lossless: bool = False,
        memory: int = 1_048_576,
    ) -> None:
        assert channels in (1, 3) and np.dtype(dtype) in (np.uint8, np.uint16)
        self._target = Path(path)
        self._name = name or self._target
        self._alpha = alpha
        check_target(self._name, height=height, width=width, alpha=alpha)
        self._options: dict[str, Any] = {
            "metadata": fit_metadata(self._name, metadata),
            "quality": quality,
            "lossless": lossless,
        }
        shape = (height, width, channels + alpha)
        check_writable(self._name, shape[2], dtype, provenance=None, **self._options)
        # The raw pixels, and as much for a file that does not compress.
        raw = height * width * shape[2] * np.dtype(dtype).itemsize
        check_free_space(self._target.parent, 2 * raw, printable(self._name), error=ImageError)
        self._scratch: ScratchTiff | PixelsInMemory
        if raw <= memory:
            self._scratch = PixelsInMemory(np.zeros(shape, dtype))
            return
        try:
            self._scratch = ScratchTiff(self._target.parent, shape, dtype)
        except OSError as error:
            raise write_error(self._name, error) from None

    def write_box(self, top: int, left: int, pixels: NDArray[Any], alpha: NDArray[Any] | None = None) -> None:
        """Write a rectangle: pixels (h, w) or (h, w, 3); alpha (h, w) exactly where the image has one."""
        part = np.dstack([pixels] if alpha is None else [pixels, alpha])
        assert (alpha is not None) == self._alpha and part.dtype == self._scratch.dtype
        height, width, bands = self._scratch.shape
        assert part.shape[2] == bands and top + part.shape[0] <= height and left + part.shape[1] <= width
        try:
            self._scratch.write(top, left, part)
        except OSError as error:
            raise write_error(self._name, error) from None

    def finish(self, *, provenance: Mapping[str, str] | None = None, overwrite: bool = True) -> None:
        """Encode what was written (black elsewhere), in one pass, and remove the scratch file.

        Without `overwrite` an existing file is an ImageError.
        """
        options = {**self._options, "provenance": provenance, "name": self._name}
        try:
            save(self._scratch.image(), self._target, **options, overwrite=overwrite)
        except (OSError, pyvips.Error) as error:
            raise write_error(self._name, error) from None
        finally:
            self.close()

    def close(self) -> None:
        """Give up: remove the scratch file. Does nothing after `finish`."""
        self._scratch.close()

    def __exit__(self, *_: object) -> None:
        self.close()
