"""The two phases: the networks that each one owns, updates, freezes and saves, and how they are computed."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from srgan.data.loader import Batch, signed_from_uint8, unit_from_uint8
from srgan.errors import CheckpointError, SrganError
from srgan.model.discriminator import Discriminator, FeatureDiscriminator
from srgan.model.generator import Generator, init_weights
from srgan.train import optimizers, steps
from srgan.train.distributed import ALONE, Ranks, synchronise_batchnorm
from srgan.train.settings import TrainSettings
from srgan.train.steps import AdversarialNets, DiscriminatorInput, Shift, StepValues

N = TypeVar("N", bound=nn.Module)


class Phase(Protocol):
    """What the loop needs of a phase."""

    name: str
    generator: Generator
    ema: Generator | None

    def step(self, step: int, batch: Batch, learning_rate: float) -> StepValues: ...
    def state_dict(self) -> dict[str, Tensor]: ...
    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None: ...


class Pretraining:
    """SRResNet: the generator alone, trained on pixels."""

    name = "pretrain"

    def __init__(
        self, generator: Generator, settings: TrainSettings, device: torch.device, *, ranks: Ranks = ALONE
    ) -> None:
        self.settings, self.ranks, self.device = settings, ranks, device
        self.generator = to_device(generator, settings, device).train()
        self.ema = ema_copy(self.generator) if settings.networks.ema else None
        optimizer = {"adam": optimizers.adam, "muon": optimizers.muon}[settings.schedule.pretrain_optimizer]
        self.optimizer = optimizer(self.generator, b1=settings.schedule.b1, b2=settings.schedule.b2)
        self.compiled = compiled(self.generator, settings, device)

    def step(self, step: int, batch: Batch, learning_rate: float) -> StepValues:
        """One update; `step` counts from 0."""
        optimizers.set_learning_rate(self.optimizer, learning_rate)
        with compiled_step(self.settings, self.device):
            losses = steps.pretrain_step(
                self.compiled,
                self.optimizer,
                *to_floats(batch, self.settings),
                loss=self.settings.losses.pixel_loss,
                autocast=autocast(self.settings, self.device),
                sync_gradients=self.ranks.average_gradients,
            )
        if self.ema is not None:
            optimizers.update_ema(self.ema, self.generator, self.settings.networks.ema, step)
        return losses

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that the next step depends on, by name."""
        return _network_state("g", self.generator, self.optimizer, self.ema)

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Replace the state by what `state_dict` gave."""
        _load_network("g", self.generator, self.optimizer, self.ema, tensors)


class Adversarial:
    """SRGAN: the generator against the discriminator; VGG19, which is frozen, gives the content loss."""

    name = "adversarial"

    def __init__(
        self,
        generator: Generator,
        vgg: nn.Module | None,
        settings: TrainSettings,
        device: torch.device,
        *,
        ranks: Ranks = ALONE,
    ) -> None:
        self.settings, self.device = settings, device
        self.layer = settings.losses.content.removeprefix("vgg")

        # Networks.
        self.generator = to_device(generator, settings, device).train()
        self.ema = ema_copy(self.generator) if settings.networks.ema else None
        on_features = settings.networks.discriminator == "features"
        discriminator: nn.Module = FeatureDiscriminator() if on_features else Discriminator(settings.data.crop)
        init_weights(discriminator, seed=settings.run.seed + 1)
        if settings.speed.sync_batchnorm and ranks.world_size > 1:
            synchronise_batchnorm(discriminator, device)
        self.discriminator = to_device(discriminator, settings, device).train()
        self.vgg = None if vgg is None else compiled(to_device(vgg, settings, device).eval(), settings, device)
        self.on_features = on_features
        self.shift = Shift(settings.data.crop, device) if settings.networks.shift else None

        # Optimizers, and what one step uses.
        b1, b2 = settings.schedule.b1, settings.schedule.b2
        self.optimizer_g = optimizers.adam(self.generator, b1=b1, b2=b2)
        self.optimizer_d = optimizers.adam(self.discriminator, b1=b1, b2=b2)
        self.nets = AdversarialNets(
            generator=compiled(self.generator, settings, device),
            discriminator=compiled(self.discriminator, settings, device),
            optimizer_g=self.optimizer_g,
            optimizer_d=self.optimizer_d,
            autocast=autocast(settings, device),
            vgg=self.vgg,
            sync_gradients=ranks.average_gradients,
            discriminator_input=self._discriminator_input,
        )

    def step(self, step: int, batch: Batch, learning_rate: float) -> StepValues:
        """One update of each network; `step` counts from 0."""
        optimizers.set_learning_rate(self.optimizer_g, learning_rate)
        optimizers.set_learning_rate(self.optimizer_d, learning_rate * self.settings.schedule.discriminator_rate)
        if self.shift is not None:
            self.shift.set_step(step)
        with compiled_step(self.settings, self.device):
            losses = steps.adversarial_step(
                self.nets, *to_floats(batch, self.settings), self.settings.losses, self.layer
            )
        if self.ema is not None:
            optimizers.update_ema(self.ema, self.generator, self.settings.networks.ema, step)
        return losses

    def _discriminator_input(self, images: Tensor) -> DiscriminatorInput:
        shifted = images if self.shift is None else self.shift(images)
        return self.vgg(shifted) if self.on_features and self.vgg is not None else shifted

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that the next step depends on, by name."""
        generator = _network_state("g", self.generator, self.optimizer_g, self.ema)
        return generator | _network_state("d", self.discriminator, self.optimizer_d, None)

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Replace the state by what `state_dict` gave."""
        _load_network("g", self.generator, self.optimizer_g, self.ema, tensors)
        _load_network("d", self.discriminator, self.optimizer_d, None, tensors)


def eval_generator(phase: Phase) -> Generator:
    """The generator that is validated and published: the moving average where there is one."""
    return phase.ema if phase.ema is not None else phase.generator


def all_networks(phase: Phase) -> list[nn.Module]:
    """Those that train, and the moving average."""
    return [n for n in (phase.generator, phase.ema, getattr(phase, "discriminator", None)) if n is not None]


def configure_torch(settings: TrainSettings, device: torch.device) -> None:
    """The process-wide switches: deterministic algorithms, TF32 unless fp32 is set, the search for fast convolutions."""
    torch.use_deterministic_algorithms(settings.speed.deterministic)
    if device.type == "cuda":
        tf32 = settings.speed.precision in ("auto", "bf16", "tf32")
        torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.backends.cudnn.allow_tf32 = tf32
        torch.backends.cudnn.benchmark = not settings.speed.deterministic


def dtype(settings: TrainSettings) -> torch.dtype:
    """Of weights, images, losses and statistics."""
    return torch.float64 if settings.speed.precision == "fp64" else torch.float32


def use_bf16(settings: TrainSettings, device: torch.device) -> bool:
    """Whether the networks compute in bf16."""
    automatic = settings.speed.precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported(False)
    return settings.speed.precision == "bf16" or automatic


def autocast(settings: TrainSettings, device: torch.device) -> torch.autocast:
    """bf16 where `use_bf16`; elsewhere a context that does nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=use_bf16(settings, device))


