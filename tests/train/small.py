"""A training run that takes seconds: a tiny generator, small crops, scikit-image's pictures, no VGG19."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from srgan.cli import main
from srgan.train import checkpoints
from srgan.train.steps import AdversarialNets

SMALL = (
    "train --recipe quick --content mse --blocks 1 --width 4 --crop 32 --batch-size 2 --ema 0.9 --deterministic "
    "--pretrain-steps 6 --train-steps 4 --report-interval 3 --validation-interval 6 --checkpoint-interval 2 "
    "--validation-pictures 1 --no-compile --device cpu --quiet --no-report --pretrain-learning-rate 4e-4"
).split()


def train(output: Path, *more: str) -> int:
    """`srgan train` with small settings, in this process and in an empty working folder; the exit code."""
    return main([*SMALL, "--output", str(output), *more])


def still_nets(generator: nn.Module, discriminator: nn.Module, **more: Any) -> AdversarialNets:
    """For a step that computes gradients and changes nothing."""
    return AdversarialNets(
        generator=generator,
        discriminator=discriminator,
        optimizer_g=torch.optim.SGD(generator.parameters(), lr=0.0),
        optimizer_d=torch.optim.SGD(discriminator.parameters(), lr=0.0),
        autocast=torch.autocast("cpu", enabled=False),
        **more,
    )


def journal(output: Path, kind: str) -> list[dict[str, Any]]:
    """The lines of one kind in a run's journal."""
    lines = map(json.loads, (output / "journal.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == kind]


def last_state(output: Path) -> dict[str, torch.Tensor]:
    """The tensors of the newest checkpoint."""
    return dict(checkpoints.read(checkpoints.list_checkpoints(output / "checkpoints")[0]).tensors)


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    """Bit for bit."""
    assert a.keys() == b.keys()
    differing = [name for name in a if not torch.equal(a[name], b[name])]
    assert not differing
