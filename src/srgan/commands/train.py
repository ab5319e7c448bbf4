"""`srgan train`: settings from recipe, files and flags; fetch the data; train; score and report."""

from __future__ import annotations

import argparse
import json
import logging
import shutil
from dataclasses import dataclass, field, fields
from pathlib import Path

from srgan import config, flags
from srgan.errors import DataError, UsageError
from srgan.fs import atomic_write
from srgan.train.folder import RunFolder
from srgan.train.recipes import RECIPES
from srgan.train.settings import TrainSettings

log = logging.getLogger("srgan")

DESCRIPTION = "Train SRResNet on pixels, then SRGAN against a discriminator (Ledig et al. 2017)."
TRAINING_SETS = ("div2k", "vgg19", "niqe")
TEST_SETS = {"set5": "Set5", "set14": "Set14", "bsd100": "BSD100"}


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Work before and after training."""

    fetch: bool = False
    """First download DIV2K, VGG19, NIQE's model and the test sets into the data folder and check them; at the end score and report. The same command again resumes where it stopped."""
    evaluate: bool = False
    """At the end score both generators on the test sets in the data folder, and write report.html."""


@dataclass(frozen=True, kw_only=True)
class TrainCommand(TrainSettings):
    """Options of `srgan train`: the settings of the training, and those of this command alone."""

    pipeline: Pipeline = field(default_factory=Pipeline)


def main(argv: list[str]) -> int:
    """Run the command and return its exit code."""
    command = parse_command(argv)  # first: --help and a wrong option need no PyTorch
    settings = TrainSettings(**{group.name: getattr(command, group.name) for group in fields(TrainSettings)})
    from srgan.train.run import train

    folder = RunFolder(settings.run.output or Path("runs") / settings.run.recipe)
    if command.pipeline.fetch:
        root = _fetch_all(settings)
        settings = config.replace(settings, data=root, resume=settings.run.resume or folder.has_run())
    code = train(settings)
    if code == 0 and (command.pipeline.fetch or command.pipeline.evaluate):
        from srgan.report import report

        _evaluate(settings, folder)
        log.info(f"report: {report.write([folder.root])}")
    return code


def parse_command(argv: list[str]) -> TrainCommand:
    """Recipe, then (with --resume) the run's own settings, then --config, then flags: the later one wins."""
    # These decide where the other defaults come from.
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    early.add_argument("--recipe", default=None)
    early.add_argument("--config", type=Path, default=None)
    early.add_argument("--output", type=Path, default=None)
    early.add_argument("--resume", action="store_true")
    early.add_argument("--fetch", action="store_true")
    named, _ = early.parse_known_args(argv)
    from_file = config.read_yaml(named.config) if named.config else {}
    recipe = str(named.recipe or from_file.get("recipe") or "paper")
    if recipe not in RECIPES:
        raise UsageError(f"there is no recipe '{recipe}'; choose one of {', '.join(RECIPES)}.")
    output = named.output or Path(str(from_file.get("output") or f"runs/{recipe}")).expanduser()
    start = config.from_mapping(TrainCommand(), config.to_mapping(RECIPES[recipe]()), where=recipe)
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


def _fetch_all(settings: TrainSettings) -> Path:
    """Download DIV2K, VGG19, NIQE's model and the test sets into the data folder, check it, and return it.

    Raises DataError when a download fails, or when the data are damaged, unpaired or leaking.
    """
    from srgan.data.check import check
    from srgan.data.fetch import fetch

    root = settings.data.data or Path("data")
    receipt = root / ".fetch" / "checked.json"
    for name in (*TRAINING_SETS, *TEST_SETS):
        if not (name == "vgg19" and (settings.networks.vgg or settings.losses.content == "mse")):
            fetch(name, root)
    if receipt.exists():
        return root
    report = check(root, min_side=settings.data.crop)
    if not report.usable:
        fatal = [finding.text for finding in report.findings if finding.fatal]
        raise DataError(f"{root} cannot be trained on: {'; '.join(fatal[:3])}. `srgan data check {root}` shows all.")
    receipt.parent.mkdir(exist_ok=True)
    atomic_write(receipt, b"{}\n")
    return root


def _evaluate(settings: TrainSettings, folder: RunFolder) -> None:
    """Score the run's generators on the test sets in the data folder, into `evaluation.json`; tables on stdout."""
    from srgan.commands import evaluate

    root = settings.data.data or Path("data")
    sets = [name for name in TEST_SETS.values() if (root / name).is_dir()]
    if not sets:
        return
    parts = folder.root / ".evaluation"
    parts.mkdir(exist_ok=True)
    documents = {}
    for phase in ("pretrain", "adversarial"):
        model = folder.best(phase)
        part = parts / f"{model.stem}.json"
        if model.exists() and not part.exists():
            words = ["--model", str(model), "--data", str(root), "--sets", *sets, "--json", str(part)]
            evaluate.main(words)
        if part.exists():
            documents[model.stem] = json.loads(part.read_text(encoding="utf-8"))
    atomic_write(folder.root / "evaluation.json", f"{json.dumps(documents, indent=1)}\n".encode())
    shutil.rmtree(parts)
