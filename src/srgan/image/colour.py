"""Colour tags of PNG (gAMA, cHRM, cICP), AVIF and HEIC (nclx) as an ICC profile, which every output format holds."""

import dataclasses
import struct
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from srgan.image.png import png_chunks
from srgan.image.source import colour_boxes

SRGB = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
"""Chromaticities x, y of white, red, green and blue. IEC 61966-2-1."""
_PRIMARIES = {
    1: SRGB,
    4: (0.31, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (0.3127, 0.329, 0.64, 0.33, 0.29, 0.6, 0.15, 0.06),
    6: (0.3127, 0.329, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    7: (0.3127, 0.329, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),
    8: (0.31, 0.316, 0.681, 0.319, 0.243, 0.692, 0.145, 0.049),
    9: (0.3127, 0.329, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
    12: (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),
    22: (0.3127, 0.329, 0.63, 0.34, 0.295, 0.605, 0.155, 0.077),
}
"""By ITU-T H.273, table 2: BT.709, NTSC, BT.601, film, BT.2020, DCI-P3, Display P3, EBU; viewers take the others for BT.709."""
_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0, 17: 2.6}
"""By H.273, table 3; viewers show the others with sRGB's curve, BT.709's too."""
HDR = {16: "PQ", 18: "HLG"}
"""H.273's transfer characteristics that no ICC profile of ours describes."""
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50 = np.array([0.9642, 1.0, 0.8249])


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColourTag:
    """What a file says of its colours outside of an ICC profile."""

    chromaticities: tuple[float, ...] = SRGB
    gamma: float | None = None
    """Light is the value to this power; None: sRGB's curve."""
    cicp: bytes | None = None
    """Primaries, transfer, matrix and range of an HDR image, by H.273."""

    def profile(self, *, grey: bool) -> bytes | None:
        """The ICC profile (version 2) with these colours; None for sRGB, for HDR and for impossible numbers."""
        is_srgb = grey or np.allclose(self.chromaticities, SRGB, atol=0.0015)
        if self.cicp or (self.gamma is None and is_srgb):
            return None
        colorants = _xyz_from_rgb(self.chromaticities)
        if colorants is None or (self.gamma is not None and not 0.01 < self.gamma < 100):
            return None
        white, curve = _xyz(_D50), _curve(self.gamma)
        if grey:
            return _icc(b"GRAY", {b"wtpt": white, b"kTRC": curve})
        red, green, blue = (_xyz(column) for column in colorants.T)
        tags = {b"rXYZ": red, b"gXYZ": green, b"bXYZ": blue}
        return _icc(b"RGB ", {b"wtpt": white, **tags, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve})


def colour_tag(file: BinaryIO, kind: str) -> ColourTag | None:
    """The tag of a PNG, an AVIF or a HEIC; None where there is none, or one that an ICC profile outranks."""
    if kind == "PNG":
        return _png_tag(file)
    if kind in ("AVIF", "HEIC"):
        nclx = nclx_of(file)
        return None if nclx is None else _coded(nclx[:2] + b"\0\1")  # decoded: RGB of full range
    return None


def nclx_of(file: BinaryIO) -> bytes | None:
    """Primaries, transfer, matrix, range (a byte each) of an AVIF or a HEIC. ISO/IEC 14496-12, 12.1.5."""
    file.seek(0)
    nclx_boxes = [box for box in colour_boxes(file.read(1 << 20)) if box.startswith(b"nclx") and len(box) == 11]
    return bytes([nclx_boxes[0][5], nclx_boxes[0][7], nclx_boxes[0][9], nclx_boxes[0][10] >> 7]) if nclx_boxes else None


def _png_tag(file: BinaryIO) -> ColourTag | None:
    chunks = {}
    for name, offset, length in png_chunks(file):
        if name in (b"cICP", b"sRGB", b"gAMA", b"cHRM") and length <= 32:
            file.seek(offset)
            chunks[name] = file.read(length)
    if len(chunks.get(b"cICP", b"")) == 4:
        return _coded(chunks[b"cICP"])
    if b"sRGB" in chunks or len(chunks.get(b"gAMA", b"")) != 4:
        return None
    file_gamma = int.from_bytes(chunks[b"gAMA"], "big")
    chrm = chunks.get(b"cHRM", b"")
    return ColourTag(
        gamma=None if abs(file_gamma - 45_455) < 500 else 100_000 / file_gamma if file_gamma else 0.0,
        chromaticities=tuple(part / 100_000 for part in struct.unpack(">8I", chrm)) if len(chrm) == 32 else SRGB,
    )


def _coded(cicp: bytes) -> ColourTag:
    """H.273's code points."""
    if cicp[1] in HDR:
        return ColourTag(cicp=cicp)
    return ColourTag(chromaticities=_PRIMARIES.get(cicp[0], SRGB), gamma=_GAMMAS.get(cicp[1]))


def _xyz_from_rgb(chromaticities: tuple[float, ...]) -> NDArray[Any] | None:
    """XYZ of red, green and blue as columns, adapted to D50 by Bradford; None where they span no space."""
    points = np.reshape(chromaticities, (4, 2))
    if (points[:, 1] < 1e-4).any():
        return None
    xyz = np.stack([points[:, 0] / points[:, 1], np.ones(4), (1 - points.sum(1)) / points[:, 1]])
    white, corners = xyz[:, 0], xyz[:, 1:]
    cones = _BRADFORD @ white
    if abs(np.linalg.det(corners)) < 1e-6 or (np.abs(cones) < 1e-6).any():
        return None
    adapt = np.linalg.inv(_BRADFORD) @ np.diag((_BRADFORD @ _D50) / cones) @ _BRADFORD
    adapted: NDArray[Any] = adapt @ (corners * np.linalg.solve(corners, white))
    return adapted if np.abs(adapted).max() < 100 else None


def _curve(gamma: float | None) -> bytes:
    if gamma is not None:
        return struct.pack(">4s4xIH2x", b"curv", 1, round(gamma * 256))
    value = np.linspace(0, 1, 1024)
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return struct.pack(">4s4xI", b"curv", 1024) + np.round(linear * 65535).astype(">u2").tobytes()


def _xyz(values: NDArray[Any]) -> bytes:
    return struct.pack(">4s4x3i", b"XYZ ", *(round(float(value) * 65536) for value in values))


def _icc(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A display profile. ICC.1:2001-04, sections 6.1 and 6.3."""
    tags = {
        **tags,
        b"desc": struct.pack(">4s4xI", b"desc", 13) + b"colour tags\0\0" + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0\0\0\0",
    }
    table, body, start = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        value += bytes(-len(value) % 4)
        table += struct.pack(">4sII", name, start + len(body), len(value))
        body += value
    head = struct.pack(">I4xI4s4s4s12x4s", start + len(body), 0x02400000, b"mntr", space, b"XYZ ", b"acsp")
    return head.ljust(68, b"\0") + struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D).ljust(60, b"\0") + table + body


def srgb_from_lab(lab: Any) -> Any:
    """16-bit sRGB, with its profile, of a libvips image in CIE Lab, whose white is D50's as in print."""
    return lab.icc_export(output_profile="srgb", intent="relative", depth=16)
