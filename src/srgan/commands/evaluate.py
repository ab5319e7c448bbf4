"""`srgan evaluate`: the scores of a model, or of a folder of images, on test sets."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from srgan import flags
from srgan.data.folders import TEST_SETS, set_name_of, test_pairs, warn_unread
from srgan.data.pairs import Pair, match_results
from srgan.errors import DataError, UsageError
from srgan.evaluate import table
from srgan.evaluate.scoring import Image, SetScores, evaluate, evaluate_images, scorable
from srgan.evaluate.table import Table
from srgan.fs import atomic_write
from srgan.image.files import read_array
from srgan.image.metrics import NiqeModel, bicubic_x4, read_niqe_model
from srgan.image.source import ImageBytes
from srgan.upscale.engine import EngineName, Precision

log = logging.getLogger("srgan")

NIQE_FILE = Path("niqe") / "niqe_pris_params.npz"
Scorer = Callable[..., SetScores]
"""`evaluate` or `evaluate_images`, with all arguments but the pairs, NIQE's model and what to call after each image."""


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """Score a model, or a folder of images, on test sets."""

    model: str | None = None
    """Packaged model (srgan, srresnet, photo, photo-gan) or path of a weights file. Default: the mixture that fits each image, as in `srgan upscale`."""
    texture: float | Literal["auto"] = "auto"
    """Without --model: from 0 (exact) to 1 (crisp)."""
    restore: float | Literal["auto"] = "auto"
    """Without --model: from 0 (clean images) to 1 (strong compression or noise). auto: what each image needs."""
    jpeg: int | None = None
    """Quality, 1 to 100, of a JPEG (4:2:0) that every LR image goes through first, for the bicubic too."""
    pictures: Path | None = None
    """Folder of super-resolved images to score instead of a model. With several sets, one subfolder per set."""
    data: Path = Path("data")
    """Folder of the test sets (Set14/image_SRF_4, Set14/HR, ...) and of niqe/."""
    sets: tuple[str, ...] = ("Set5", "Set14", "BSD100")
    """Names of the test sets."""
    json: Path | None = None
    """File for the scores as JSON."""
    engine: EngineName = "auto"
    """Engine that computes. auto: as in `srgan upscale`."""
    precision: Precision = "fp32"
    """Precision of the computation."""


def main(argv: Sequence[str]) -> int:
    """`srgan evaluate --model M --data DIR --sets ...`."""
    settings = flags.parse(EvaluateSettings, argv, prog="srgan evaluate")
    _check(settings)

    # Find every file before the first image is scored.
    in_sets: dict[str, list[Pair]] = {}
    for name in map(set_name_of, settings.sets):
        if (found := test_pairs(settings.data, name)) not in in_sets.values():  # another spelling of the same folder
            in_sets[name] = found
    pairs = {name: scorable(found) for name, found in in_sets.items()}
    for folder in dict.fromkeys(pair.hr.parent for each in pairs.values() for pair in each):
        warn_unread(folder, recursive=False)
    niqe_path = settings.data / NIQE_FILE
    niqe_model = read_niqe_model(niqe_path) if niqe_path.exists() else None
    model, scorers = _images(settings.pictures, pairs) if settings.pictures else _model(settings, pairs)

    # Score.
    knobs = f" (texture {model['texture']}, restore {model['restore']})" if "texture" in model else ""
    kind = "images {name}" if settings.pictures else "model {name}{knobs}, sha256 {sha256:.16}, {engine} {precision}"
    print(f"protocol {table.PROTOCOL}\n{kind.format(**model, knobs=knobs)}", flush=True)
    scores = {name: _score_set(name, pairs[name], scorers[name], niqe_model, settings.jpeg) for name in pairs}
    if niqe_model is None:
        print(f"\nniqe: its model is not at {niqe_path}; get it by: srgan data fetch niqe")
    if settings.json:
        text = json.dumps(table.to_json(model, scores, jpeg=settings.jpeg), indent=1, allow_nan=False)
        atomic_write(settings.json, f"{text}\n".encode())
        log.info(f"wrote {settings.json}")
    return 0


