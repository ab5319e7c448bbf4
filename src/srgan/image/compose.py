"""Animated GIF, PNG and WebP files: each frame as a still file of its own, and the frames composed as browsers do."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal

import numpy as np
import pyvips
from numpy.typing import NDArray

from srgan.errors import ImageError
from srgan.image.decode import decode_error, field, open_image, to_grey_or_rgb, to_srgb, uint8_from_uint16, with_timeout
from srgan.image.metadata import sound_profile
from srgan.image.png import png_chunk, png_chunks
from srgan.image.source import ImageBytes, Limits, Source, gif_blocks, gif_colours_end, name_of, open_bytes, webp_chunks

Rgba = NDArray[np.uint8]
"""(H, W, 4), not premultiplied."""
Disposal = Literal["keep", "clear", "restore"]
"""What happens to a frame's rectangle before the next frame: it stays, becomes transparent, or what it was before."""


@dataclass(frozen=True, kw_only=True)
class StoredFrame:
    """One frame as an animated file stores it: a rectangle, and what to do with it."""

    still: bytes
    """A file of the same format that holds this rectangle alone."""
    top: int
    left: int
    blend: bool
    """Laid over what is there; else it replaces it."""
    disposal: Disposal
    milliseconds: float


def stored_frames(file: BinaryIO, kind: str) -> Iterator[StoredFrame]:
    """The frames of a GIF, a PNG or a WebP, one in memory at a time; a cut one may be the last."""
    return {"GIF": _gif_frames, "PNG": _png_frames, "WebP": _webp_frames}[kind](file)


def plays(file: BinaryIO, kind: str) -> int:
    """How often a GIF, a PNG or a WebP is played; 0: without end."""
    if kind != "GIF":
        chunks = png_chunks(file) if kind == "PNG" else webp_chunks(file)
        for name, offset, _ in chunks:
            if name in (b"acTL", b"ANIM"):
                file.seek(offset + 4)
                return int.from_bytes(file.read(4), "big") if kind == "PNG" else int.from_bytes(file.read(2), "little")
        return 1
    for block_kind, start, _ in gif_blocks(file):
        if block_kind != b"\x21":
            break
        file.seek(start)
        block = file.read(17)
        if block[:1] == b"\xff" and block[2:13] in (b"NETSCAPE2.0", b"ANIMEXTS1.0"):
            repeats = int.from_bytes(block[15:17], "little")
            return repeats + 1 if repeats else 0
    return 1


def composed(
    source: Source, kind: str, limits: Limits, height: int, width: int, *, cut: int | None
) -> Iterator[tuple[Rgba, float]]:
    """The whole image (height, width, 4) at each frame, and its milliseconds. Raises ImageError.

    `cut`: number of the frame, not the first, that the end of the file may have cut; it is left out if it is damaged.

    The array changes when the next is asked for. GIF89a, section 23; PNG 3rd edition, 11.3.6.2; RFC 9649, 2.7.1.1.
    """
    canvas = np.zeros((height, width, 4), np.uint8)
    with open_bytes(source) as file:
        for number, frame in enumerate(stored_frames(file, kind)):
            try:
                pixels = _decoded(ImageBytes(data=frame.still, name=name_of(source)), limits)
            except ImageError:
                if number == cut:
                    return
                raise
            place = canvas[frame.top : frame.top + pixels.shape[0], frame.left : frame.left + pixels.shape[1]]
            after = place.copy() if frame.disposal == "restore" else 0
            if kind != "GIF" and place.shape != pixels.shape:
                raise ImageError(f"{name_of(source)} is a damaged {kind}: a frame lies outside of the image.")
            pixels = pixels[: place.shape[0], : place.shape[1]]
            place[:] = _over(place, pixels) if frame.blend else pixels
            yield canvas, frame.milliseconds
            if frame.disposal != "keep":
                place[:] = after


def _decoded(still: ImageBytes, limits: Limits) -> Rgba:
    try:
        image = to_grey_or_rgb(open_image(still, limits), still)
        if image.bands < 3 and sound_profile(field(image, "icc-profile-data")):  # frames are colour, its profile is not
            image = to_srgb(image)
        image = image if image.hasalpha() else image.addalpha()
        array = uint8_from_uint16(with_timeout(image, limits.seconds).numpy())
    except pyvips.Error as error:
        raise decode_error(still, error, limits) from None
    return array if array.shape[2] == 4 else array[..., [0, 0, 0, 1]]


