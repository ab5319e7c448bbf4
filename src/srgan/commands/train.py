"""`srgan train`: from settings to a finished run."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from srgan import config, flags
from srgan.errors import UsageError
from srgan.train.recipes import RECIPES
from srgan.train.settings import TrainSettings

log = logging.getLogger("srgan")

DESCRIPTION = "Train SRResNet on pixels, then SRGAN against a discriminator (Ledig et al. 2017)."


def main(argv: list[str]) -> int:
    """Run the command; returns the exit code."""
    settings = settings_from(argv)  # first: --help and a wrong option need no PyTorch
    from srgan.commands import stages
    from srgan.train.folder import RunFolder
    from srgan.train.run import train

    folder = RunFolder(settings.run.output or Path("runs") / settings.run.recipe)
    if settings.run.fetch:
        root = stages.fetch_all(settings)
        resume = settings.run.resume or folder.has_run()
        settings = config.replace(settings, data=root, evaluate=True, resume=resume)
    code = train(settings)
    if code == 0 and settings.run.evaluate:
        from srgan.report import report

        stages.evaluate(settings, folder)
        page = report.write([folder.root])
        log.info(f"report: {page}")
    return code


def settings_from(argv: list[str]) -> TrainSettings:
    """Recipe, then (with --resume) the run's own settings, then --config, then flags: the later one wins."""
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--recipe", default=None)
    early.add_argument("--config", type=Path, default=None)
    early.add_argument("--output", type=Path, default=None)
    early.add_argument("--resume", action="store_true")
    early.add_argument("--fetch", action="store_true")
    named, _ = early.parse_known_args(argv)
    from_file = config.read_yaml(named.config) if named.config else {}
    recipe = named.recipe or from_file.get("recipe") or "paper"
    if recipe not in RECIPES:
        raise UsageError(f"there is no recipe '{recipe}'; choose one of {', '.join(RECIPES)}.")
    start = RECIPES[recipe]()
    output = named.output or Path(str(from_file.get("output") or f"runs/{recipe}"))
    start = config.replace(start, output=output)
    saved = output / "settings.yaml"
    if (named.resume or named.fetch) and saved.exists():
        start = config.from_mapping(start, config.read_yaml(saved), where=str(saved))
    start = config.from_mapping(start, from_file, where=str(named.config))
    return flags.parse(start, _without(argv, "--config"), prog="srgan train", description=DESCRIPTION)


def _without(argv: list[str], option: str) -> list[str]:
    """`argv` without `option VALUE` and `option=VALUE`."""
    kept: list[str] = []
    skip = False
    for word in argv:
        if skip:
            skip = False
        elif word == option:
            skip = True
        elif not word.startswith(f"{option}="):
            kept.append(word)
    return kept