def is_compiled(settings: TrainSettings, device: torch.device) -> bool:
    """Whether torch.compile is used: not on a CPU, where it gains nothing (docs/benchmarks.md), nor with SyncBatchNorm."""
    return settings.speed.compile and device.type != "cpu" and not settings.speed.sync_batchnorm


def compiled(network: nn.Module, settings: TrainSettings, device: torch.device) -> Any:
    """The network, or its compiled forward; on CUDA that also captures CUDA graphs."""
    if not is_compiled(settings, device):
        return network
    return torch.compile(network, mode="reduce-overhead" if device.type == "cuda" else None)


@contextlib.contextmanager
def compiled_step(settings: TrainSettings, device: torch.device) -> Iterator[None]:
    """One training step: lets CUDA graphs reuse their memory; a failing compiler raises SrganError."""
    if not is_compiled(settings, device):
        yield
        return
    if device.type == "cuda":
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
    try:
        yield
    except Exception as error:
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise SrganError(f"torch.compile failed ({reason}). Train without it: --no-compile.") from error
        raise


def to_device(network: N, settings: TrainSettings, device: torch.device) -> N:
    """The network on the device, in the settings' number type and channels last, which is fast for convolutions."""
    return network.to(device, dtype(settings)).to(memory_format=torch.channels_last)


def to_floats(batch: Batch, settings: TrainSettings) -> tuple[Tensor, Tensor]:
    """lr_unit and hr_signed of a batch, channels last."""
    lr, hr = unit_from_uint8(batch.lr, dtype(settings)), signed_from_uint8(batch.hr, dtype(settings))
    return lr.contiguous(memory_format=torch.channels_last), hr.contiguous(memory_format=torch.channels_last)


def ema_copy(generator: Generator) -> Generator:
    """The start of the generator's moving average."""
    return copy.deepcopy(generator).eval().requires_grad_(False)


def _network_state(
    prefix: str, network: nn.Module, optimizer: torch.optim.Adam, ema: nn.Module | None
) -> dict[str, Tensor]:
    """Names as in every checkpoint: `g.<tensor>`, `g.adam.<parameter>.<part>`, `g.mean.<tensor>`."""
    state = {f"{prefix}.{name}": tensor for name, tensor in optimizers.float_state(network).items()}
    state |= {f"{prefix}.adam.{name}": tensor for name, tensor in optimizers.named_state(optimizer, network)}
    if ema is not None:
        state |= {f"{prefix}.mean.{name}": tensor for name, tensor in optimizers.float_state(ema).items()}
    return state


def _load_network(
    prefix: str,
    network: nn.Module,
    optimizer: torch.optim.Adam,
    ema: nn.Module | None,
    tensors: Mapping[str, Tensor],
) -> None:
    try:
        loaded = {name: tensors[f"{prefix}.{name}"] for name in optimizers.float_state(network)}
        network.load_state_dict(loaded)
        if ema is not None:
            # A checkpoint without the average: it starts here.
            averages = {name: tensors.get(f"{prefix}.mean.{name}", tensor) for name, tensor in loaded.items()}
            ema.load_state_dict(averages)
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(f"the checkpoint belongs to other networks: {str(error).splitlines()[0]}") from error
    start = f"{prefix}.adam."
    state = {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
    optimizers.load_named_state(optimizer, network, state)
