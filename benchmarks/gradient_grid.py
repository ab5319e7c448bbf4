"""How much of the gradient that reaches a picture's pixels is the same in every 4x4 block, from the discriminator and from VGG19.

    python benchmarks/gradient_grid.py RUN/checkpoints/adversarial_00000801.checkpoint --data DATA

Crops of Kodak24 made by the packaged srresnet; the discriminator is the checkpoint's. Once with crops where they begin, at
a whole LR pixel, and once as the mean over the 16 ways of `--shift`. Pattern: root mean square, over the 16 places of a 4x4
block and the channels, of the gradient's mean over blocks and crops less its mean over places. docs/results.md has the figures.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from srgan.data.folders import validation_pairs
from srgan.image import files, resize
from srgan.model import losses, weights
from srgan.model.discriminator import Discriminator, FeatureDiscriminator
from srgan.model.generator import generator_from_weights
from srgan.train import checkpoints, optimizers, setup
from srgan.train.settings import TrainSettings
from srgan.train.steps import Shift

SIDE, EDGE, STILL = 96, 16, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--crops", type=int, default=48)
    chosen = parser.parse_args()

    state = checkpoints.read(chosen.checkpoint).tensors
    on_features = any(name.startswith("d.heads.") for name in state)
    discriminator: nn.Module = FeatureDiscriminator() if on_features else Discriminator(SIDE)
    discriminator.load_state_dict({name: state[f"d.{name}"] for name in optimizers.float_state(discriminator)})
    vgg = setup.load_vgg(TrainSettings.flat(data=chosen.data, discriminator="features"))
    assert vgg is not None

    def judged(pictures: Tensor) -> Tensor:
        logits: Tensor = discriminator(vgg(pictures) if on_features else pictures)
        return logits

    shift = Shift(SIDE, torch.device("cpu"))
    hr, sr = pictures(chosen.data, chosen.crops)
    wanted = {
        "adversarial": lambda x, _: losses.adversarial(judged(shift(x))),
        "content": lambda x, y: losses.content(vgg(shift(x))["54"], vgg(shift(y))["54"]),
    }
    for name, loss in wanted.items():
        for ways, turns in (("still", [STILL]), ("16 ways", list(range(16)))):
            found = gradient(loss, sr, hr, shift, turns)
            print(
                f"{name}, {ways}: {found.square().mean().sqrt():.2e}, pattern {pattern(found):.2e}, "
                f"by chance {pattern(rolled(found)):.2e}",
                flush=True,
            )


def pictures(data: Path, count: int) -> tuple[Tensor, Tensor]:
    """(count, 3, 96, 96) twice, originals and what srresnet makes, in [-1, 1]."""
    generator = generator_from_weights(weights.read(weights.find_model("srresnet"))).eval()
    rng, pairs = np.random.default_rng(0), validation_pairs(data)
    hr, lr = [], []
    for number in range(count):
        whole = files.read_rgb8(pairs[number % len(pairs)].hr)
        top, left = (4 * int(rng.integers((size - SIDE) // 4)) for size in whole.shape[:2])
        hr.append(whole[top : top + SIDE, left : left + SIDE])
        lr.append(resize.downscaled(hr[-1]))
    signed = torch.from_numpy(np.stack(hr)).permute(0, 3, 1, 2) / 127.5 - 1.0
    unit = torch.from_numpy(np.stack(lr)).permute(0, 3, 1, 2) / 255.0
    with torch.no_grad():
        return signed, torch.cat([generator(part) for part in unit.split(4)])


def gradient(
    loss: Callable[[Tensor, Tensor], Tensor], sr: Tensor, hr: Tensor, shift: Shift, turns: list[int]
) -> Tensor:
    """Of the loss of batches of 4 at the pixels, the mean over the turns."""
    found = []
    for x, y in zip(sr.split(4), hr.split(4), strict=True):
        x.requires_grad_()
        mean = torch.zeros_like(x)
        for turn in turns:
            shift.set_step(turn)
            mean += torch.autograd.grad(loss(x, y), x)[0] / len(turns)
        found.append(mean)
    return torch.cat(found)


def rolled(gradient: Tensor) -> Tensor:
    """Each crop's gradient moved by a way of its own: what is left of the pattern is chance."""
    ways = np.random.default_rng(0).integers(0, 4, (len(gradient), 2)).tolist()
    return torch.stack([torch.roll(one, way, (1, 2)) for one, way in zip(gradient, ways, strict=True)])


def pattern(gradient: Tensor) -> float:
    """What repeats every 4 pixels, away from the edges."""
    inner = gradient[..., EDGE:-EDGE, EDGE:-EDGE]
    n, c, height, width = inner.shape
    places = inner.reshape(n, c, height // 4, 4, width // 4, 4).mean((0, 2, 4))
    return float((places - places.mean((1, 2), keepdim=True)).square().mean().sqrt())


if __name__ == "__main__":
    main()
