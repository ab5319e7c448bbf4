"""`srgan train`: settings from recipe, files and flags; fetch the data; train; score and report."""

import json
import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from srgan import config, flags
from srgan.errors import DataError, UsageError
from srgan.fs import atomic_write
from srgan.train.folder import NETWORK, RunFolder
from srgan.train.recipes import RECIPES
from srgan.train.settings import TrainSettings

log = logging.getLogger("srgan")

TRAINING_SETS = ("div2k", "vgg19", "niqe")
TEST_SETS = {"set5": "Set5", "set14": "Set14", "bsd100": "BSD100"}


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Where settings come from, and work before and after training."""

    config: Path | None = None
    """YAML file of settings, such as a run's settings.yaml; flags win over it."""
    fetch: bool = False
    """First download DIV2K, VGG19, NIQE's model and the test sets into the data folder and check them; at the end score and report. The same command again resumes where it stopped."""
    evaluate: bool = False
    """At the end score both generators on the test sets in the data folder, and write report.html."""
    report: bool = False
    """At the end write report.html (recipe quick does)."""


@dataclass(frozen=True, kw_only=True)
class TrainCommand(TrainSettings):
    """Train SRResNet on pixels, then SRGAN against a discriminator (Ledig et al. 2017)."""

    pipeline: Pipeline = field(default_factory=Pipeline)


def main(argv: list[str]) -> int:
    """Run the command and return its exit code."""
    command = parse_command(argv)  # first: --help and a wrong option need no PyTorch
    settings = TrainSettings(**{group.name: getattr(command, group.name) for group in fields(TrainSettings)})
    from srgan.train.run import train

    folder, pipeline = RunFolder.of(settings), command.pipeline
    if pipeline.fetch:
        _fetch_all(settings)
        settings = config.replace(settings, data=settings.data.root, resume=settings.run.resume or folder.has_run())
    code = train(settings)
    if code == 0 and int(os.environ.get("RANK", "0")) == 0:
        if pipeline.fetch or pipeline.evaluate:
            _evaluate(settings, folder)
        if pipeline.fetch or pipeline.evaluate or pipeline.report:
            from srgan.report import report

            log.info(f"report: {report.write([folder.root])}")
    return code


def parse_command(argv: list[str]) -> TrainCommand:
    """Recipe or (with --resume) the run's own settings, then --config, then flags: the later one wins.

    What a run's settings lack, because an earlier version wrote them, has its default.
    """
    # These decide where the other defaults come from.
    early = flags.Parser("srgan train", add_help=False, allow_abbrev=False)
    for name in ("--recipe", "--config", "--output"):
        early.add_argument(name)
    for name in ("--resume", "--fetch"):
        early.add_argument(name, action="store_true")
    named, _ = early.parse_known_args(argv)
    from_file = config.read_yaml(Path(named.config)) if named.config else {}
    recipe = str(named.recipe or from_file.get("recipe") or "paper")
    if recipe not in RECIPES:
        raise UsageError(f"there is no recipe '{recipe}'; choose one of {', '.join(RECIPES)}.")
    # Recipe and file; or the settings of the run that is resumed, and the file.
    start = config.from_mapping(TrainCommand(), config.to_mapping(RECIPES[recipe]()), where=recipe)
    start = _with_file(start, from_file, named.config)
    folder = RunFolder(Path(named.output)) if named.output else RunFolder.of(start)
    if (named.resume or named.fetch) and folder.settings.exists():
        # Earlier versions kept what this command did beside the training too.
        own = {n: value for n, value in config.read_yaml(folder.settings).items() if n not in Pipeline.__annotations__}
        start = config.from_mapping(TrainCommand(), own, where=str(folder.settings))
        start = _with_file(start, from_file, named.config)
    return flags.parse(TrainCommand, argv, prog="srgan train", start=start)


def _with_file(start: TrainCommand, from_file: Mapping[str, Any], where: str | None) -> TrainCommand:
    """The settings with those of a file; recipe quick ends with its report."""
    return config.from_mapping(start, {"report": start.run.recipe == "quick", **from_file}, where=where or "--config")


def _fetch_all(settings: TrainSettings) -> None:
    """Download DIV2K, VGG19, NIQE's model and the test sets into the data folder, and check it.

    Raises DataError when a download fails, or when the data are damaged, unpaired or leaking.
    """
    from srgan.data.check import check
    from srgan.data.fetch import fetch

    root = settings.data.root
    receipt = root / ".fetch" / "checked.json"
    for name in (*TRAINING_SETS, *TEST_SETS):
        if not (name == "vgg19" and (settings.networks.vgg or settings.losses.content == "mse")):
            fetch(name, root)
    if receipt.exists():
        return
    report = check(root, min_side=settings.data.crop)
    if not report.usable:
        fatal = [finding.text for finding in report.findings if finding.fatal]
        raise DataError(f"{root} cannot be trained on: {'; '.join(fatal[:3])}. `srgan data check {root}` shows all.")
    receipt.parent.mkdir(exist_ok=True)
    atomic_write(receipt, b"{}\n")


def _evaluate(settings: TrainSettings, folder: RunFolder) -> None:
    """Score the run's generators on the test sets in the data folder, into `evaluation.json`; tables on stdout."""
    from srgan.commands import evaluate
    from srgan.data.folders import has_test_set

    root = settings.data.root
    sets = [name for name in TEST_SETS.values() if has_test_set(root, name)]
    if not sets:
        log.warning(
            f"{root} holds no test set ({', '.join(TEST_SETS.values())}): nothing was scored. srgan data fetch set5"
        )
        return
    documents = {}
    with tempfile.TemporaryDirectory(prefix="srgan-") as parts:
        for model in filter(Path.exists, map(folder.best, NETWORK)):
            part = Path(parts, f"{model.stem}.json")
            evaluate.main(["--model", str(model), "--data", str(root), "--sets", *sets, "--json", str(part)])
            documents[model.stem] = json.loads(part.read_text(encoding="utf-8"))
    atomic_write(folder.root / "evaluation.json", f"{json.dumps(documents, indent=1)}\n".encode())
