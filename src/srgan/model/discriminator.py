"""The discriminator of figure 4, and one on VGG19 features."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srgan.model.vgg import LAYERS

LEAKY_SLOPE = 0.2
"""Leaky ReLU's slope (section 2.1, after Radford et al. 2016)."""
TOTAL_STRIDE = 16
"""Four of the eight convolutions halve the image."""

FEATURE_SCALES = {"12": 1 / 200, "22": 1 / 250, "34": 1 / 800, "44": 1 / 150}
"""The VGG19 features that `FeatureDiscriminator` sees -> factor to a root mean square of about 1 (on photographs)."""


class Discriminator(nn.Module):
    """Crops (N, 3, crop, crop) in [-1, 1] -> logits (N, 1); above 0 means a photograph.

    Figure 4's sigmoid is part of the losses, which work on logits. `crop` is a multiple of 16, because the dense head sees
    width * 8 maps of crop / 16 pixels a side.
    """

    def __init__(self, crop: int = 96, width: int = 64) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            nn.LeakyReLU(LEAKY_SLOPE),
            *_conv(width, width, stride=2),
            *_conv(width, 2 * width, stride=1),
            *_conv(2 * width, 2 * width, stride=2),
            *_conv(2 * width, 4 * width, stride=1),
            *_conv(4 * width, 4 * width, stride=2),
            *_conv(4 * width, 8 * width, stride=1),
            *_conv(8 * width, 8 * width, stride=2),
        )
        self.dense = nn.Sequential(
            nn.Linear(8 * width * (crop // TOTAL_STRIDE) ** 2, 16 * width),
            nn.LeakyReLU(LEAKY_SLOPE),
            nn.Linear(16 * width, 1),
        )

    def forward(self, signed: Tensor) -> Tensor:
        logits: Tensor = self.dense(self.convs(signed).flatten(1))
        return logits


class FeatureDiscriminator(nn.Module):
    """VGG19 features {"12": phi_12, ...} of crops, one for each of `FEATURE_SCALES` -> logits (N, 4 * H' * W'); not the paper's.

    Small convolutions on features of a trained network need fewer crops than a discriminator trained from scratch (Sauer et
    al. 2021, arXiv 2111.01007). Each pixel of phi_44, which covers 8x8 image pixels, gets one logit from each of the four
    features: the mean over the feature's pixels inside it.
    """

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.heads = nn.ModuleDict({layer: _head(LAYERS[layer].shape[0], width) for layer in FEATURE_SCALES})

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        logits = []
        for layer, head in self.heads.items():
            pool = 2 ** (4 - int(layer[0]))
            logits.append(F.avg_pool2d(head(features[layer] * FEATURE_SCALES[layer]), pool).flatten(1))
        return torch.cat(logits, 1)


def _head(inputs: int, width: int) -> nn.Sequential:
    """The logits of one feature, each from 3x3 of its pixels."""
    return nn.Sequential(
        nn.Conv2d(inputs, width, 1),
        nn.LeakyReLU(LEAKY_SLOPE),
        nn.Conv2d(width, width, 3, padding=1),
        nn.LeakyReLU(LEAKY_SLOPE),
        nn.Conv2d(width, 1, 1),
    )


def _conv(inputs: int, outputs: int, *, stride: int) -> tuple[nn.Module, ...]:
    """3x3 convolution, BatchNorm (so no bias), Leaky ReLU."""
    conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return conv, nn.BatchNorm2d(outputs), nn.LeakyReLU(LEAKY_SLOPE)
