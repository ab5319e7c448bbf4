"""The two phases: which networks each one owns, updates, freezes and saves."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from srgan.data.loader import Batch, signed_from_uint8, unit_from_uint8
from srgan.errors import CheckpointError
from srgan.model.discriminator import Discriminator, FeatureDiscriminator
from srgan.model.generator import Generator, init_weights
from srgan.train import compute, optimizers, steps
from srgan.train.compute import Forward, Say
from srgan.train.distributed import ALONE, Ranks, synchronise_batchnorm
from srgan.train.settings import TrainSettings
from srgan.train.shift import Shift
from srgan.train.steps import Losses

N = TypeVar("N", bound=nn.Module)


class Phase(Protocol):
    """What the loop needs of a phase."""

    name: str
    generator: Generator
    mean: Generator | None

    def step(self, step: int, batch: Batch, learning_rate: float) -> Losses: ...
    def tensors(self) -> dict[str, Tensor]: ...
    def load(self, tensors: Mapping[str, Tensor]) -> None: ...


class Pretraining:
    """SRResNet: the generator alone, on pixels."""

    name = "pretrain"

    def __init__(
        self,
        generator: Generator,
        settings: TrainSettings,
        device: torch.device,
        *,
        ranks: Ranks = ALONE,
        say: Say = print,
    ) -> None:
        self.settings, self.ranks = settings, ranks
        self.generator = _placed(generator, settings, device).train()
        self.mean = _copied(self.generator) if settings.ema else None
        optimizer = {"adam": optimizers.adam, "muon": optimizers.muon}[settings.pretrain_optimizer]
        self.optimizer = optimizer(self.generator, b1=settings.b1, b2=settings.b2)
        self.autocast = compute.autocast(settings, device)
        self.forward = Forward(self.generator, fuse=compute.fused(settings, device))
        self.update = compute.update(self._update, self, [self.forward], settings, device, ranks, say)

    def step(self, step: int, batch: Batch, learning_rate: float) -> Losses:
        """One update; `step` counts from 0."""
        optimizers.set_learning_rate(self.optimizer, learning_rate)
        losses = self.update(batch)
        if self.mean is not None:
            optimizers.average(self.mean, self.generator, self.settings.ema, step)
        return losses

    def _update(self, batch: Batch) -> Losses:
        return steps.pretrain_step(
            self.forward,
            self.optimizer,
            *_floats(batch, self.settings),
            loss=self.settings.pixel_loss,
            autocast=self.autocast,
            share=self.ranks.average_gradients,
        )

    def tensors(self) -> dict[str, Tensor]:
        """Everything that the next step depends on, by name."""
        return _network_tensors("g", self.generator, self.optimizer, self.mean)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `tensors` gave."""
        _load_network("g", self.generator, self.optimizer, self.mean, tensors)


