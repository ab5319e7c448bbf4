"""`srgan report`: one HTML page about one or more training runs."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from srgan import flags

log = logging.getLogger("srgan")


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """One HTML page, and the same numbers as JSON, about one or more training runs."""

    runs: flags.Positional[tuple[Path, ...]] = ()
    """The runs' folders; several are compared."""
    output: Annotated[Path | None, flags.Mark(alias="-o")] = None
    """The page, .html; its numbers go beside it as .json. Default: report.html in the run's folder or, of several runs, in the folder around the first."""


def main(argv: list[str]) -> int:
    """`srgan report RUN... [-o FILE]`."""
    settings = flags.parse(ReportSettings, argv, prog="srgan report")
    from srgan.report import report

    page = report.write(settings.runs, settings.output)
    log.info(f"{page} and {page.with_suffix('.json').name}")
    return 0
