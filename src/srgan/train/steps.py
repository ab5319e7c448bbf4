"""One update of each network: the losses and their gradients. Losses are at least fp32; results stay on the device."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from srgan.image.symmetry import INVERSE
from srgan.model import losses
from srgan.train.settings import LossWeights

Network = Callable[[Tensor], Tensor]
Features = Callable[[Tensor], Mapping[str, Tensor]]
SyncGradients = Callable[[torch.optim.Optimizer], None]
"""Averages gradients over the processes of a job."""
DiscriminatorInput = Tensor | Mapping[str, Tensor]
"""Images, or VGG19 features of them by name."""
StepValues = dict[str, Tensor]
"""Losses, gradient lengths and the discriminator's answers of one step, scalars on the device."""
STRIDE = 4
"""Pixels of one period of `Shift`: the side of the SR pixels that come from one LR pixel."""


@dataclass(frozen=True, kw_only=True)
class AdversarialNets:
    """The networks and optimizers of an adversarial step."""

    generator: Network
    discriminator: nn.Module
    optimizer_g: torch.optim.Optimizer
    optimizer_d: torch.optim.Optimizer
    autocast: torch.autocast
    vgg: Features | None = None
    """None: the content loss is the pixels' MSE, or comes from the features that the discriminator sees."""
    sync_gradients: SyncGradients = lambda optimizer: None
    discriminator_input: Callable[[Tensor], DiscriminatorInput] = lambda images: images
    """Images -> what the discriminator sees: images, shifted images (`Shift`), or VGG19 features of them."""


def pretrain_step(
    generator: Network,
    optimizer: torch.optim.Optimizer,
    lr_unit: Tensor,
    hr_signed: Tensor,
    *,
    loss: str,
    autocast: torch.autocast,
    sync_gradients: SyncGradients = lambda optimizer: None,
    teacher: Network | None = None,
) -> StepValues:
    """One update of SRResNet by the pixel loss: "mse" (Equation 4), "l1", or "ensemble".

    lr_unit (N, 3, S/4, S/4) in [0, 1], hr_signed (N, 3, S, S) in [-1, 1]. "ensemble" is the mean squared distance to the
    output of `teacher`, in place of hr_signed.
    """
    with autocast:
        sr = fp32(generator(lr_unit))
        with torch.no_grad():
            target = hr_signed if teacher is None else fp32(teacher(lr_unit))
    pixel = (losses.pixel_l1 if loss == "l1" else losses.pixel_mse)(sr, target)
    norm = update(optimizer, pixel, sync_gradients)
    return {"pixel": pixel.detach(), "gradient": norm}


def adversarial_step(
    nets: AdversarialNets, lr_unit: Tensor, hr_signed: Tensor, weights: LossWeights, layer: str
) -> StepValues:
    """One update of the discriminator (Equation 2), then one of the generator (Equation 3), on the same crops.

    lr_unit (N, 3, S/4, S/4) in [0, 1], hr_signed (N, 3, S, S) in [-1, 1]. `layer`: of the content loss, "54", "22" or "mse".
    """
    # Generate.
    with nets.autocast:
        sr = fp32(nets.generator(lr_unit))
        input_sr = nets.discriminator_input(sr)
        with torch.no_grad():
            input_hr = nets.discriminator_input(hr_signed)

    # Discriminator update (Equation 2).
    with nets.autocast:
        logits_hr = fp32(nets.discriminator(input_hr))
        logits_sr = fp32(nets.discriminator(_detached(input_sr)))
    loss_d = losses.discriminator(logits_hr, logits_sr)
    norm_d = update(nets.optimizer_d, loss_d, nets.sync_gradients)

    # Generator update (Equation 3), against the updated discriminator.
    nets.discriminator.requires_grad_(False)  # only the gradient at `sr` is needed
    # The order of these terms decides the order in which autograd adds gradients at `sr`, so it decides the bits.
    with nets.autocast:
        adversarial = losses.adversarial(fp32(nets.discriminator(input_sr)))
    phi = content_features(nets, layer, sr, hr_signed, input_sr, input_hr)
    content = losses.pixel_mse(sr, hr_signed) if phi is None else losses.content(*phi)
    parts = {"content": content, "adversarial": adversarial}
    loss_g = losses.perceptual(weights.content_weight * content, adversarial, weights.adversarial_weight)

    # Terms beyond Equation 3.
    terms: tuple[tuple[str, float, Callable[[], Tensor]], ...] = (
        ("tv", weights.total_variation_weight * (layer == "22"), lambda: losses.total_variation(sr)),
        ("pixel_l1", weights.pixel_weight, lambda: losses.pixel_l1(sr, hr_signed)),
        ("texture", weights.texture_weight, lambda: losses.texture(_fp32s(input_sr), _fp32s(input_hr))),
        ("grid", weights.grid_weight, lambda: losses.grid(sr, hr_signed)),
    )
    for name, weight, term in terms:
        if weight:
            parts[name] = term()
            loss_g = loss_g + weight * parts[name]
    norm_g = update(nets.optimizer_g, loss_g, nets.sync_gradients)
    nets.discriminator.requires_grad_(True)

    # What is reported.
    d_real, d_fake = torch.sigmoid(logits_hr).detach(), torch.sigmoid(logits_sr).detach()
    return {
        **{name: part.detach() for name, part in parts.items()},
        "discriminator": loss_d.detach(),
        "pixel": losses.pixel_mse(sr.detach(), hr_signed),
        "gradient": norm_g,
        "gradient_d": norm_d,
        "d_real": d_real.mean(),
        "d_fake": d_fake.mean(),
        "d_accuracy": 0.5 * ((d_real > 0.5).float().mean() + (d_fake <= 0.5).float().mean()),
    }


