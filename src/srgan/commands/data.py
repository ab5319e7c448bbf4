"""`srgan data fetch | check | pack`."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from srgan import flags
from srgan.errors import UsageError
from srgan.fs import printable

log = logging.getLogger("srgan")

if TYPE_CHECKING:
    from srgan.data.check import Report

USAGE = """usage: srgan data fetch SET... [--to DIR]   download div2k, set5, set14, bsd100, vgg19 or niqe
       srgan data check DIR                show what a folder holds and what is wrong with it
       srgan data pack DIR [-o FILE]       decode the training images once, into one file
`srgan data fetch --help` and so on list the options."""
MAX_LISTED = 20


@dataclass(frozen=True, kw_only=True)
class FetchSettings:
    """Download known sets into a data folder. Downloads resume, retry and are verified by content."""

    sets: flags.Positional[tuple[str, ...]] = ()
    """Names of the sets: div2k (4.3 GB), set5, set14, bsd100, vgg19 (80 MB), niqe."""
    to: Path = Path("data")
    """Data folder. Files that exist are verified and kept."""


@dataclass(frozen=True, kw_only=True)
class CheckSettings:
    """Check a data folder. Exit code 0: usable; 2: damaged, unpaired, or leaking into a test set."""

    folder: flags.Positional[Path]
    """Data folder (with DIV2K/, train/, valid/, Set5/ ...), or any folder of images."""
    minimum: int = 96
    """Smallest shorter side of a training image, in pixels; use the crop size."""
    all: bool = False
    """Show every finding, not only the first 20 of a kind."""


@dataclass(frozen=True, kw_only=True)
class PackSettings:
    """Decode the training images of a folder once, into one file that training maps into memory."""

    folder: flags.Positional[Path]
    """Data folder whose training images are packed."""
    output: Annotated[Path | None, flags.Mark(alias="-o")] = None
    """File to write. Default: srgan.pack in the folder."""
    minimum: int = 96
    """Smallest shorter side of an image, in pixels; smaller images are left out. Use the crop size."""
    workers: int | None = None
    """Threads that decode. Default: one per core."""


def main(argv: list[str]) -> int:
    """Run one of the three and return its exit code. Raises SrganError."""
    commands = {"fetch": _fetch, "check": _check, "pack": _pack}
    if argv and argv[0] in ("-h", "--help"):
        print(USAGE)
        return 0
    if not argv or argv[0] not in commands:
        got = f"'{argv[0]}'" if argv else "nothing"
        raise UsageError(f"srgan data takes fetch, check or pack, got {got}; see srgan data --help.")
    return commands[argv[0]](argv[1:])


def _fetch(argv: list[str]) -> int:
    from srgan.data.fetch import fetch

    settings = flags.parse(FetchSettings, argv, prog="srgan data fetch")
    if not settings.sets:
        raise UsageError("srgan data fetch needs one or more of div2k, set5, set14, bsd100, vgg19, niqe.")
    for name in settings.sets:
        for place in fetch(name.lower(), settings.to):
            print(place)
    return 0


def _check(argv: list[str]) -> int:
    from srgan.data.check import check

    settings = flags.parse(CheckSettings, argv, prog="srgan data check")
    report = check(settings.folder, min_side=settings.minimum)
    print(_table(report, None if settings.all else MAX_LISTED))
    return 0 if report.usable else 2


def _pack(argv: list[str]) -> int:
    from srgan.data.folders import training_pairs
    from srgan.data.packed import pack_images

    settings = flags.parse(PackSettings, argv, prog="srgan data pack")
    target = settings.output or settings.folder / "srgan.pack"
    packed = pack_images(training_pairs(settings.folder), target, min_side=settings.minimum, workers=settings.workers)
    for sentence in packed.skipped:
        log.warning(f"skipped: {sentence}")
    megapixels = float((packed.heights * packed.widths).sum()) / 1e6
    print(
        f"{target}: {len(packed)} images, {megapixels:.1f} megapixels, {len(packed.skipped)} skipped, "
        f"fingerprint {packed.fingerprint[:16]}"
    )
    return 0


def _table(report: Report, max_listed: int | None) -> str:
    """One line for each group, then the findings by kind, then the verdict."""
    # Groups.
    kinds = ("small", "grey", "damaged", "duplicate", "unpaired")
    rows: list[tuple[str, ...]] = [("", "images", "megapixels", *kinds, "LR", "folder")]
    for group in report.groups:
        counts = [str(sum(f.kind == kind for f in group.findings)) for kind in kinds]
        rows.append(
            (group.role, str(len(group.pairs)), f"{group.megapixels:.1f}", *counts, group.lr, str(group.folder))
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *middle, last in rows:
        cells = [cell.rjust(width) for cell, width in zip(middle, widths[1:-1], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells, last]))
    # Findings.
    for kind in dict.fromkeys(finding.kind for finding in report.findings):
        texts = [finding.text for finding in report.findings if finding.kind == kind]
        lines += ["", *(f"{kind}: {printable(text, 1000)}" for text in texts[:max_listed])]
        if max_listed is not None and len(texts) > max_listed:
            lines.append(f"{kind}: and {len(texts) - max_listed} more (--all lists them)")
    # Verdict.
    problems = sum(finding.fatal for finding in report.findings)
    lines += ["", f"not usable: {problems} problem{'s' * (problems > 1)} to fix" if problems else "usable"]
    return "\n".join(lines)
