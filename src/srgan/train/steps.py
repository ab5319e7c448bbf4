"""One update of each network: all of the maths on one page. Losses are fp32, results stay on the device."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from srgan.model import losses

Network = Callable[[Any], Tensor]
Features = Callable[[Tensor], Mapping[str, Tensor]]
View = Callable[[Tensor], Any]
"""Pictures -> what a discriminator takes: pictures, or feature maps by name."""
Losses = dict[str, Tensor]
Share = Callable[[torch.optim.Optimizer], None]
"""Averages gradients over the processes of a job (`distributed.Ranks.average_gradients`)."""


def alone(optimizer: torch.optim.Optimizer) -> None:
    """One process has nothing to average."""


def as_is(pictures: Tensor) -> Tensor:
    """The discriminator sees pictures as they are."""
    return pictures


def pretrain_step(
    generator: Network,
    optimizer: torch.optim.Optimizer,
    lr_unit: Tensor,
    hr_signed: Tensor,
    *,
    loss: str,
    autocast: torch.autocast,
    share: Share = alone,
) -> Losses:
    """SRResNet: one step down the pixel loss (Equation 4, or its L1 sister)."""
    with autocast:
        sr = generator(lr_unit)
    pixel = {"mse": losses.pixel_mse, "l1": losses.pixel_l1}[loss](wide(sr), hr_signed)
    optimizer.zero_grad(set_to_none=True)
    _backward(pixel)
    share(optimizer)
    norm = gradient_norm(optimizer)
    optimizer.step()
    return {"pixel": pixel.detach(), "gradient": norm}


def adversarial_step(
    generator: Network,
    discriminator: Network,
    features: Features | None,
    layer: str,
    optimizer_g: torch.optim.Optimizer,
    optimizer_d: torch.optim.Optimizer,
    lr_unit: Tensor,
    hr_signed: Tensor,
    *,
    content_weight: float,
    adversarial_weight: float,
    total_variation_weight: float,
    pixel_weight: float = 0.0,
    texture_weight: float = 0.0,
    grid_weight: float = 0.0,
    autocast: torch.autocast,
    share: Share = alone,
    shown: View = as_is,
) -> Losses:
    """SRGAN: the discriminator one step (Equation 2), then the generator one (Equation 3), on the same crops.

    `features` None: the content loss is the pixels' mean squared error (SRGAN-MSE of table 1).
    `pixel_weight`, `grid_weight`, `texture_weight`: factors on the pixels' mean absolute error, on the grid in it, and on the
    difference of texture (where `shown` gives VGG19's maps), which are not part of Equation 3.
    `shown`: what the discriminator is shown of pictures: moved ones (`shift.Shift`), or VGG19's maps of them, which then
    serve the content loss too.
    """
    with autocast:
        sr = generator(lr_unit)
        view_sr = shown(sr)
        with torch.no_grad():
            view_hr = shown(hr_signed)

    # Equation 2: the discriminator, on pictures that the generator is not asked about.
    with autocast:
        logits_hr, logits_sr = discriminator(view_hr), discriminator(_detached(view_sr))
    loss_d = losses.discriminator(wide(logits_hr), wide(logits_sr))
    optimizer_d.zero_grad(set_to_none=True)
    _backward(loss_d)
    share(optimizer_d)
    norm_d = gradient_norm(optimizer_d)
    optimizer_d.step()

    # Equation 3: the generator, against the discriminator as it now is.
    with frozen(optimizer_d):
        with autocast:
            adversarial = losses.adversarial(wide(discriminator(view_sr)))
        if isinstance(view_sr, Mapping):
            content = losses.content(wide(view_sr[layer]), wide(view_hr[layer]))
        else:
            content = content_loss(features, layer, wide(sr), hr_signed, autocast)
        loss_g = losses.perceptual(content_weight * content, adversarial, adversarial_weight)
        if layer == "22":
            loss_g = loss_g + total_variation_weight * losses.total_variation(wide(sr))
        if pixel_weight:
            loss_g = loss_g + pixel_weight * losses.pixel_l1(wide(sr), hr_signed)
        if texture_weight:
            maps_sr, maps_hr = ({k: wide(view[k]) for k in losses.TEXTURE_LAYERS} for view in (view_sr, view_hr))
            loss_g = loss_g + texture_weight * losses.texture(maps_sr, maps_hr)
        if grid_weight:
            loss_g = loss_g + grid_weight * losses.grid(wide(sr), hr_signed)
        optimizer_g.zero_grad(set_to_none=True)
        _backward(loss_g)
    share(optimizer_g)
    norm_g = gradient_norm(optimizer_g)
    optimizer_g.step()

    d_real, d_fake = torch.sigmoid(wide(logits_hr)).detach(), torch.sigmoid(wide(logits_sr)).detach()
    return {
        "content": content.detach(),
        "adversarial": adversarial.detach(),
        "discriminator": loss_d.detach(),
        "pixel": losses.pixel_mse(wide(sr.detach()), hr_signed),
        "gradient": norm_g,
        "gradient_d": norm_d,
        "d_real": d_real.mean(),
        "d_fake": d_fake.mean(),
        "d_accuracy": 0.5 * ((d_real > 0.5).float().mean() + (d_fake <= 0.5).float().mean()),
    }


def content_loss(features: Features | None, layer: str, sr: Tensor, hr: Tensor, autocast: torch.autocast) -> Tensor:
    """Equation 5 on phi_`layer`, or Equation 4 where there is no VGG19; sr and hr in [-1, 1]."""
    if features is None:
        return losses.pixel_mse(sr, hr)
    with autocast:
        with torch.no_grad():
            wanted = features(hr)[layer]
        got = features(sr)[layer]
    return losses.content(wide(got), wide(wanted))


def _detached(view: Any) -> Any:
    if isinstance(view, Mapping):
        return {name: maps.detach() for name, maps in view.items()}
    return view.detach()


def gradient_norm(optimizer: torch.optim.Optimizer) -> Tensor:
    """Length of the whole gradient, a scalar on the device: not finite as soon as one element is not."""
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    norms: Tensor = torch.stack(torch._foreach_norm(gradients))
    length: Tensor = torch.linalg.vector_norm(norms)
    return length


def _backward(loss: Tensor) -> None:
    loss.backward()  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def frozen(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """The optimizer's parameters collect no gradients meanwhile."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


def wide(x: Tensor) -> Tensor:
    """At least fp32, in which losses are taken."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def finite(losses_: Losses, network: nn.Module) -> Tensor:
    """True (a scalar on the device) where the losses, the gradients and BatchNorm's statistics are finite."""
    statistics = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
    parts = [torch.stack([value.float() for value in losses_.values()]).sum()]
    if statistics:
        parts.append(torch.stack(torch._foreach_norm(statistics)).sum())
    return torch.isfinite(torch.stack(parts).sum())