def content_features(
    nets: AdversarialNets,
    layer: str,
    sr: Tensor,
    hr: Tensor,
    input_sr: DiscriminatorInput,
    input_hr: DiscriminatorInput,
) -> tuple[Tensor, Tensor] | None:
    """phi_`layer` of sr and hr, from the discriminator's features where it sees any; None without VGG19.

    sr, hr (N, 3, S, S) in [-1, 1]. The discriminator's features may be those of shifted images (`Shift`).
    """
    if isinstance(input_sr, Mapping) and isinstance(input_hr, Mapping):
        return fp32(input_sr[layer]), fp32(input_hr[layer])
    if nets.vgg is None:
        return None
    with nets.autocast:
        with torch.no_grad():
            phi_hr = nets.vgg(hr)[layer]
        phi_sr = nets.vgg(sr)[layer]
    return fp32(phi_sr), fp32(phi_hr)


def update(optimizer: torch.optim.Optimizer, loss: Tensor, sync_gradients: SyncGradients) -> Tensor:
    """One step down `loss`; returns the length of the gradient, which is not finite as soon as one element is not."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    sync_gradients(optimizer)
    norm = gradient_norm(optimizer)
    optimizer.step()
    return norm


def gradient_norm(optimizer: torch.optim.Optimizer) -> Tensor:
    """Length of the whole gradient, a scalar on the device."""
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    return torch.nn.utils.get_total_norm(gradients)


def fp32(x: Tensor) -> Tensor:
    """At least fp32, in which losses are computed."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def _fp32s(features: DiscriminatorInput) -> dict[str, Tensor]:
    """The features of the texture loss; `TrainSettings` refuses the loss where the discriminator sees images."""
    assert isinstance(features, Mapping)
    return {layer: fp32(features[layer]) for layer in losses.TEXTURE_LAYERS}


def _detached(features: DiscriminatorInput) -> DiscriminatorInput:
    if isinstance(features, Mapping):
        return {name: x.detach() for name, x in features.items()}
    return features.detach()


class Shift:
    """Moves images by up to two pixels, edges repeated; any 16 consecutive steps use all 16 offsets.

    A stride-2 convolution's gradient has a fixed pattern over the pixels. Crops start at whole LR pixels, so that the
    pattern would lie on the generator's own 4x4 grid in every step and the generator would learn it (docs/results.md).
    """

    def __init__(self, side: int, device: torch.device) -> None:
        self.base = torch.arange(side, device=device)
        self.rows, self.columns = self.base.clone(), self.base.clone()

    def set_step(self, step: int) -> None:
        """Use the offset of this step."""
        down, right = step % STRIDE, (step + step // STRIDE) % STRIDE
        for places, offset in ((self.rows, down), (self.columns, right)):
            torch.clamp(self.base + (offset - STRIDE // 2), 0, len(self.base) - 1, out=places)

    def __call__(self, images: Tensor) -> Tensor:
        """(N, C, side, side) -> the same shape, channels last."""
        moved = images.index_select(2, self.rows).index_select(3, self.columns)
        return moved.contiguous(memory_format=torch.channels_last)


class SelfEnsemble:
    """The mean of a generator's output over two of the eight symmetries of the square; 56 steps use every pair alike.

    Its mean over all eight is closer to the HR than any one of them (Timofte et al. 2016, arXiv 1511.02228), and has none
    of the HR's detail that no LR decides: a target that teaches in hundreds of steps (docs/log.md).
    """

    def __init__(self, generator: Network) -> None:
        self.generator = generator
        self.set_step(0)

    def set_step(self, step: int) -> None:
        """Use the pair of this step."""
        self.pair = (step % 8, (step + 1 + step // 8 % 7) % 8)

    def __call__(self, lr_unit: Tensor) -> Tensor:
        """(N, 3, S, S) -> (N, 3, 4 * S, 4 * S)."""
        views = torch.cat([_turned(lr_unit, symmetry) for symmetry in self.pair])
        first, second = self.generator(views.contiguous(memory_format=torch.channels_last)).chunk(2)
        return 0.5 * (_turned(first, INVERSE[self.pair[0]]) + _turned(second, INVERSE[self.pair[1]]))


def _turned(images: Tensor, symmetry: int) -> Tensor:
    """Images (N, C, H, W) after a symmetry, numbered as in `srgan.image.symmetry`."""
    images = images.flip([axis for axis, bit in ((3, 1), (2, 2)) if symmetry & bit])
    return images.mT if symmetry & 4 else images