def _over(below: Rgba, above: Rgba) -> Rgba:
    """`above` laid over `below`. PNG 3rd edition, 13.16."""
    result = np.where(above[..., 3:] == 255, above, below)
    partly = (above[..., 3] > 0) & (above[..., 3] < 255)
    if partly.any():
        upper, lower = above[partly] / 255, below[partly] / 255
        share = lower[:, 3:] * (1 - upper[:, 3:])
        alpha = upper[:, 3:] + share
        colour = (upper[:, :3] * upper[:, 3:] + lower[:, :3] * share) / alpha
        result[partly] = np.rint(255 * np.concatenate([colour, alpha], axis=1))
    return result


def _gif_frames(file: BinaryIO) -> Iterator[StoredFrame]:
    file.seek(0)
    head = file.read(13)
    colours = file.read(gif_colours_end(head) - 13)
    control = bytes(4)
    for kind, start, end in gif_blocks(file):
        file.seek(start)
        block = file.read(end - start)
        if kind == b"\x21" and block[:1] == b"\xf9" and len(block) >= 6:
            control = block[2:6]
        if kind != b"\x2c" or len(block) < 9:
            continue
        left, top = struct.unpack("<2H", block[:4])
        screen = b"GIF89a" + block[4:8] + head[10:] + colours
        extension = b"\x21\xf9\4" + bytes([control[0] & 1, 0, 0, control[3], 0])
        disposals: dict[int, Disposal] = {2: "clear", 3: "restore", 4: "restore"}
        yield StoredFrame(
            still=screen + extension + b"\x2c" + bytes(4) + block[4:] + b"\x3b",
            top=top,
            left=left,
            blend=True,
            disposal=disposals.get(control[0] >> 2 & 7, "keep"),
            milliseconds=10.0 * int.from_bytes(control[1:3], "little"),
        )
        control = bytes(4)


def _png_frames(file: BinaryIO) -> Iterator[StoredFrame]:
    file.seek(8)
    header, control, name, first = b"", b"", b"", True
    palette: dict[bytes, bytes] = {}
    pixels: list[bytes] = []
    while name != b"IEND":
        head = file.read(8)
        name = head[4:] if len(head) == 8 else b"IEND"
        body = file.read(int.from_bytes(head[:4], "big"))
        file.seek(4, 1)
        if name == b"IHDR":
            header = body
        elif name in (b"PLTE", b"tRNS") or (name == b"iCCP" and header[9:10] in (b"\0", b"\4")):
            palette[name] = png_chunk(name, body)
        elif name in (b"IDAT", b"fdAT") and control:
            pixels.append(body if name == b"IDAT" else body[4:])
        elif name in (b"fcTL", b"IEND"):
            if data := b"".join(pixels):
                yield _png_frame(header, b"".join(palette.values()), control, data, first=first)
                first = False
            control, pixels = body, []


def _png_frame(header: bytes, palette: bytes, control: bytes, pixels: bytes, *, first: bool) -> StoredFrame:
    left, top, delay, unit, disposal, blend = struct.unpack(">IIHHBB", control[12:26].ljust(14, b"\0"))
    parts = png_chunk(b"IHDR", control[4:12] + header[8:]), palette, png_chunk(b"IDAT", pixels), png_chunk(b"IEND", b"")
    disposals: dict[int, Disposal] = {1: "clear", 2: "clear" if first else "restore"}
    return StoredFrame(
        still=b"\x89PNG\r\n\x1a\n" + b"".join(parts),
        top=top,
        left=left,
        blend=blend == 1,
        disposal=disposals.get(disposal, "keep"),
        milliseconds=1000 * delay / (unit or 100),
    )


def _webp_frames(file: BinaryIO) -> Iterator[StoredFrame]:
    """Of a whole file: libvips opens no other."""
    for name, start, length in webp_chunks(file):
        if name != b"ANMF":
            continue
        file.seek(start)
        body = file.read(length)
        left, top, _, _, milliseconds = (int.from_bytes(body[at : at + 3], "little") for at in range(0, 15, 3))
        header = struct.pack("<4sIB3x", b"VP8X", 10, 0x10) + body[6:12]
        yield StoredFrame(
            still=b"RIFF" + struct.pack("<I", len(header) + len(body) - 12) + b"WEBP" + header + body[16:],
            top=2 * top,
            left=2 * left,
            blend=not body[15] & 2,
            disposal="clear" if body[15] & 1 else "keep",
            milliseconds=milliseconds,
        )
