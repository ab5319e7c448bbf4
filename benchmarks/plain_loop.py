"""A plain SRGAN training loop: what `srgan bench train` is measured against. Not for training.

It is written the way the well-known PyTorch re-implementations are (leftthomas/SRGAN, Lornatang/SRGAN-PyTorch and
their many descendants): PNG files are decoded whole in DataLoader worker processes, cropped at random, the LR is made
from the crop by Pillow's bicubic, floats are made in the worker; fp32, NCHW, eager, torch.optim.Adam as it comes; and
every loss is read with .item() at every step for the progress bar.

It is no weaker than they are: workers persist and prefetch, memory is pinned and copies do not block on CUDA, cuDNN
searches for its quickest kernels, TF32 is left to PyTorch's defaults, the discriminator is frozen while the generator
learns, no validation or saving is timed. Some of them cut the training set into tiles of 480 pixels beforehand, which
this does not: with tiles there is less to decode (see docs/benchmarks.md, where the time without any decoding is given
beside it).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

Pair = tuple[Tensor, Tensor]


class PngCrops(Dataset[Pair]):
    """A random crop of each picture: lr (3, crop/4, crop/4) in [0, 1] and hr (3, crop, crop) in [-1, 1]."""

    def __init__(self, paths: list[Path], crop: int, length: int) -> None:
        self.paths, self.crop, self.length = paths, crop, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Pair:
        picture = Image.open(self.paths[index % len(self.paths)]).convert("RGB")
        left = random.randint(0, picture.width - self.crop)
        top = random.randint(0, picture.height - self.crop)
        hr = picture.crop((left, top, left + self.crop, top + self.crop))
        lr = hr.resize((self.crop // 4, self.crop // 4), Image.Resampling.BICUBIC)
        return to_tensor(lr), to_tensor(hr) * 2.0 - 1.0


def to_tensor(picture: Image.Image) -> Tensor:
    """A picture as floats (3, H, W) in [0, 1], as torchvision's ToTensor."""
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous().float() / 255.0


def batches(paths: list[Path], *, batch: int, crop: int, workers: int, device: torch.device) -> Iterator[Pair]:
    """Batches without end, decoded by worker processes."""
    loader = DataLoader(
        PngCrops(paths, crop, 1_000_000),
        batch_size=batch,
        shuffle=True,
        num_workers=workers,
        drop_last=True,
        pin_memory=device.type == "cuda",
        persistent_workers=workers > 0,
        multiprocessing_context="spawn" if workers else None,  # a fork beside libvips's threads can hang
    )
    while True:
        for lr, hr in loader:
            yield lr.to(device, non_blocking=True), hr.to(device, non_blocking=True)


def pretrain_step(generator: nn.Module, optimizer: torch.optim.Optimizer, lr: Tensor, hr: Tensor) -> dict[str, float]:
    """SRResNet: pixel loss."""
    sr = generator(lr)
    loss = nn.functional.mse_loss(sr, hr)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return {"pixel": loss.item()}


def adversarial_step(
    generator: nn.Module,
    discriminator: nn.Module,
    features: nn.Module,
    optimizer_g: torch.optim.Optimizer,
    optimizer_d: torch.optim.Optimizer,
    lr: Tensor,
    hr: Tensor,
) -> dict[str, float]:
    """SRGAN: the discriminator, then the generator, with the losses that src/srgan/losses.py writes out."""
    criterion = nn.BCEWithLogitsLoss()
    sr = generator(lr)
    for parameter in discriminator.parameters():
        parameter.requires_grad = True
    optimizer_d.zero_grad()
    logits_hr, logits_sr = discriminator(hr), discriminator(sr.detach())
    loss_d = criterion(logits_hr, torch.ones_like(logits_hr)) + criterion(logits_sr, torch.zeros_like(logits_sr))
    loss_d.backward()
    optimizer_d.step()

    for parameter in discriminator.parameters():
        parameter.requires_grad = False
    optimizer_g.zero_grad()
    logits = discriminator(sr)
    adversarial = criterion(logits, torch.ones_like(logits))
    content = nn.functional.mse_loss(only(features(sr)) / 12.75, only(features(hr)) / 12.75)
    loss_g = content + 1e-3 * adversarial
    loss_g.backward()
    optimizer_g.step()
    return {"content": content.item(), "adversarial": adversarial.item(), "discriminator": loss_d.item()}


def only(features: Mapping[str, Tensor]) -> Tensor:
    """The one feature map that was asked for."""
    (found,) = features.values()
    return found
