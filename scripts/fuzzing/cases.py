"""What is mutated, and what srgan is made to do with it."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scripts.fuzzing import bases
from scripts.fuzzing.mutations import mutated

Case = Callable[[int, int], None]
"""(seed, number) -> nothing; raises SrganError where the file is refused."""


def _random(seed: int, kind: int, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, kind, number])


def images(folder: Path) -> Case:
    """Size, pixels, provenance, rectangles, frames, pages; what can be read is written again and must come back the same."""
    from srgan.image import decode, files
    from srgan.image import stream as streaming
    from srgan.image.animation import Animation

    known = bases.images()
    limits = files.Limits(pixels=4_000_000, seconds=5.0)
    path, target = folder / "input", folder / "output"

    def case(seed: int, number: int) -> None:
        random = _random(seed, 0, number)
        chosen = number % len(known)
        path.write_bytes(mutated(known, chosen, random) if number >= len(known) else known[chosen])
        files.result_suffix(path)
        files.read_provenance(path, limits=limits)
        if decode.is_animated(path, limits):
            for frame in Animation(path, limits):
                assert frame.pixels.shape[2] == 3 and 0 <= frame.milliseconds < 1 << 24
            return
        if len(several := decode.pages(path, limits)) > 1:
            for page in several[:10]:
                with streaming.ImageReader(path, limits=limits, page=page) as source:
                    source.metadata.enlarged(4, 4 * source.height, 4 * source.width)
            return
        files.size(path, limits=limits)
        image = files.read_image(path, limits=limits)
        decode.is_lossless(path)
        height, width = image.pixels.shape[:2]
        assert files.size(path, limits=limits) == (height, width)
        with streaming.ImageReader(path, scratch=folder, limits=limits, memory=0 if number % 2 else 1 << 27) as source:
            part = source.region(height // 2, width // 2, height - height // 2, width - width // 2)
            if image.alpha is None:
                assert np.array_equal(part, image.pixels[height // 2 :, width // 2 :])
        suffix = (".png", ".gif", ".tif", ".webp", ".jpg", ".avif")[int(random.integers(6))]
        if (suffix == ".jpg" and image.alpha is not None) or height * width > 250_000:
            suffix = ".png"
        metadata = image.metadata.enlarged(4, 4 * height, 4 * width)
        image = files.Image(pixels=image.pixels, alpha=image.alpha, metadata=metadata)
        data = files.encode_image(image, suffix, provenance={"model": "fuzz"})
        again = files.read_image(files.ImageBytes(data=data, name="written again"))
        if suffix in (".png", ".tif"):
            assert np.array_equal(again.pixels, image.pixels)
        assert again.pixels.shape[:2] == (height, width)
        target.unlink(missing_ok=True)

    return case


def weights(folder: Path) -> Case:
    """Read; what is taken must be finite and fold."""
    from srgan.model import weights as room

    known = bases.weights(folder)
    path = folder / "input"

    def case(seed: int, number: int) -> None:
        random = _random(seed, 1, number)
        data = known[number % len(known)]
        if random.random() < 0.5:
            data = _other_header(data, random)
        path.write_bytes(mutated([data], 0, random) if random.random() < 0.6 else data)
        taken = room.read(path)
        with np.errstate(all="ignore"):
            room.fold_batchnorm(taken)
        assert all(np.isfinite(tensor).all() for tensor in taken.tensors.values())

    return case


_STRANGE: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    2,
    3,
    2**31,
    2**63,
    2**64,
    10**30,
    1.5,
    1e308,
    "",
    "F32",
    "F64",
    "BF16",
    "srgan",
    "\0\x1b[31m",
    "x" * 5000,
    [],
    [0],
    [-1, 4],
    [2**62, 8],
    {},
    {"a": {}},
)


def _other_header(data: bytes, random: np.random.Generator) -> bytes:
    """A safetensors file with a well-formed header that says something else."""
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    config = json.loads(header["__metadata__"]["config"])
    for _ in range(int(random.integers(1, 4))):
        strange = _STRANGE[int(random.integers(len(_STRANGE)))]
        names = list(header)
        entry = header[names[int(random.integers(len(names)))]]
        what = int(random.integers(4))
        if what == 0:
            config[list(config)[int(random.integers(len(config)))]] = strange
            header["__metadata__"]["config"] = json.dumps(config)
        elif what == 1 and isinstance(entry, dict):
            entry[(list(entry) or ["x"])[int(random.integers(max(1, len(entry))))]] = strange
        elif what == 2:
            header.pop(names[int(random.integers(len(names)))])
            header.setdefault("__metadata__", {})
        else:
            header[str(strange)[:20]] = entry
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def settings(folder: Path) -> Case:
    """Read the YAML and fill a run's settings with it."""
    from srgan import config as room
    from srgan.train import recipes

    default = recipes.quick()
    base = room.to_yaml(default)
    path = folder / "input"

    def case(seed: int, number: int) -> None:
        random = _random(seed, 2, number)
        lines = base.splitlines()
        for _ in range(int(random.integers(0, 4))):
            at = int(random.integers(len(lines)))
            name = lines[at].split(":")[0]
            strange = bases.YAML[int(random.integers(len(bases.YAML)))]
            lines[at] = strange if random.random() < 0.3 else f"{name}: {strange}"
        data = "\n".join(lines).encode("utf-8", "surrogatepass")
        path.write_bytes(mutated([data], 0, random) if random.random() < 0.5 else data)
        room.from_mapping(default, room.read_yaml(path), where=str(path))

    return case


KINDS: dict[str, Callable[[Path], Case]] = {"images": images, "weights": weights, "settings": settings}
