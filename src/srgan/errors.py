"""What a person can cause, in sentences; the command line turns each into its exit code."""

from __future__ import annotations


class SrganError(Exception):
    """Something the user can mend: what, where, got, wanted, what to do, in one or two sentences."""

    exit_code = 2


class UsageError(SrganError):
    """A command was called in a way that makes no sense."""


class SettingsError(SrganError):
    """A settings file or an option is wrong."""


class ImageError(SrganError):
    """A picture cannot be read, is refused or cannot be written."""


class DataError(SrganError):
    """A folder of pictures, a pack or a download is not what it should be."""


class WeightsError(SrganError):
    """A weights file is missing, damaged or belongs to another network."""


class CheckpointError(SrganError):
    """A training run cannot be written or gone on with."""


class MissingExtra(SrganError):
    """An optional part of the package is not installed."""


class Diverged(SrganError):
    """Training left the finite numbers."""

    exit_code = 3


def missing_extra(extra: str, why: str) -> MissingExtra:
    """The error for a missing optional part, naming the commands that bring it.

    `why` completes the sentence "... needs more than the core: `<why>` is not installed".
    """
    return MissingExtra(
        f"{why} needs the optional part '{extra}', which is not installed. "
        f'Install it with: pip install "srgan[{extra}]"   (in a checkout: uv run --extra {extra} srgan ...)'
    )
