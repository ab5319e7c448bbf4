"""The two phases: the networks that each one owns, updates, freezes and saves, and how they are computed."""

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from srgan.data.loader import Batch, signed_from_uint8, unit_from_uint8
from srgan.errors import CheckpointError, SrganError
from srgan.fs import first_line
from srgan.model.discriminator import Discriminator, FeatureDiscriminator
from srgan.model.generator import Generator, init_weights
from srgan.train import optimizers, steps
from srgan.train.distributed import ALONE, Ranks, synchronise_batchnorm
from srgan.train.settings import TrainSettings
from srgan.train.steps import AdversarialNets, DiscriminatorInput, SelfEnsemble, Shift, StepValues

N = TypeVar("N", bound=nn.Module)


class Trained(NamedTuple):
    """A network and its optimizer."""

    key: str
    """What its tensors in a checkpoint begin with."""
    network: nn.Module
    optimizer: torch.optim.Adam
    rate_factor: float = 1.0
    """On the phase's learning rate."""


@dataclass
class Phase:
    """The networks of a phase, and its update; `pretraining` and `adversarial` make one."""

    name: str
    generator: Generator
    settings: TrainSettings
    device: torch.device
    trained: tuple[Trained, ...]
    """The generator, and in the adversarial phase the discriminator."""
    update: Callable[[Tensor, Tensor], StepValues]
    """(lr_unit, hr_signed) -> losses, after one update of each network."""
    by_step: Shift | SelfEnsemble | None = None
    """What the update uses in another way at each step."""

    def __post_init__(self) -> None:
        self.ema: Generator | None = None
        if self.settings.networks.ema:
            self.ema = copy.deepcopy(self.generator).eval().requires_grad_(False)

    @property
    def eval_generator(self) -> Generator:
        """The generator that is validated and published: the moving average where there is one."""
        return self.generator if self.ema is None else self.ema

    @property
    def networks(self) -> list[nn.Module]:
        """Those that train, and the moving average."""
        return [*(part.network for part in self.trained), *([] if self.ema is None else [self.ema])]

    def step(self, step: int, batch: Batch, learning_rate: float) -> StepValues:
        """One update of each network; `step` counts from 0."""
        for part in self.trained:
            optimizers.set_learning_rate(part.optimizer, learning_rate * part.rate_factor)
        if self.by_step is not None:
            self.by_step.set_step(step)
        with compiled_step(self.settings, self.device):
            lr_unit, hr_signed = (
                floats(images, dtype(self.settings)).contiguous(memory_format=torch.channels_last)
                for floats, images in ((unit_from_uint8, batch.lr), (signed_from_uint8, batch.hr))
            )
            losses = self.update(lr_unit, hr_signed)
        if self.ema is not None:
            optimizers.update_ema(self.ema, self.generator, self.settings.networks.ema, step)
        return losses

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that the next step depends on: `g.<tensor>`, `g.adam.<parameter>.<part>`, `g.mean.<tensor>`, `d...`."""
        state: dict[str, Tensor] = {}
        for part in self.trained:
            state |= {f"{part.key}.{name}": t for name, t in optimizers.float_state(part.network).items()}
            state |= {f"{part.key}.adam.{name}": t for name, t in optimizers.named_state(part.optimizer, part.network)}
        if self.ema is not None:
            state |= {f"g.mean.{name}": t for name, t in optimizers.float_state(self.ema).items()}
        return state

    def load_state_dict(self, tensors: Mapping[str, Tensor]) -> None:
        """Replace the state by what `state_dict` gave; a moving average that it lacks starts at the weights."""
        try:
            for part in self.trained:
                names = optimizers.float_state(part.network)
                part.network.load_state_dict({name: tensors[f"{part.key}.{name}"] for name in names})
                prefix = f"{part.key}.adam."
                state = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
                optimizers.load_named_state(part.optimizer, part.network, state)
            if self.ema is not None:
                weights = optimizers.float_state(self.generator)
                self.ema.load_state_dict({name: tensors.get(f"g.mean.{name}", t) for name, t in weights.items()})
        except (KeyError, RuntimeError) as error:
            raise CheckpointError(f"the checkpoint belongs to other networks: {first_line(error)}") from error


def pretraining(
    generator: Generator,
    settings: TrainSettings,
    device: torch.device,
    *,
    teacher: Generator | None = None,
    ranks: Ranks = ALONE,
) -> Phase:
    """SRResNet: the generator alone, trained on pixels: the HRs', or (pixel loss "ensemble") those of its teacher."""
    schedule = settings.schedule
    generator = to_device(generator, settings, device).train()
    make = {"adam": optimizers.adam, "muon": optimizers.muon}[schedule.pretrain_optimizer]
    optimizer = make(generator, b1=schedule.b1, b2=schedule.b2)
    ensemble = None
    if teacher is not None:
        ensemble = SelfEnsemble(compiled(to_device(teacher.eval(), settings, device), settings, device))
    update = partial(
        steps.pretrain_step,
        compiled(generator, settings, device),
        optimizer,
        loss=settings.losses.pixel_loss,
        autocast=autocast(settings, device),
        sync_gradients=ranks.average_gradients,
        teacher=ensemble,
    )
    trained = (Trained("g", generator, optimizer),)
    return Phase("pretrain", generator, settings, device, trained, update, ensemble)


