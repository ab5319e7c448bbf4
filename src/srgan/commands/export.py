"""`srgan export`: write a model in another format, after a comparison with its source."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from srgan import __version__, flags
from srgan.errors import UsageError
from srgan.export import formats, parity
from srgan.export.formats import SUFFIXES, Format
from srgan.fs import atomic_write_all, expanded
from srgan.model import weights
from srgan.model.weights import Weights
from srgan.upscale.mixture import check_mixture, mixture

log = logging.getLogger("srgan")


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """Write a model in another format. The result is compared with the model before it is written."""

    model: flags.Positional[str | None] = None
    """Packaged model (srgan, srresnet, photo, photo-gan) or path of a weights file. Or leave it out and give --texture or --restore."""
    format: Format = "onnx"
    """onnx writes .onnx; openvino writes .xml and .bin; ncnn writes .param and .bin for upscayl, chaiNNer and Real-ESRGAN-ncnn-vulkan; torch writes a torch.export program, .pt2."""
    output: Annotated[str | None, flags.Mark(alias="-o")] = None
    """File to write, or a folder (one that exists, ends with / or has no ending). Default: the model's name with the format's suffix (ncnn: with -x4 before it), in the current folder."""
    texture: float | None = None
    """Exports a mixture of the packaged models, as `srgan upscale` makes it: 0 (exact) to 1 (crisp; the default beside --restore)."""
    restore: float | None = None
    """Exports a mixture: how much compression and noise it takes away, 0 (the default beside --texture) to 1."""
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    """fp16: half the size, slightly less exact. int8: faster; only for openvino and models with int8 ranges."""
    overwrite: bool = False
    """Replace an existing output."""


def main(argv: list[str]) -> int:
    """`srgan export MODEL --format F -o FILE`."""
    settings = flags.parse(ExportSettings, argv, prog="srgan export")
    source = _source(settings)
    target = _target(settings, source)
    for path in (target.with_suffix(suffix) for suffix in SUFFIXES[settings.format]):
        if path.exists() and not settings.overwrite:
            raise UsageError(f"{path} exists; --overwrite replaces it.")
    export(source, settings, target)
    return 0


def _source(settings: ExportSettings) -> Weights:
    model, texture, restore = settings.model, settings.texture, settings.restore
    check_mixture(model, texture=texture, restore=restore, unset=None)
    if model is not None:
        return weights.read(model)
    if texture is None and restore is None:
        raise UsageError("srgan export takes a model, or --texture and --restore in its place.")
    return mixture(0.0 if restore is None else restore, 1.0 if texture is None else texture)


def _target(settings: ExportSettings, source: Weights) -> Path:
    """The file to write; those beside it have its name with another suffix."""
    suffix = SUFFIXES[settings.format][0]
    # upscayl reads the factor from the name.
    name = f"{source.name}-x{source.config.scale}{suffix}" if settings.format == "ncnn" else f"{source.name}{suffix}"
    given = settings.output or ""
    output = Path(expanded(given))
    if given == "-":
        raise UsageError("-o -: srgan export writes files, not to stdout; give a folder, or the name of a file.")
    is_file = output.suffix and not output.is_dir() and not given.endswith("/")
    target = output if is_file else output / name
    if blocked := next((folder for folder in target.parents if folder.is_file()), None):
        raise UsageError(f"-o {output}: {blocked} is a file; give a folder, or a name that ends in {suffix}.")
    if target.suffix != suffix:
        raise UsageError(f"-o {output}: the name of a file in the format {settings.format} ends in {suffix}.")
    return target


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
    metadata = {
        "srgan.version": __version__,
        "srgan.model": source.name,
        "srgan.sha256": source.sha256,
        "srgan.config": json.dumps(vars(source.config), sort_keys=True),
        "srgan.precision": settings.precision,
        "srgan.input": exported.input,
        "srgan.output": exported.output.format(s=source.config.scale),
        "srgan.difference": json.dumps([vars(d) for d in differences]),
    }
    files = exported.files(target, metadata)
    target.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_all(files)
    size = sum(map(len, files.values())) / 1e6
    compared = "; ".join(map(str, differences))
    log.info(f"{target}: {size:.2f} MB. Difference from the source, in levels of 255: {compared}.")
