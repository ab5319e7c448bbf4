"""`srgan evaluate`: the scores of a model, or of a folder of pictures, on test sets."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from srgan.data.folders import Pair, match_results, test_pairs
from srgan.errors import DataError, UsageError
from srgan.evaluate.paper import PROTOCOL
from srgan.evaluate.scoring import Report, SetScores, evaluate, evaluate_pictures
from srgan.evaluate.table import Subject, Table, caveats, document
from srgan.fs import atomic_write
from srgan.image.metrics import bicubic_x4
from srgan.image.niqe import NiqeModel, read_niqe_model

log = logging.getLogger("srgan")

NIQE_FILE = Path("niqe") / "niqe_pris_params.npz"


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """Options of `srgan evaluate`."""

    model: str | None = None
    """Packaged model (srgan, srresnet) or path of a weights file."""
    pictures: Path | None = None
    """Folder of super-resolved images to score instead of a model. With several sets, one subfolder per set."""
    data: Path = Path("data")
    """Folder of the test sets (Set14/image_SRF_4, Set14/HR, ...) and of niqe/."""
    sets: tuple[str, ...] = ("Set5", "Set14", "BSD100")
    """Names of the test sets."""
    json: Path | None = None
    """File for the scores as JSON."""
    engine: Literal["auto", "openvino", "pytorch"] = "auto"
    """Engine that computes. auto: pytorch on a GPU, else openvino."""
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = "fp32"
    """Precision of the computation."""


Scorer = Callable[[str, NiqeModel | None, Report], SetScores]
"""(name of the set, NIQE's model, what is called after each picture) -> the subject's scores."""


def main(argv: Sequence[str]) -> int:
    """Run the command and return its exit code. Errors: SrganError."""
    from srgan import flags

    settings = flags.parse(
        EvaluateSettings, argv, prog="srgan evaluate", description="Score a model, or a folder of images, on test sets."
    )
    _check(settings)
    pairs = {name: test_pairs(settings.data, name) for name in settings.sets}
    niqe_path = settings.data / NIQE_FILE
    niqe_model = read_niqe_model(niqe_path) if niqe_path.exists() else None
    subject, scorer = _of_pictures(settings.pictures, pairs) if settings.pictures else _of_model(settings, pairs)
    print(f"protocol {PROTOCOL}\n{subject.line()}", flush=True)
    results = {name: _scored(name, pairs[name], scorer, niqe_model) for name in pairs}
    if niqe_model is None:
        print(f"\nniqe: its model is not at {niqe_path}; get it by: srgan data fetch niqe")
    if settings.json:
        text = json.dumps(document(subject, results), indent=1, allow_nan=False)
        atomic_write(settings.json, f"{text}\n".encode())
        log.info(f"wrote {settings.json}")
    return 0


def _check(settings: EvaluateSettings) -> None:
    if (settings.model is None) == (settings.pictures is None):
        raise UsageError(
            "srgan evaluate scores one of two things: --model srgan (or srresnet, or a weights file), "
            "or --pictures DIR with super-resolved pictures."
        )
    if not settings.sets:
        raise UsageError("--sets names no test set; give one or more, such as: --sets Set5 Set14 BSD100")
    if not settings.data.is_dir():
        raise DataError(f"there is no data folder {settings.data}; give --data DIR, the one that holds Set5, Set14 ...")
    if settings.json and (settings.json.is_dir() or not settings.json.absolute().parent.is_dir()):
        raise UsageError(f"--json {settings.json} cannot be written: give a file in a folder that exists.")


def _of_model(settings: EvaluateSettings, pairs: Mapping[str, Sequence[Pair]]) -> tuple[Subject, Scorer]:
    from srgan.upscale.upscaler import Upscaler

    upscaler = Upscaler(settings.model or "", engine=settings.engine, precision=settings.precision, notify=log.info)
    said = upscaler.describe()
    subject = Subject(**{key: said[key] for key in ("sha256", "engine", "precision")}, name=said["model"])
    made = [name for name in pairs if any(pair.lr is None for pair in pairs[name])]
    if made:
        log.info(f"{', '.join(made)}: no LR files, the exact bicubic makes them")

    def scorer(name: str, niqe_model: NiqeModel | None, report: Report) -> SetScores:
        return evaluate(upscaler.upscale, pairs[name], niqe_model=niqe_model, report=report)

    return subject, scorer


def _of_pictures(folder: Path, pairs: Mapping[str, Sequence[Pair]]) -> tuple[Subject, Scorer]:
    """A folder's pictures, found before the first is scored; of several sets, in one folder each."""
    homes = {name: folder / name for name in pairs if (folder / name).is_dir()}
    if not homes and len(pairs) == 1:
        homes = dict.fromkeys(pairs, folder)
    missing = [name for name in pairs if name not in homes]
    if missing and folder.is_dir():
        raise DataError(
            f"{folder} has no folder {missing[0]}; say which one set its pictures belong to (--sets Set14), "
            "or put those of each set into a folder of the set's name."
        )
    files = {name: match_results(homes.get(name, folder), pairs[name]) for name in pairs}

    def scorer(name: str, niqe_model: NiqeModel | None, report: Report) -> SetScores:
        return evaluate_pictures(files[name], pairs[name], niqe_model=niqe_model, report=report)

    return Subject(name=str(folder)), scorer


def _scored(
    name: str, pairs: Sequence[Pair], scorer: Scorer, niqe_model: NiqeModel | None
) -> tuple[SetScores, SetScores]:
    """Print a set's table, each row as soon as it is known; the subject's scores and the control's."""
    table = Table(pair.name for pair in pairs)
    print(f"\n{name}, {len(pairs)} pictures\n{table.header()}", flush=True)
    control = evaluate(bicubic_x4, pairs, niqe_model=niqe_model)
    print("\n".join(table.control(name, control.mean)), flush=True)
    ours = scorer(name, niqe_model, lambda title, scores: print(table.row(title, scores), flush=True))
    print("\n".join([*table.conclusion(name, ours.mean), *caveats(name, len(pairs), control.mean)]), flush=True)
    return ours, control