def _check(settings: EvaluateSettings) -> None:
    if settings.pictures is not None and (settings.model is not None or settings.jpeg is not None):
        raise UsageError("--pictures scores images as they are, without --model or --jpeg; leave one of them out.")
    if settings.jpeg is not None and not 1 <= settings.jpeg <= 100:
        raise UsageError(f"--jpeg is a quality from 1 to 100, got {settings.jpeg}.")
    if not settings.sets:
        raise UsageError("--sets names no test set; give one or more, such as: --sets Set5 Set14 BSD100")
    if not settings.data.is_dir():
        fetch = " ".join(name.lower() for name in settings.sets if name in TEST_SETS) or "set5"
        raise DataError(
            f"there is no data folder {settings.data}; give --data DIR, the one that holds {', '.join(settings.sets)}, or "
            f"run: srgan data fetch {fetch}"
        )
    flags.check_json(settings.json)


def _model(settings: EvaluateSettings, pairs: Mapping[str, Sequence[Pair]]) -> tuple[dict[str, Any], dict[str, Scorer]]:
    """What scores each set, and how the JSON names it."""
    from srgan.upscale.upscaler import Upscaler

    arguments: dict[str, Any] = {
        name: getattr(settings, name) for name in ("model", "texture", "restore", "engine", "precision")
    }
    upscaler = Upscaler(**arguments)
    about = upscaler.describe()
    model = {"name": about["model"], **{key: about[key] for key in ("sha256", "engine", "precision")}}
    model |= {key: about[key] for key in ("texture", "restore") if key in about}
    without_lr = [name for name in pairs if any(pair.lr is None for pair in pairs[name])]
    if without_lr:
        log.info(f"{', '.join(without_lr)}: no LR files, the exact bicubic makes them")
    return model, dict.fromkeys(pairs, partial(evaluate, upscaler.upscale, jpeg=settings.jpeg))


def _images(folder: Path, pairs: Mapping[str, Sequence[Pair]]) -> tuple[dict[str, Any], dict[str, Scorer]]:
    """A folder of images; for several sets, it has a folder for each."""
    folders = {name: folder / name for name in pairs if (folder / name).is_dir()}
    if not folders and len(pairs) == 1:
        folders = dict.fromkeys(pairs, folder)
    missing = [name for name in pairs if name not in folders]
    if missing and folder.is_dir():
        raise DataError(
            f"{folder} has no folder {missing[0]}; say which one set its images belong to (--sets Set14), "
            "or put those of each set into a folder of the set's name."
        )
    files = {name: match_results(folders.get(name, folder), pairs[name]) for name in pairs}
    model = {"name": str(folder), "sha256": None, "engine": None, "precision": None}
    return model, {name: partial(evaluate_images, files[name]) for name in pairs}


def _score_set(
    name: str, pairs: Sequence[Pair], scorer: Scorer, niqe_model: NiqeModel | None, jpeg: int | None
) -> tuple[SetScores, SetScores]:
    """Print a set's table, each row as soon as it is known; returns our scores and the bicubic control's."""
    rows = Table((pair.name for pair in pairs), paper=jpeg is None)
    through = "" if jpeg is None else f", through JPEG of quality {jpeg}"
    images = "1 image" if len(pairs) == 1 else f"{len(pairs)} images"
    print(f"\n{name}, {images}{through}\n{rows.header()}", flush=True)
    bicubic = evaluate(_bicubic, pairs, niqe_model=niqe_model, jpeg=jpeg)
    print("\n".join(rows.bicubic_rows(name, bicubic.mean)), flush=True)
    ours = scorer(pairs, niqe_model=niqe_model, on_image=lambda *row: print(rows.row(*row), flush=True))
    warnings = table.warnings(name, len(pairs), bicubic.mean) if jpeg is None else []
    print("\n".join([*rows.mean_rows(name, ours.mean), *warnings]), flush=True)
    return ours, bicubic


def _bicubic(lr: Image | ImageBytes) -> Image:
    return bicubic_x4(read_array(lr) if isinstance(lr, ImageBytes) else lr)
