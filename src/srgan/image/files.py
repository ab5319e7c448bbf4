"""Read and write one image: 8 or 16 bits, grey or colour, with alpha, orientation and metadata; find images in folders."""

import contextlib
import dataclasses
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
from numpy.typing import NDArray

from srgan.errors import ImageError
from srgan.fs import printable
from srgan.image import decode, pillow
from srgan.image.encode import OUTPUT_SUFFIXES, SUFFIX_OF, encode, fit_metadata, save
from srgan.image.metadata import Metadata
from srgan.image.source import DEFAULT_LIMITS, SUFFIXES, ImageBytes, Limits, Source, format_of, open_bytes
from srgan.image.stream import ImageReader
from srgan.image.xmp import provenance_in

log = logging.getLogger("srgan")

StrPath = str | os.PathLike[str]
_NO_IMAGES = tuple(
    ".csv .htm .html .json .md .pdf .tsv .txt .xml .yaml .yml .pack .pack.json thumbs.db desktop.ini".split()
)
"""Ends of the names of files that lie beside images: notes, packs, an operating system's."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Image:
    """A decoded image, upright: its EXIF orientation has been applied to the pixels and reset."""

    pixels: NDArray[Any]
    """(H, W) grey or (H, W, 3) colour, uint8 or uint16."""
    alpha: NDArray[Any] | None = None
    """(H, W) of the pixels' type, 0 = transparent; not premultiplied."""
    metadata: Metadata = Metadata()  # noqa: RUF009  (frozen)


def _source(path: StrPath | ImageBytes) -> Source:
    return path if isinstance(path, ImageBytes) else Path(path)


def read_image(path: StrPath | ImageBytes, *, limits: Limits = DEFAULT_LIMITS, page: int | None = None) -> Image:
    """The image in a file, at the file's own depth. Raises ImageError for whatever is wrong with the file.

    `page`: one of several; 0 is an animation's first frame too.
    """
    with ImageReader(_source(path), limits=limits, page=page, bleed=False) as reader:
        everything = (0, 0, reader.height, reader.width)
        return Image(
            pixels=reader.region(*everything),
            alpha=reader.alpha_region(*everything) if reader.has_alpha else None,
            metadata=reader.metadata,
        )


def size(path: StrPath | ImageBytes, *, limits: Limits = DEFAULT_LIMITS, readable: bool = False) -> tuple[int, int]:
    """(height, width) of the upright image, from the file's header; of an animation or several pages, of the first.

    `readable`: ImageError for what `read_image` refuses by the header (pages, frames, types of numbers).
    """
    source = _source(path)
    if decode.is_fallback(kind := format_of(source)):
        with pillow.opened(source, kind, limits) as image:
            return int(image.size[1]), int(image.size[0])
    image = decode.open_image(
        source, limits, decode.only_page(source, limits) if readable else decode.pages(source, limits)[0]
    )
    if readable:
        decode.to_grey_or_rgb(image, source)
    return (image.width, image.height) if decode.symmetry_of(image) & 4 else (image.height, image.width)


def result_suffix(path: StrPath | ImageBytes) -> str:
    """The suffix of a result whose format nobody chose: the file's own if it is written, .webp for an animation.

    Else that of its format if it is written, .jpg for HEIC without alpha, .png for others and what cannot be read.
    """
    source = _source(path)
    own = Path(source.name).suffix
    written = own.lower() in OUTPUT_SUFFIXES and own.lower() != ".gif"
    try:
        kind = format_of(source)
        if not decode.is_fallback(kind):
            same = own if written else ".png" if kind == "GIF" else SUFFIX_OF[kind.lower()]
            return ".webp" if decode.is_animated(source, DEFAULT_LIMITS) else same
        with pillow.opened(source, kind, DEFAULT_LIMITS) as image:
            return ".jpg" if kind == "HEIC" and "A" not in image.mode.upper() else ".png"
    except ImageError:
        return own if written else ".png"


