"""The paper's losses as pure functions: images (N, 3, H, W) in [-1, 1], results scalars.

Logits are (N, 1) from the discriminator of figure 4, and (N, K) from the one that sees VGG19 features.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

FEATURE_SCALE = 1 / 12.75
"""Section 3.2: feature maps are rescaled so that VGG losses are "of a scale comparable to the MSE loss"."""
TEXTURE_LAYERS = ("12", "22", "34")
"""The VGG19 features of the texture loss."""
TEXTURE_SIDE = 16
"""Side in pixels of a patch of the texture loss; every crop is a multiple of it."""


# Equation 2: max over D of E[log D(I_HR)] + E[log(1 - D(G(I_LR)))]
def discriminator(logits_hr: Tensor, logits_sr: Tensor) -> Tensor:
    """The discriminator's loss: binary cross entropy, HR images as 1 and SR images as 0; mean over all logits."""
    return F.softplus(-logits_hr).mean() + F.softplus(logits_sr).mean()


# Equation 3: l_SR = l_X + 10^-3 l_Gen
def perceptual(content: Tensor, adversarial: Tensor, weight: float) -> Tensor:
    """The generator's loss: content (Equation 4 or 5) and adversarial part (Equation 6), whose weight is 1e-3 in the paper."""
    return content + weight * adversarial


# Equation 4: l_MSE = 1 / (r^2 W H) sum (I_HR - G(I_LR))^2
def pixel_mse(sr: Tensor, hr: Tensor) -> Tensor:
    """Mean squared error over images, channels and pixels."""
    return F.mse_loss(sr, hr)


# Equation 5: l_VGG/i.j = 1 / (W_ij H_ij) sum (phi_ij(I_HR) - phi_ij(G(I_LR)))^2
def content(features_sr: Tensor, features_hr: Tensor) -> Tensor:
    """VGG loss between features phi_ij (N, C, H', W') in the Caffe convention, rescaled by 1/12.75.

    The mean runs over C too. No gradient flows to `features_hr`.
    """
    return F.mse_loss(features_sr * FEATURE_SCALE, features_hr.detach() * FEATURE_SCALE)


# Equation 6: l_Gen = sum_n -log D(G(I_LR))
def adversarial(logits_sr: Tensor) -> Tensor:
    """Adversarial loss: mean over all logits of -log D(sr)."""
    return F.softplus(-logits_sr).mean()


# l_TV = 1 / (r^2 W H) sum |grad G(I_LR)|
def total_variation(sr: Tensor) -> Tensor:
    """Mean length of the image's gradient (forward differences); its weight beside VGG22 is 2e-8.

    The mean runs over images, channels and the pixels that have both neighbours. Where the gradient is zero, its
    derivative is zero.
    """
    down = sr[..., 1:, :-1] - sr[..., :-1, :-1]
    right = sr[..., :-1, 1:] - sr[..., :-1, :-1]
    squared = down.square() + right.square()
    flat = squared == 0
    return torch.where(flat, 0.0, squared.masked_fill(flat, 1.0).sqrt()).mean()


# Not the paper's.
def pixel_l1(sr: Tensor, hr: Tensor) -> Tensor:
    """Mean absolute error; gives sharper images (Zhao et al. 2017)."""
    return F.l1_loss(sr, hr)


def grid(sr: Tensor, hr: Tensor) -> Tensor:
    """Mean square of the part of sr - hr that repeats at every LR pixel; not the paper's.

    Over windows of 12 x 12 LR pixels: the mean error at each of the 4 x 4 positions inside an LR pixel, less the window's
    mean error. Windows do not overlap, and what is left at the right and below does not count. Zero for errors that do not
    depend on the position inside an LR pixel.
    """
    errors = F.pixel_unshuffle(sr - hr, 4)
    means = F.avg_pool2d(errors, min(12, *errors.shape[2:]))
    n, channels, height, width = means.shape
    means = means.view(n, channels // 16, 16, height, width)
    return (means - means.mean(2, keepdim=True)).square().mean()


def texture(features_sr: Mapping[str, Tensor], features_hr: Mapping[str, Tensor]) -> Tensor:
    """Texture loss: relative squared error of the Gram matrices of VGG19 features, per 16x16 patch; not the paper's.

    Features {"12": phi_12, ...} of (N, C, H', W') for `TEXTURE_LAYERS`. A Gram matrix (C, C) holds what the texture consists
    of and how strong it is, but not where (Gatys et al. 2015; per patch: Sajjadi et al. 2017). The mean runs over patches and
    layers. No gradient flows to `features_hr`.
    """
    errors = []
    for layer in TEXTURE_LAYERS:
        patch = TEXTURE_SIDE // 2 ** (int(layer[0]) - 1)
        target = _gram_matrices(features_hr[layer].detach(), patch)
        output = _gram_matrices(features_sr[layer], patch)
        squared = (output - target).square().sum((-2, -1))
        errors.append((squared / target.square().sum((-2, -1)).clamp_min(1e-12)).mean())
    return torch.stack(errors).mean()


def _gram_matrices(features: Tensor, patch: int) -> Tensor:
    """(N, C, H, W) -> (N, H / patch, W / patch, C, C)."""
    n, channels, height, width = features.shape
    patches = features.view(n, channels, height // patch, patch, width // patch, patch)
    rows = patches.permute(0, 2, 4, 1, 3, 5).flatten(-2)
    return rows @ rows.mT / patch**2
