"""`srgan import-weights`: take over another project's SRResNet."""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from srgan import __version__, weights
from srgan.errors import UsageError
from srgan.settings import parse
from srgan.weights import Weights


@dataclass(frozen=True, kw_only=True)
class ImportSettings:
    """What to take over, and what its file does not say of itself."""

    file: tyro.conf.Positional[Path]
    """A state dict: .safetensors, or .pth/.pt/.tar of torch.save (read without running anything in it)."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The weights file to write, .safetensors."""
    key: str = ""
    """Where in the file the generator is ("ema_state_dict", "generator"), if it holds several networks."""
    input: Literal["auto", "unit", "signed", "imagenet"] = "auto"
    """The range of the pictures that its network takes; auto: as its project does."""
    output_range: Literal["auto", "unit", "signed", "imagenet"] = "auto"
    """The range of the pictures that its network gives; auto: as its project does."""
    tail: Literal["auto", "linear", "tanh"] = "auto"
    """What its network ends in; auto: as its project's does."""
    norm_epsilon: float | None = None
    """The epsilon of its BatchNorm; by default its project's (1e-5 but for eriklindernoren)."""
    accept_border: bool = False
    """Take over a network whose input is not 0..1, though 40 pixels at the border then differ a little."""
    overwrite: bool = False
    """Replace the output."""
    quiet: bool = False
    """Say nothing but errors."""


def main(argv: list[str]) -> int:
    """`srgan import-weights FILE -o OUT`."""
    about = "Take over the weights of another SRResNet."
    settings: ImportSettings = parse(ImportSettings, argv, prog="srgan import-weights", description=about)
    if settings.output.suffix != ".safetensors":
        raise UsageError(f"-o {settings.output}: a weights file's name ends in .safetensors.")
    if settings.output.exists() and not settings.overwrite:
        raise UsageError(f"{settings.output} exists; --overwrite replaces it.")
    taken = taken_over(settings)
    settings.output.parent.mkdir(parents=True, exist_ok=True)
    weights.write(settings.output, taken.tensors, config=taken.config, metadata=taken.metadata)
    if not settings.quiet:
        config = taken.config
        print(
            f"{settings.output}: {taken.metadata['layout']}, {config.blocks} blocks of {config.width}, "
            f"x{config.scale}, tail {config.tail}, sha256 {taken.sha256[:12]}. "
            "Look at one picture before trusting it: a file does not say which range it was trained on.",
            file=sys.stderr,
        )
    return 0


def taken_over(settings: ImportSettings) -> Weights:
    """The generator of the file, with where it comes from in its metadata. Raises WeightsError."""
    from srgan.export.conversion import ours, usual
    from srgan.export.state_dict import read_tree, select

    state, layout, config = select(read_tree(settings.file), settings.file, settings.key)
    meaning = usual(layout, accept_border=settings.accept_border)
    said = {"input": settings.input, "output": settings.output_range, "tail": settings.tail}
    changes = {name: value for name, value in said.items() if value != "auto"}
    meaning = dataclasses.replace(meaning, **changes)  # type: ignore[arg-type]
    if settings.norm_epsilon is not None:
        meaning = dataclasses.replace(meaning, epsilon=settings.norm_epsilon)
    metadata = {
        "imported_from": layout.project,
        "layout": layout.name,
        "input": meaning.input,
        "output_range": meaning.output,
        "norm_epsilon": repr(meaning.epsilon),
        "version": __version__,
    }
    return dataclasses.replace(ours(state, layout, config, meaning), name=settings.output.stem, metadata=metadata)