class Adversarial:
    """SRGAN: the generator against the discriminator, held to the content by VGG19, which is frozen."""

    name = "adversarial"

    def __init__(
        self,
        generator: Generator,
        features: nn.Module | None,
        settings: TrainSettings,
        device: torch.device,
        *,
        ranks: Ranks = ALONE,
        say: Say = print,
    ) -> None:
        self.settings, self.ranks = settings, ranks
        self.generator = _placed(generator, settings, device).train()
        self.mean = _copied(self.generator) if settings.ema else None
        on_features = settings.discriminator == "features"
        discriminator: nn.Module = FeatureDiscriminator() if on_features else Discriminator(settings.crop)
        init_weights(discriminator, seed=settings.seed + 1)
        if settings.sync_batchnorm and ranks.world > 1:
            synchronise_batchnorm(discriminator, device)
        self.discriminator = _placed(discriminator, settings, device).train()
        self.optimizer_g = optimizers.adam(self.generator, b1=settings.b1, b2=settings.b2)
        self.optimizer_d = optimizers.adam(self.discriminator, b1=settings.b1, b2=settings.b2)
        self.shift = Shift(settings.crop, device) if settings.shift else None
        self.autocast = compute.autocast(settings, device)
        fuse = compute.fused(settings, device)
        self.forward_g = Forward(self.generator, fuse=fuse)
        self.forward_d = Forward(self.discriminator, fuse=fuse)
        self.features = None if features is None else Forward(_placed(features, settings, device).eval(), fuse=fuse)
        self.look = self.features if on_features else None
        forwards = [f for f in (self.forward_g, self.forward_d, self.features) if f is not None]
        self.update = compute.update(self._update, self, forwards, settings, device, ranks, say)

    def step(self, step: int, batch: Batch, learning_rate: float) -> Losses:
        """One update of each network; `step` counts from 0."""
        optimizers.set_learning_rate(self.optimizer_g, learning_rate)
        optimizers.set_learning_rate(self.optimizer_d, learning_rate * self.settings.discriminator_rate)
        if self.shift is not None:
            self.shift.turn(step)
        losses = self.update(batch)
        if self.mean is not None:
            optimizers.average(self.mean, self.generator, self.settings.ema, step)
        return losses

    def _update(self, batch: Batch) -> Losses:
        return steps.adversarial_step(
            self.forward_g,
            self.forward_d,
            self.features,
            self.settings.content.removeprefix("vgg"),
            self.optimizer_g,
            self.optimizer_d,
            *_floats(batch, self.settings),
            content_weight=self.settings.content_weight,
            adversarial_weight=self.settings.adversarial_weight,
            total_variation_weight=self.settings.total_variation_weight,
            autocast=self.autocast,
            share=self.ranks.average_gradients,
            pixel_weight=self.settings.pixel_weight,
            texture_weight=self.settings.texture_weight,
            grid_weight=self.settings.grid_weight,
            shown=self._shown,
        )

    def _shown(self, pictures: Tensor) -> Any:
        """What the discriminator takes: pictures, moved if that is wanted, or VGG19's maps of such."""
        moved = pictures if self.shift is None else self.shift(pictures)
        return moved if self.look is None else self.look(moved)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that the next step depends on, by name."""
        found = _network_tensors("g", self.generator, self.optimizer_g, self.mean)
        return found | _network_tensors("d", self.discriminator, self.optimizer_d, None)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what `tensors` gave."""
        _load_network("g", self.generator, self.optimizer_g, self.mean, tensors)
        _load_network("d", self.discriminator, self.optimizer_d, None, tensors)


def in_use(phase: Phase) -> Generator:
    """The generator that is validated and published: the moving average where there is one."""
    return phase.mean if phase.mean is not None else phase.generator


def networks(phase: Phase) -> list[nn.Module]:
    """Those that train, and the moving average."""
    return [n for n in (phase.generator, phase.mean, getattr(phase, "discriminator", None)) if n is not None]


def _placed(network: N, settings: TrainSettings, device: torch.device) -> N:
    """A network on the device, in the settings' number type and the order of memory that convolutions like."""
    return network.to(device, compute.number_type(settings)).to(memory_format=torch.channels_last)


def _floats(batch: Batch, settings: TrainSettings) -> tuple[Tensor, Tensor]:
    dtype = compute.number_type(settings)
    return _channels_last(unit_from_uint8(batch.lr, dtype)), _channels_last(signed_from_uint8(batch.hr, dtype))


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _copied(generator: Generator) -> Generator:
    mean = copy.deepcopy(generator).eval()
    return mean.requires_grad_(False)


def _network_tensors(
    prefix: str, network: nn.Module, optimizer: torch.optim.Adam, mean: nn.Module | None
) -> dict[str, Tensor]:
    found = {f"{prefix}.{name}": tensor for name, tensor in optimizers.float_state(network).items()}
    found |= {f"{prefix}.adam.{name}": t for name, t in optimizers.state_tensors(optimizer, network)}
    if mean is not None:
        found |= {f"{prefix}.mean.{name}": tensor for name, tensor in optimizers.float_state(mean).items()}
    return found


def _load_network(
    prefix: str,
    network: nn.Module,
    optimizer: torch.optim.Adam,
    mean: nn.Module | None,
    tensors: Mapping[str, Tensor],
) -> None:
    try:
        network.load_state_dict({name: tensors[f"{prefix}.{name}"] for name in optimizers.float_state(network)})
        if mean is not None:
            mean.load_state_dict({name: tensors[f"{prefix}.mean.{name}"] for name in optimizers.float_state(mean)})
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(f"the checkpoint belongs to other networks: {str(error).splitlines()[0]}") from error
    start = f"{prefix}.adam."
    optimizers.load_state(
        optimizer, network, {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
    )