def read_array(path: StrPath | ImageBytes, *, limits: Limits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """(H, W) grey or (H, W, 3) colour in 8 bits, without alpha; for data and evaluation."""
    return decode.uint8_from_uint16(read_image(path, limits=limits).pixels)


def read_rgb8(path: StrPath | ImageBytes, *, limits: Limits = DEFAULT_LIMITS) -> NDArray[np.uint8]:
    """(H, W, 3) in 8 bits, grey repeated, without alpha."""
    array = read_array(path, limits=limits)
    return np.repeat(array[..., None], 3, axis=2) if array.ndim == 2 else array


def read_provenance(path: StrPath | ImageBytes, *, limits: Limits = DEFAULT_LIMITS) -> dict[str, str] | None:
    """The provenance that srgan wrote into a file, or None."""
    source = _source(path)
    if decode.is_fallback(kind := format_of(source)):
        return None
    if kind == "GIF":
        with open_bytes(source) as file:
            return provenance_in(file.read(1 << 16))
    return provenance_in(decode.field(decode.open_image(source, limits), "xmp-data"))


def write_image(
    path: StrPath,
    image: Image,
    *,
    quality: int | None = None,
    lossless: bool = False,
    provenance: Mapping[str, str] | None = None,
) -> None:
    """Write the image in the format that the suffix names; a half-written file is never seen.

    `quality` (1 to 100) is for JPEG (95, 4:4:4), WebP (95) and AVIF (90); `lossless` for the latter two.
    16 bits are rounded to what the format keeps: see `depth_warning`. An existing file is replaced. Raises ImageError.
    """
    target = Path(path)
    metadata = fit_metadata(target, image.metadata)
    save(_bands(image), target, metadata=metadata, provenance=provenance, quality=quality, lossless=lossless)


def encode_image(
    image: Image,
    suffix: str,
    *,
    quality: int | None = None,
    lossless: bool = False,
    provenance: Mapping[str, str] | None = None,
) -> bytes:
    """The bytes that `write_image` puts into a file with that suffix (".png", ...)."""
    name = Path(f"image{suffix}")
    metadata = fit_metadata(name, image.metadata)
    raw_bytes = image.pixels.nbytes + (0 if image.alpha is None else image.alpha.nbytes)
    with memory_folder(2 * raw_bytes) as folder:
        path = folder / "image"
        encode(_bands(image), path, name, metadata=metadata, provenance=provenance, quality=quality, lossless=lossless)
        return path.read_bytes()


def _bands(image: Image) -> Any:
    """Pixels and alpha as one libvips image."""
    pixels = np.atleast_3d(image.pixels) if image.alpha is None else np.dstack([image.pixels, image.alpha])
    assert pixels.dtype in (np.uint8, np.uint16) and 1 <= pixels.shape[2] <= 4
    return pyvips.Image.new_from_array(np.ascontiguousarray(pixels))


@contextlib.contextmanager
def memory_folder(needed_bytes: int) -> Iterator[Path]:
    """A temporary folder, in memory where there is room, so that the image touches no disk."""
    in_memory = False
    with contextlib.suppress(OSError):
        in_memory = os.access("/dev/shm", os.W_OK) and shutil.disk_usage("/dev/shm").free > needed_bytes
    with tempfile.TemporaryDirectory(prefix="srgan-", dir="/dev/shm" if in_memory else None) as folder:
        yield Path(folder)


def write_array(path: StrPath, array: NDArray[Any], *, quality: int | None = None) -> None:
    """Write an array (H, W) or (H, W, 3), uint8 or uint16, without metadata."""
    write_image(path, Image(pixels=array), quality=quality)


def find_images(folder: Path, *, recursive: bool = True, exclude: Path | None = None) -> list[Path]:
    """Every image file below a folder, by suffix, sorted by path.

    Links are followed, each folder once. Hidden files and folders, `__MACOSX` and the folder `exclude` are left out.
    A link to nothing is in the list: its reader names it. A subfolder that cannot be opened is logged as a warning.
    """
    return find_images_and_others(folder, recursive=recursive, exclude=exclude)[0]


def find_images_and_others(
    folder: Path, *, recursive: bool = True, exclude: Path | None = None
) -> tuple[list[Path], list[Path]]:
    """The images, as `find_images`, and the files that may be images of other formats: no notes, no system's files."""
    images, others, seen = [], [], {os.path.realpath(exclude)} if exclude else set()
    for here, folders, names in os.walk(folder, followlinks=True, onerror=_warn_unreadable):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        for name in sorted(names):
            path = Path(here, name)
            if name.startswith("."):
                continue
            if path.suffix.lower() in SUFFIXES:
                images.append(path)
            elif not name.lower().endswith(_NO_IMAGES):
                others.append(path)
        folders[:] = sorted(f for f in folders if recursive and not f.startswith((".", "__MACOSX")))
    return sorted(images, key=lambda path: path.relative_to(folder).as_posix()), others


def _warn_unreadable(error: OSError) -> None:
    log.warning("%s cannot be opened (%s); its images are left out.", printable(error.filename), error.strerror)
