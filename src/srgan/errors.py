"""Errors that a person can cause, in sentences, and signals; the command line turns each into its exit code."""

import signal
from collections.abc import Iterable
from pathlib import Path

STOP_SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")  # schedulers warn by the last two
    if hasattr(signal, name)  # Windows has the first two
]
"""What asks a process to end."""


class SrganError(Exception):
    """An error that the user can fix. The message says what, where, got, expected and what to do, in one or two sentences."""

    exit_code = 2


class UsageError(SrganError):
    """A command line or a call makes no sense."""


class SettingsError(SrganError):
    """A settings file or an option is wrong."""


class ImageError(SrganError):
    """An image cannot be read, is refused or cannot be written."""


class GpuLost(SrganError):
    """The GPU that was asked for stopped; no image can be upscaled on it."""


class DataError(SrganError):
    """A folder of images, a pack or a download is missing, damaged or unsuitable."""


class WeightsError(SrganError):
    """A weights file is missing, damaged or belongs to another network."""


class CheckpointError(SrganError):
    """A training run cannot be written or resumed."""


class MissingExtra(SrganError):
    """An optional part of the package is not installed."""


class Diverged(SrganError):
    """Training produced values that are not finite."""

    exit_code = 3


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """What ends a sentence: `Did you mean 'upscale'?`. Up to three names where none is very near; nothing where none is near."""
    from difflib import get_close_matches

    known = list(known)
    near = get_close_matches(name, known, n=1, cutoff=0.8) or get_close_matches(name, known)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


def missing_extra(extra: str, what: str) -> MissingExtra:
    """The error for a missing extra; `what` needs it. Names the command that installs it."""
    checkout = (Path(__file__).parents[2] / "pyproject.toml").is_file()
    command = f"uv sync --inexact --extra {extra}" if checkout else f'pip install "srgan[{extra}]"'
    return MissingExtra(f"{what} needs the extra '{extra}', which is not installed. Install it with: {command}")
