"""What comes before and after training in one command: fetch and check the data; score on the test sets.

Each stage leaves what it has done on disk and begins again where it stopped.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from srgan.commands import evaluate as evaluate_command
from srgan.data.check import check
from srgan.data.fetch import fetch
from srgan.errors import DataError
from srgan.fs import atomic_write
from srgan.train.folder import RunFolder
from srgan.train.settings import TrainSettings

TRAINING_SETS = ("div2k", "vgg19", "niqe")
TEST_SETS = {"set5": "Set5", "set14": "Set14", "bsd100": "BSD100"}


def fetch_all(settings: TrainSettings) -> Path:
    """Bring DIV2K, VGG19, NIQE's model and the test sets below the data folder, then check it; the folder.

    Errors: DataError where something cannot be fetched, or is damaged, unpaired or leaking afterwards.
    """
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
        raise DataError(f"{root} is not fit to train on: {'; '.join(fatal[:3])}. `srgan data check {root}` tells all.")
    receipt.parent.mkdir(exist_ok=True)
    atomic_write(receipt, b"{}\n")
    return root


def evaluate(settings: TrainSettings, folder: RunFolder) -> None:
    """Score the run's generators on the test sets below the data folder, into `evaluation.json`; tables on stdout."""
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
            evaluate_command.main(words)
        if part.exists():
            documents[model.stem] = json.loads(part.read_text(encoding="utf-8"))
    atomic_write(folder.root / "evaluation.json", f"{json.dumps(documents, indent=1)}\n".encode())
    shutil.rmtree(parts)
