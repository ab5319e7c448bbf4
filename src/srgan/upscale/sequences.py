"""Files of several images: the frames of an animation and the pages of a TIFF, each upscaled, into one file again."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from srgan.errors import ImageError
from srgan.fs import printable
from srgan.image.animation import Animation, AnimationWriter, Frame
from srgan.image.source import Source, name_of
from srgan.image.stream import ImageReader, ImageWriter
from srgan.image.tiff_tags import append_page
from srgan.progress import OnProgress
from srgan.upscale.strength import Strength
from srgan.upscale.tiled import ArrayRegions, write_to_array

if TYPE_CHECKING:
    from srgan.upscale.batch import FileOptions
    from srgan.upscale.upscaler import Upscaler


def upscale_animation(
    upscaler: Upscaler,
    animation: Animation,
    file: Source,
    writer: AnimationWriter,
    options: FileOptions,
    progress: OnProgress,
) -> dict[str, str] | None:
    """Upscale each different frame once, all with the strength of the first. Raises ImageError.

    `file`: what the animation is read from. Returns the provenance; None where the engine changed in the middle, as when
    a GPU is lost: then the whole is to be done again.
    """
    height, width = options.scale * animation.height, options.scale * animation.width
    size = animation.height * animation.width
    computed: dict[bytes, int] = {}
    strength: Strength | None = None
    provenance: dict[str, str] = {}
    for number, frame in enumerate(animation):
        alpha = b"" if frame.alpha is None else frame.alpha.tobytes()
        digest = hashlib.sha256(frame.pixels.tobytes() + alpha).digest()
        if digest in computed:
            writer.repeat(computed[digest], frame.milliseconds)
            continue
        larger = Frame(
            pixels=np.empty((height, width, 3), np.uint8),
            alpha=None if frame.alpha is None else np.empty((height, width), np.uint8),
            milliseconds=frame.milliseconds,
        )
        regions = ArrayRegions(frame.pixels, frame.alpha, bleed=options.alpha == "bleed")
        strength = strength or upscaler.strength(regions, file)  # another one for each frame would flicker
        latest = upscaler.upscale_into(
            regions,
            write_to_array(larger.pixels, larger.alpha),
            scale=options.scale,
            strength=strength,
            progress=lambda done, _, before=number: progress(before * size + done, animation.count * size),  # type: ignore[misc]
        )
        if computed and any(latest.get(key) != provenance.get(key) for key in ("engine", "precision")):
            return None
        provenance = provenance or latest
        computed[digest] = writer.add(larger, provenance if options.provenance else None)
    writer.finish()
    return provenance


def upscale_pages(
    upscaler: Upscaler,
    source: Source,
    pages: list[int],
    target: Path,
    options: FileOptions,
    progress: OnProgress,
    *,
    name: Path,
) -> dict[str, str]:
    """Upscale each page of a TIFF by itself, in bounded memory. Raises ImageError.

    `name`: what messages call `target`. Returns what the pages' provenances have in common.
    """
    common: dict[str, str] = {}
    page_file = target.with_suffix(".page.tmp")
    for number, page in enumerate(pages):
        try:
            opened = ImageReader(source, scratch=target.parent, page=page, bleed=options.alpha == "bleed")
        except ImageError as error:
            if not str(error).startswith(name_of(source)):  # about the scratch folder
                raise
            raise ImageError(f"page {page + 1} of {error}") from None
        with opened as reader:
            size = options.scale * reader.height, options.scale * reader.width
            with ImageWriter(
                page_file if number else target,
                name=name,
                height=size[0],
                width=size[1],
                channels=reader.channels,
                dtype=reader.dtype,
                alpha=reader.has_alpha,
                metadata=reader.metadata.enlarged(options.scale, *size),
            ) as writer:
                provenance = upscaler.upscale_into(
                    reader,
                    writer.write_box,
                    scale=options.scale,
                    progress=lambda done, total, before=number: progress(before * total + done, len(pages) * total),  # type: ignore[misc]
                )
                common = dict(common.items() & provenance.items()) if number else provenance
                writer.finish(provenance=provenance if options.provenance else None)
        if number:
            try:
                append_page(target, page_file)
            except (ValueError, KeyError) as error:
                raise ImageError(f"{printable(name)} cannot be written: {error}.") from None
            finally:
                page_file.unlink()
    return common
