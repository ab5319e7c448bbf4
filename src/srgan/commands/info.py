"""`srgan info`: what a weights file, or a picture made by srgan, says of itself."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from srgan import flags
from srgan.errors import WeightsError

DESCRIPTION = "What a weights file, or a picture made by srgan, says of itself."


@dataclass(frozen=True, kw_only=True)
class InfoSettings:
    """What `srgan info` does."""

    file: flags.Positional[str]
    """A .safetensors file, the name of a packaged model, or a picture."""
    json: bool = False
    """One JSON object instead of lines."""


def main(argv: list[str]) -> int:
    """Run `srgan info` and return its exit code."""
    settings: InfoSettings = flags.parse(InfoSettings, argv, prog="srgan info", description=DESCRIPTION)
    facts = about(settings.file)
    if settings.json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
        return 0
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name:<{width}}  {value}")
    return 0


def about(file: str) -> dict[str, str]:
    """The facts about a file or a packaged model, by name. Raises SrganError."""
    from srgan.model import weights

    if file in weights.packaged() or Path(file).suffix == ".safetensors":
        return about_weights(file)
    if not Path(file).exists():
        known = ", ".join(weights.packaged()) or "none"
        raise WeightsError(f"{file} is neither a file nor a packaged model ({known}).")
    return about_picture(Path(file))


def about_weights(name_or_path: str) -> dict[str, str]:
    """What a generator's file says: its network, its hash, how it was trained."""
    from srgan.model import weights
    from srgan.model.config import receptive_field

    found = weights.read(name_or_path)
    parameters = sum(tensor.size for name, tensor in found.tensors.items() if ".running_" not in name)
    seen = receptive_field(found.config)
    facts = {
        "kind": "generator",
        "file": str(weights.find_model(name_or_path)),
        "sha256": found.sha256,
        **{name: str(value) for name, value in dataclasses.asdict(found.config).items()},
        "parameters": f"{parameters:,}",
        "reach": f"{seen.total} pixels",
    }
    return facts | {name: value for name, value in found.metadata.items() if name != "config"}


def about_picture(path: Path) -> dict[str, str]:
    """A picture's size, and what srgan wrote into it about its making."""
    from srgan.image.files import read_provenance, size

    height, width = size(path)
    made = read_provenance(path)
    facts = {"kind": "picture", "file": str(path), "height": str(height), "width": str(width)}
    return facts | {"made_by_srgan": "no" if made is None else "yes", **(made or {})}
