"""Mix the four packaged models by `texture` (exact to crisp) and `restore` (clean to restored)."""

import numbers
from functools import cache
from pathlib import Path

from srgan.errors import UsageError
from srgan.model import weights as weights_module
from srgan.model.weights import Weights

CORNERS = ("srresnet", "srgan", "photo", "photo-gan")
"""Exact and crisp for clean images; exact and crisp for compressed and noisy ones."""
AUTO_TEXTURES = (0.8, 0.6)
"""The textures of `auto`: more than the first is further from the truth and looks no more natural (docs/results.md).

The second is for restored images that the first would leave further from the truth than bicubic.
"""
LESS_RESTORE = 0.75
"""The strength for a JPEG of which restoring would take away the image's own halos."""
AUTO_POINTS = {(0.0, AUTO_TEXTURES[0]), (LESS_RESTORE, AUTO_TEXTURES[1]), *((1.0, t) for t in (0.0, *AUTO_TEXTURES))}
"""(restore, texture) of `auto`: their compiled graphs are worth keeping on disk."""


def mixture(restore: float, texture: float) -> Weights:
    """The generator at a point of the square, bilinearly; a corner is the packaged weights themselves."""
    shares = [a * b for a in (1 - restore, restore) for b in (1 - texture, texture)]
    parts = [
        (_corner(weights_module.find_model(name)), share) for name, share in zip(CORNERS, shares, strict=True) if share
    ]
    return weights_module.mix(parts, f"mixture-{restore:g}-{texture:g}")


def is_share(value: object) -> bool:
    """Whether a value can be a texture or a restore: a number from 0 to 1."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and bool(0 <= value <= 1)  # type: ignore[operator]


def check_mixture(model: object, *, texture: object, restore: object, unset: str | None = "auto") -> None:
    """Raise UsageError for a mixture beside a model, and for shares that are neither `unset` nor from 0 to 1."""
    shares = {"texture": texture, "restore": restore}
    chosen = {name: share for name, share in shares.items() if not isinstance(share, str | None) or share != unset}
    if model is not None and chosen:
        raise UsageError("texture and restore mix the packaged models; leave them out, or leave out the model.")
    for name, share in chosen.items():
        if not is_share(share):
            kinds = f"'{unset}' or a number" if unset else "a number"
            raise UsageError(f"{name} is {kinds} from 0 to 1, got {share!r}.")


@cache
def _corner(path: Path) -> Weights:
    return weights_module.read(path)
