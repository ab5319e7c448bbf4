"""The few public-domain photographs that scikit-image carries: enough to try training with no data at all."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from srgan.errors import missing_extra

TRAINING = ("astronaut.png", "rocket.jpg", "hubble_deep_field.jpg", "coffee.png")
"""NASA's astronaut and Hubble deep field, SpaceX's rocket (CC0), Rachel Michetti's coffee (CC0)."""
VALIDATION = ("chelsea.png",)
"""Stefan van der Walt's cat (CC0)."""


def folder() -> Path:
    """Where scikit-image keeps them. Raises MissingExtra."""
    try:
        return Path(str(resources.files("skimage"))) / "data"
    except ModuleNotFoundError as error:
        raise missing_extra("train", "Training without a data folder uses the pictures of scikit-image and") from error
