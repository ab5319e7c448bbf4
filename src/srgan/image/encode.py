"""Encode a libvips image as a file: format by suffix, bounded memory where the format allows it, atomic."""

import dataclasses
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyvips

from srgan.errors import ImageError
from srgan.fs import atomic_path, printable
from srgan.image.colour import HDR
from srgan.image.decode import field, set_up_libvips, to_srgb, uint8_from_uint16
from srgan.image.metadata import Metadata, attach_metadata, complete
from srgan.image.source import reason
from srgan.image.xmp import with_provenance

log = logging.getLogger("srgan")

_EXIF_LIMIT = 65_000
"""Bytes of EXIF that libexif writes (65,533), less room for the tags that it adds."""
_XMP_LIMIT = 65_502
"""Bytes of XMP in a JPEG's one segment."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Format:
    name: str
    saver: str
    depth: int = 16
    """Bits that it keeps of 16."""
    alpha: bool = True
    grey: bool = True
    max_side: int = 2**31 - 1
    max_pixels: int = 2**62
    """Above it, the encoder, which holds the whole image, would need more than about 1.2 GB."""
    quality: int | None = None


_PNG = Format(name="PNG", saver="pngsave")
_JPEG = Format(name="JPEG", saver="jpegsave", depth=8, alpha=False, max_side=65_500, quality=95)
_WEBP = Format(name="WebP", saver="webpsave", depth=8, grey=False, max_side=16_383, max_pixels=100_000_000, quality=95)
_TIFF = Format(name="TIFF", saver="tiffsave")
_AVIF = Format(name="AVIF", saver="heifsave", depth=12, grey=False, max_side=16_384, max_pixels=50_000_000, quality=90)
_GIF = Format(name="GIF", saver="gifsave", depth=8, grey=False, max_side=65_535, max_pixels=50_000_000)
_BY_SUFFIX = {".png": _PNG, ".webp": _WEBP, ".gif": _GIF, ".tif": _TIFF, ".tiff": _TIFF, ".avif": _AVIF}
_BY_SUFFIX |= dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), _JPEG)

OUTPUT_SUFFIXES = tuple(_BY_SUFFIX)
"""Suffixes of the files that can be written."""
SUFFIX_OF = {name: f".{name}" for name in ("png", "jpg", "webp", "avif", "gif")} | {"jpeg": ".jpg", "tiff": ".tif"}
"""Name of a format -> the suffix of a new file."""


def format_at(target: Path) -> Format:
    """The format that the file's suffix names. Raises ImageError."""
    try:
        return _BY_SUFFIX[target.suffix.lower()]
    except KeyError:
        raise ImageError(
            f"{printable(target)} cannot be written: the suffix must be one of {', '.join(OUTPUT_SUFFIXES)}."
        ) from None


def check_target(path: str | os.PathLike[str], *, height: int, width: int, alpha: bool) -> None:
    """Raise ImageError when the file's format cannot hold such an image, or there is no folder for it."""
    target = Path(path)
    form = format_at(target)
    if alpha and not form.alpha:
        raise ImageError(
            f"{printable(target)}: the image has transparency, {form.name} has none. Write PNG, WebP, TIFF or AVIF."
        )
    if max(height, width) > form.max_side or height * width > form.max_pixels:
        limit = f"a side of {form.max_side}" if max(height, width) > form.max_side else f"{form.max_pixels:,} pixels"
        raise ImageError(
            f"{printable(target)}: {width}x{height} is more than {form.name} takes here ({limit}). Write PNG or TIFF."
        )
    if not target.parent.is_dir():
        raise ImageError(f"{printable(target)} cannot be written: there is no folder {printable(target.parent)}.")


def write_error(target: Path, error: Exception) -> ImageError:
    """The error for a file that the system or libvips does not write."""
    return ImageError(f"{printable(target)} cannot be written: {reason(error)}.")


def depth_warning(path: str | os.PathLike[str], dtype: Any) -> str | None:
    """A sentence for the user where the file's format keeps fewer bits than an array of `dtype` has."""
    form = format_at(Path(path))
    if np.dtype(dtype) == np.uint16 and form.depth < 16:
        return f"{form.name} keeps {form.depth} of 16 bits: the values are rounded. PNG and TIFF keep all."
    return None


def fit_metadata(target: Path, metadata: Metadata) -> Metadata:
    """The metadata that the file's format can hold; a warning names the rest."""
    form = format_at(target)
    unsupported = {
        "exif": ("EXIF", form is _GIF or (form not in (_TIFF, _PNG) and len(metadata.exif or b"") > _EXIF_LIMIT)),
        "xmp": ("XMP", form is _JPEG and len(metadata.xmp or b"") > _XMP_LIMIT),
        "iptc": ("IPTC", form not in (_JPEG, _TIFF)),
        "png_text": ("PNG text", form is not _PNG),
        "comments": ("comments", form not in (_JPEG, _GIF, _PNG)),
    }
    dropped = {key: what for key, (what, is_lost) in unsupported.items() if is_lost and getattr(metadata, key)}
    if dropped:
        names = ", ".join(dropped.values())
        log.warning("%s: this %s cannot hold the image's %s.", printable(target), form.name, names)
    if metadata.cicp and form is not _PNG:
        kind = HDR[metadata.cicp[1]]
        log.warning("%s: the image is HDR (%s), which only PNG can say; it will look pale.", printable(target), kind)
        dropped["cicp"] = kind
    return dataclasses.replace(metadata, **{key: getattr(Metadata, key) for key in dropped})


