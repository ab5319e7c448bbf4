"""`srgan info`: the metadata of a weights file, or of an image made by srgan."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from srgan import flags
from srgan.errors import UsageError, WeightsError


@dataclass(frozen=True, kw_only=True)
class InfoSettings:
    """Show the metadata of a weights file, or of an image made by srgan."""

    file: flags.Positional[str] = ""
    """Weights file (.safetensors), name of a packaged model, or image."""
    devices: bool = False
    """List the GPUs that `--engine ncnn` can use."""
    json: bool = False
    """Print one JSON object instead of lines."""


def main(argv: list[str]) -> int:
    """Run `srgan info` and return its exit code."""
    settings = flags.parse(InfoSettings, argv, prog="srgan info")
    if settings.devices == bool(settings.file):
        raise UsageError("`srgan info` takes a file, a packaged model or --devices; give one of them.")
    facts = describe_devices() if settings.devices else describe(settings.file)
    if settings.json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
        return 0
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        print(f"{name:<{width}}  {value}")
    return 0


def describe(file: str) -> dict[str, str]:
    """Facts about a file or a packaged model, by name. Raises SrganError."""
    from srgan.model import weights

    if file in weights.packaged() or Path(file).suffix in (".safetensors", ".checkpoint"):
        return describe_weights(file)
    if not Path(file).exists():
        known = ", ".join(weights.packaged()) or "none"
        raise WeightsError(f"{file} is neither a file nor a packaged model ({known}).")
    from srgan.image.files import read_provenance, size

    # An image's size, and the provenance that srgan wrote into it.
    height, width = size(Path(file))
    provenance = read_provenance(Path(file))
    facts = {"kind": "image", "file": str(Path(file)), "height": str(height), "width": str(width)}
    return facts | {"made_by_srgan": "no" if provenance is None else "yes", **(provenance or {})}


def describe_devices() -> dict[str, str]:
    """Number of each Vulkan device -> its name, kind, memory and driver. Raises MissingExtra, UsageError."""
    from srgan.upscale.ncnn import NO_DEVICE, devices

    found = {str(d.index): f"{d.name}, {d.kind}, {d.memory / 1e9:.1f} GB, driver {d.driver}" for d in devices()}
    if not found:
        raise UsageError(NO_DEVICE)
    return found


def describe_weights(name_or_path: str) -> dict[str, str]:
    """A generator's network, hash and metadata."""
    from srgan.model import weights
    from srgan.model.config import receptive_field

    generator = weights.read(name_or_path)
    parameters = sum(tensor.size for name, tensor in generator.tensors.items() if ".running_" not in name)
    facts = {
        "kind": "generator",
        "file": str(weights.find_model(name_or_path)),
        "sha256": generator.sha256,
        **{name: str(value) for name, value in dataclasses.asdict(generator.config).items()},
        "parameters": f"{parameters:,}",
        "receptive_field": f"{receptive_field(generator.config).total} pixels",
    }
    return facts | {name: value for name, value in generator.metadata.items() if name != "config"}
