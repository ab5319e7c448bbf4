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
from srgan.export.formats import SUFFIXES, Format
from srgan.fs import atomic_write
from srgan.model import weights
from srgan.model.weights import Weights
from srgan.upscale.mixture import mixture

log = logging.getLogger("srgan")


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """Options of `srgan export`."""

    model: flags.Positional[str | None] = None
    """Packaged model (srgan, srresnet, photo, photo-gan) or path of a weights file. Or leave it out and give --texture or --restore."""
    format: Format = "onnx"
    """onnx writes .onnx; openvino writes .xml and .bin; ncnn writes .param and .bin for upscayl, chaiNNer and Real-ESRGAN-ncnn-vulkan; torch writes a torch.export program, .pt2."""
    output: Annotated[Path | None, flags.Mark(alias="-o")] = None
    """File to write, or a folder (one that exists, or a name without an ending). Default: the model's name with the format's suffix (ncnn: with -x4 before it), in the current folder."""
    texture: float | None = None
    """Of a mixture of the packaged models, as `srgan upscale` makes it: 0 (exact) to 1 (crisp; the default beside --restore)."""
    restore: float | None = None
    """Of a mixture: how much compression and noise to take away, 0 (the default beside --texture) to 1."""
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    """fp16: half the size, slightly less exact. int8: faster; only for openvino and models with int8 ranges."""
    overwrite: bool = False
    """Replace an existing output."""


def main(argv: list[str]) -> int:
    """`srgan export MODEL --format F -o FILE`."""
    about = "Write a model in another format. The result is compared with the model before it is written."
    settings: ExportSettings = flags.parse(ExportSettings, argv, prog="srgan export", description=about)
    source = _source(settings)
    target = _target(settings, source)
    for path in (target.with_suffix(suffix) for suffix in SUFFIXES[settings.format]):
        if path.exists() and not settings.overwrite:
            raise UsageError(f"{path} exists; --overwrite replaces it.")
    export(source, settings, target)
    return 0


def _source(settings: ExportSettings) -> Weights:
    shares = {"--restore": settings.restore, "--texture": settings.texture}
    if (settings.model is None) == all(share is None for share in shares.values()):
        raise UsageError("srgan export takes a model, or --texture and --restore in its place.")
    if settings.model is not None:
        return weights.read(settings.model)
    for name, share in shares.items():
        if share is not None and not 0 <= share <= 1:
            raise UsageError(f"{name} is a number from 0 to 1, got {share}.")
    restore, texture = shares.values()
    return mixture(0.0 if restore is None else restore, 1.0 if texture is None else texture)


def _target(settings: ExportSettings, source: Weights) -> Path:
    """The file to write; those beside it have its name with another suffix."""
    suffix = SUFFIXES[settings.format][0]
    # upscayl reads the factor from the name.
    name = f"{source.name}-x{source.config.scale}{suffix}" if settings.format == "ncnn" else f"{source.name}{suffix}"
    output = settings.output or Path()
    if output.is_dir() or not output.suffix:
        return output / name
    if output.suffix != suffix:
        raise UsageError(f"-o {output}: the name of a file in the format {settings.format} ends in {suffix}.")
    return output


def export(source: Weights, settings: ExportSettings, target: Path) -> None:
    """Convert, compare, write. Raises WeightsError, and writes nothing, when the difference is beyond the bounds."""
    from srgan.upscale.int8 import ranges_for

    # Convert and compare.
    path = None if settings.model is None else weights.find_model(settings.model)
    int8_ranges = ranges_for(source, path) if settings.precision == "int8" else None
    exported = formats.convert(settings.format, source, precision=settings.precision, int8_ranges=int8_ranges)
    differences = parity.compare(exported.run, parity.reference(source))
    parity.check(differences, settings.precision, f"{source.name} in the format {settings.format}")

    # Write.
    scale = source.config.scale
    single = settings.format == "ncnn"  # one image; the names of the blobs are those that programs ask for
    read = "data: float32 (3, H, W)" if single else "lr: float32 (N, 3, H, W)"
    made = f"output: float32 (3, {scale}H, {scale}W)" if single else f"sr: float32 (N, 3, {scale}H, {scale}W)"
    clamped = "clamped at 0, to be clamped at 1" if single else "clamped"
    metadata = {
        "srgan.version": __version__,
        "srgan.model": source.name,
        "srgan.sha256": source.sha256,
        "srgan.config": json.dumps(vars(source.config), sort_keys=True),
        "srgan.precision": settings.precision,
        "srgan.input": f"{read}, RGB, 0..1",
        "srgan.output": f"{made}, RGB, 0..1, {clamped}",
        "srgan.difference": json.dumps([vars(d) for d in differences]),
    }
    files = exported.files(target, metadata)
    target.parent.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        atomic_write(path, content)
    size = sum(map(len, files.values())) / 1e6
    compared = "; ".join(map(str, differences))
    log.info(f"{target}: {size:.2f} MB. Difference from the source, in levels of 255: {compared}.")