def check_writable(target: Path, bands: int, dtype: Any, **options: Any) -> None:
    """Raise ImageError now for metadata or options, as for `save`, that would stop `save` after hours of work."""
    image = pyvips.Image.black(8, 8, bands=bands).cast("uchar" if np.dtype(dtype) == np.uint8 else "ushort")
    with tempfile.TemporaryDirectory(prefix="srgan-") as folder:
        encode(image, Path(folder, "image"), target, **options)


def save(image: Any, target: Path, *, name: Path | None = None, overwrite: bool = True, **options: Any) -> None:
    """Put the file that `encode` writes at `target`, flushed to disk, in one step. Raises ImageError."""
    name = name or target
    check_target(name, height=image.height, width=image.width, alpha=image.bands in (2, 4))
    try:
        with atomic_path(target, overwrite=overwrite) as path:
            encode(image, path, name, **options)
    except OSError as error:
        raise write_error(name, error) from None


def encode(
    image: Any,
    path: Path,
    name: Path,
    *,
    metadata: Metadata,
    provenance: Mapping[str, str] | None,
    quality: int | None,
    lossless: bool,
) -> None:
    """Write a lazy image of 1 to 4 bands, uchar or ushort, into the file `path`; messages and the format are `name`'s.

    The same image, metadata, provenance and options give the same bytes. Raises ImageError.
    """
    set_up_libvips()
    form = format_at(name)
    check_target(name, height=image.height, width=image.width, alpha=image.bands in (2, 4))
    options = _options(form, image, quality, lossless, name)
    xmp = with_provenance(metadata.xmp, provenance) if provenance else metadata.xmp
    if provenance and metadata.xmp and b"</rdf:RDF>" not in metadata.xmp:
        log.warning("%s: the image's XMP is no RDF; it is left out.", printable(name))
    if form is _JPEG and len(xmp or b"") > _XMP_LIMIT:
        log.warning("%s: its XMP leaves no room for srgan's provenance.", printable(name))
        xmp = metadata.xmp
    metadata = dataclasses.replace(metadata, xmp=xmp)
    # ICC and XMP always, IPTC but in TIFF. Where there is no EXIF, libvips would invent a block; a PNG's is added later.
    keep = 8 | 2 | (0 if form is _TIFF else 4) | (1 if metadata.exif and form is not _PNG else 0)
    try:
        image = _to_format_depth(attach_metadata(_interpreted(image), metadata), form)
        getattr(image, form.saver)(os.fsencode(path), keep=keep, **options)
        complete(path, metadata)
    except (OSError, ValueError, pyvips.Error) as error:
        raise write_error(name, error) from None


def _options(form: Format, image: Any, quality: int | None, lossless: bool, target: Path) -> dict[str, Any]:
    """The saver's options."""
    if quality is not None and not 1 <= quality <= 100:
        raise ImageError(f"{printable(target)}: quality is {quality}; it goes from 1 to 100.")
    is_deep = image.format == "ushort"
    lossy = {} if form.quality is None else {"Q": form.quality if quality is None else quality}
    match form.name:
        case "PNG":
            return {"compression": 6, "filter": "up"}
        case "JPEG":
            return lossy | {"subsample_mode": "off" if lossy["Q"] >= 90 else "auto"}
        case "WebP":
            return {"exact": True} | ({"lossless": True} if lossless else lossy | {"smart_subsample": True})
        case "GIF":
            return {"dither": 1.0, "effort": 7}
        case "TIFF":
            is_big = image.height * image.width * image.bands * (2 if is_deep else 1) > 4_000_000_000
            return {"compression": "deflate", "predictor": "horizontal", "bigtiff": is_big}
        case _:
            mode = {"lossless": True} if lossless else lossy | {"subsample_mode": "off"}
            return mode | {"compression": "av1", "bitdepth": 12 if is_deep else 8, "effort": 2}


def _interpreted(image: Any) -> Any:
    """The image, named grey or RGB by its bands and its depth."""
    grey, colour = {"uchar": ("b-w", "srgb"), "ushort": ("grey16", "rgb16")}[image.format]
    return image.copy(interpretation=colour if image.bands >= 3 else grey)


def _to_format_depth(image: Any, form: Format) -> Any:
    """The image in the depth and the channels that the format has; in sRGB for a GIF, and where grey becomes colour."""
    icc = field(image, "icc-profile-data")
    is_own = icc is not None and icc[16:20] == (b"RGB " if image.bands >= 3 else b"GRAY")
    if is_own and (form is _GIF or (image.bands < 3 and not form.grey)):
        image = to_srgb(image)
    if image.format == "ushort" and form.depth == 8:
        table = uint8_from_uint16(np.arange(65536, dtype=np.uint16))
        image = _interpreted(image.maplut(pyvips.Image.new_from_array(table[None])))
    return image
