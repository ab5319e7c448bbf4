"""`srgan export`: write a model in another format, after a comparison with its source."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from srgan import __version__, flags
from srgan.errors import UsageError
from srgan.export import formats, parity
from srgan.export.formats import SUFFIXES
from srgan.fs import atomic_write
from srgan.model import weights
from srgan.model.weights import Weights

log = logging.getLogger("srgan")


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """Options of `srgan export`."""

    model: flags.Positional[str]
    """Packaged model (srgan, srresnet) or path of a weights file."""
    format: Literal["onnx", "openvino", "torch"] = "onnx"
    """onnx writes .onnx; openvino writes .xml and .bin; torch writes a torch.export program, .pt2."""
    output: Annotated[Path | None, flags.Mark(alias="-o")] = None
    """File to write. Default: the model's name with the format's suffix, in the current folder."""
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    """fp16: half the size, slightly less exact. int8: faster; only for openvino and models with int8 ranges."""
    overwrite: bool = False
    """Replace an existing output."""


def main(argv: list[str]) -> int:
    """`srgan export MODEL --format F -o FILE`."""
    about = "Write a model in another format. The result is compared with the model before it is written."
    settings: ExportSettings = flags.parse(ExportSettings, argv, prog="srgan export", description=about)
    source = weights.read(settings.model)
    suffix = SUFFIXES[settings.format]
    target = settings.output or Path(source.name + suffix)
    if target.suffix != suffix:
        raise UsageError(f"-o {target}: the name of a file in the format {settings.format} ends in {suffix}.")
    if target.exists() and not settings.overwrite:
        raise UsageError(f"{target} exists; --overwrite replaces it.")
    export(source, settings, target)
    return 0


def export(source: Weights, settings: ExportSettings, target: Path) -> None:
    """Convert, compare, write. Raises WeightsError, and writes nothing, when the difference is beyond the bounds."""
    from srgan.upscale.int8 import ranges_for

    # Convert and compare.
    int8_ranges = ranges_for(source, weights.find_model(settings.model)) if settings.precision == "int8" else None
    exported = formats.convert(settings.format, source, precision=settings.precision, int8_ranges=int8_ranges)
    differences = parity.compare(exported.run, parity.reference(source))
    parity.check(differences, settings.precision, f"{source.name} in the format {settings.format}")

    # Write.
    larger = f"{source.config.scale}H, {source.config.scale}W"
    metadata = {
        "srgan.version": __version__,
        "srgan.model": source.name,
        "srgan.sha256": source.sha256,
        "srgan.config": json.dumps(vars(source.config), sort_keys=True),
        "srgan.precision": settings.precision,
        "srgan.input": "lr: float32 (N, 3, H, W), RGB, 0..1",
        "srgan.output": f"sr: float32 (N, 3, {larger}), RGB, 0..1, clamped",
        "srgan.difference": json.dumps([vars(d) for d in differences]),
    }
    files = exported.files(target, metadata)
    target.parent.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        atomic_write(path, content)
    size = sum(map(len, files.values())) / 1e6
    compared = "; ".join(map(str, differences))
    log.info(f"{target}: {size:.2f} MB. Difference from the source, in levels of 255: {compared}.")
