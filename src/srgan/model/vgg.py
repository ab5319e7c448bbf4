"""VGG19's feature maps phi_ij (Simonyan & Zisserman 2015) as in section 2.2.1, in the Caffe convention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from srgan.errors import SettingsError
from srgan.model.vgg_files import LAYERS, read_vgg

MEAN_BGR = (103.939, 116.779, 123.68)
"""ImageNet's mean colour, blue first, 0..255: what the Oxford weights expect to be subtracted."""


class VGG19(nn.Module):
    """RGB pictures (N, 3, H, W) in [-1, 1] -> {"54": phi_54, ...}, one entry for each of `layers`.

    phi_ij is the output of the j-th convolution after its ReLU, before the i-th max pooling: (N, C, H', W')
    with H' = H / 2^(i-1), rounded down. Computes no further than the deepest layer asked for. Frozen: the
    weights are buffers, which no optimiser finds; gradients pass through to the picture. `weights` is a file
    for `read_vgg`, or what it returns.
    """

    def __init__(
        self, weights: str | Path | Mapping[str, NDArray[np.float32]], layers: Sequence[str] = ("54",)
    ) -> None:
        super().__init__()
        tensors = weights if isinstance(weights, Mapping) else read_vgg(Path(weights))
        self.wanted = frozenset(layers)
        self.computed = tuple(LAYERS)[: 1 + max(_depth(layer) for layer in layers)]
        for layer in self.computed:
            name = LAYERS[layer].name
            self.register_buffer(f"weight_{layer}", torch.from_numpy(np.array(tensors[f"{name}.weight"])))
            self.register_buffer(f"bias_{layer}", torch.from_numpy(np.array(tensors[f"{name}.bias"])))
        self.register_buffer("mean_bgr", torch.tensor(MEAN_BGR).view(1, 3, 1, 1))

    def forward(self, rgb_signed: Tensor) -> dict[str, Tensor]:
        x = (rgb_signed.flip(1) + 1.0) * 127.5 - self.get_buffer("mean_bgr")
        features = {}
        for layer in self.computed:
            if layer.endswith("1") and layer != "11":
                x = F.max_pool2d(x, 2)
            x = F.relu(F.conv2d(x, self.get_buffer(f"weight_{layer}"), self.get_buffer(f"bias_{layer}"), padding=1))
            if layer in self.wanted:
                features[layer] = x
        return features


def _depth(layer: str) -> int:
    if layer not in LAYERS:
        raise SettingsError(f"VGG19 has no phi_{layer}; it has {', '.join(LAYERS)} (the paper uses 22 and 54).")
    return tuple(LAYERS).index(layer)
