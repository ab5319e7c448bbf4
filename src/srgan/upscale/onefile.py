"""One picture from file to file, in three steps so that many can overlap: open, compute, finish."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from srgan.errors import ImageError, UsageError
from srgan.fs import printable
from srgan.image.files import depth_warning
from srgan.image.stream import ImageReader, ImageWriter
from srgan.upscale.job import Progress

if TYPE_CHECKING:
    from srgan.upscale.upscaler import Upscaler


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """How results are written."""

    scale: int = 4
    overwrite: bool = False
    provenance: bool = True
    quality: int | None = None
    lossless: bool = False


class FileJob:
    """A picture's way from `source` to `target`; nothing is left behind unless `finish` ends well."""

    def __init__(self, source: Path, target: Path, options: FileOptions) -> None:
        self.source, self.target, self.options = source, target, options
        self._open = contextlib.ExitStack()
        self._picture: ImageReader | None = None
        self._sink: ImageWriter | None = None
        self._made: dict[str, str] | None = None

    def open(self) -> Self:
        """Decode the input and check that the output can be written. Raises ImageError."""
        if self.target.exists():
            if not self.options.overwrite:
                raise ImageError(f"{printable(self.target)} exists; --overwrite replaces it.")
            if self.source.exists() and self.target.samefile(self.source):
                raise UsageError(f"{printable(self.target)} is the input itself; give another name with -o.")
        try:
            picture = self._open.enter_context(ImageReader(self.source, scratch=self.target.parent))
            sink = ImageWriter(
                self.target,
                height=picture.height * self.options.scale,
                width=picture.width * self.options.scale,
                channels=picture.channels,
                dtype=picture.dtype,
                alpha=picture.has_alpha,
                metadata=picture.metadata,
                quality=self.options.quality,
                lossless=self.options.lossless,
            )
            self._picture, self._sink = picture, self._open.enter_context(sink)
        except BaseException:
            self.close()
            raise
        return self

    def compute(self, upscaler: Upscaler, progress: Progress | None = None) -> None:
        """Upscale, tile by tile, into a raw file beside the output."""
        if self._picture is None or self._sink is None:
            raise AssertionError("compute comes after open")
        scale = self.options.scale
        plan = upscaler.deliver(self._picture, self._sink.write_box, scale=scale, progress=progress)
        if self.options.provenance:
            self._made = upscaler.provenance(plan.grid, scale=scale)
        rounded = depth_warning(self.target, self._picture.dtype)
        if rounded:
            upscaler.notify(f"{printable(self.target)}: {rounded}")

    def finish(self) -> None:
        """Encode, flush to disk, put in place."""
        if self._sink is None:
            raise AssertionError("finish comes after compute")
        with self._open:
            self._sink.finish(provenance=self._made)

    def close(self) -> None:
        """Give up: remove what is not finished."""
        self._open.close()


def upscale_file(
    upscaler: Upscaler, source: Path, target: Path, options: FileOptions, progress: Progress | None = None
) -> None:
    """All three steps."""
    job = FileJob(source, target, options).open()
    try:
        job.compute(upscaler, progress)
        job.finish()
    finally:
        job.close()