def adversarial(
    generator: Generator, vgg: nn.Module | None, settings: TrainSettings, device: torch.device, *, ranks: Ranks = ALONE
) -> Phase:
    """SRGAN: the generator against the discriminator; VGG19, which is frozen, gives the content loss."""
    # Networks.
    generator = to_device(generator, settings, device).train()
    on_features = settings.networks.discriminator == "features"
    discriminator: nn.Module = FeatureDiscriminator() if on_features else Discriminator(settings.data.crop)
    init_weights(discriminator, seed=settings.run.seed + 1)
    if settings.speed.sync_batchnorm and ranks.world_size > 1:
        synchronise_batchnorm(discriminator, device)
    discriminator = to_device(discriminator, settings, device).train()
    vgg = None if vgg is None else compiled(to_device(vgg, settings, device).eval(), settings, device)
    shift = Shift(settings.data.crop, device) if settings.networks.shift else None

    def discriminator_input(images: Tensor) -> DiscriminatorInput:
        shifted = images if shift is None else shift(images)
        return vgg(shifted) if on_features and vgg is not None else shifted

    # Optimizers, and what one step uses.
    schedule = settings.schedule
    optimizer_g = optimizers.adam(generator, b1=schedule.b1, b2=schedule.b2)
    optimizer_d = optimizers.adam(discriminator, b1=schedule.b1, b2=schedule.b2)
    nets = AdversarialNets(
        generator=compiled(generator, settings, device),
        discriminator=compiled(discriminator, settings, device),
        optimizer_g=optimizer_g,
        optimizer_d=optimizer_d,
        autocast=autocast(settings, device),
        vgg=vgg,
        sync_gradients=ranks.average_gradients,
        discriminator_input=discriminator_input,
    )
    layer = settings.losses.content.removeprefix("vgg")
    update = partial(steps.adversarial_step, nets, weights=settings.losses, layer=layer)
    trained_d = Trained("d", discriminator, optimizer_d, schedule.discriminator_rate)
    trained = (Trained("g", generator, optimizer_g), trained_d)
    return Phase("adversarial", generator, settings, device, trained, update, shift)


def configure_torch(settings: TrainSettings, device: torch.device) -> None:
    """The process-wide switches: deterministic algorithms, TF32 unless fp32 is set, the search for fast convolutions."""
    torch.use_deterministic_algorithms(settings.speed.deterministic)
    if device.type == "cuda":
        tf32 = settings.speed.precision in ("auto", "bf16", "tf32")
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
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
            raise SrganError(f"torch.compile failed ({first_line(error)}). Train without it: --no-compile.") from error
        raise


def to_device(network: N, settings: TrainSettings, device: torch.device) -> N:
    """The network on the device, in the settings' number type and channels last, which is fast for convolutions."""
    return network.to(device, dtype(settings)).to(memory_format=torch.channels_last)
