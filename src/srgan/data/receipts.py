"""A note that a set was verified, so that the next call need not do it again."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

from srgan.image.files import find_images


def _listing(places: list[Path]) -> str:
    """A hash over the names and sizes of all files of a set."""
    total = hashlib.sha256()
    for place in places:
        for path in find_images(place) if place.is_dir() else [place]:
            total.update(f"{path.name} {path.stat().st_size}\n".encode())
    return total.hexdigest()


def verified(places: list[Path], receipt: Path) -> bool:
    """Whether a set was verified once and has the same files since."""
    if not receipt.exists() or not all(place.exists() for place in places):
        return False
    return bool(json.loads(receipt.read_text()).get("listing") == _listing(places))


def remember(places: list[Path], receipt: Path) -> None:
    """Spare the next call the work; where the folder is read-only it is done again."""
    with contextlib.suppress(OSError):
        receipt.parent.mkdir(parents=True, exist_ok=True)
        receipt.write_text(json.dumps({"listing": _listing(places)}))
