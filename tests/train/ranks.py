"""Five steps of both phases on this process's part of the batches: run by torchrun in test_distributed.py.

Usage: ranks.py PACK FOLDER. Rank 0 writes FOLDER/{rank,sync}_{pretrain,adversarial}.pt: the networks' tensors.
Each rank then writes FOLDER/threads_{rank}.txt: the names of the threads that are left, one per line (Linux).
"""

import functools
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from srgan import config
from srgan.data.loader import CropSampler, loader
from srgan.data.packed import PackedImages
from srgan.model.config import GeneratorConfig
from srgan.model.discriminator import Discriminator
from srgan.model.generator import Generator, init_weights
from srgan.train import phases
from srgan.train.distributed import Ranks, process_group, synchronise_batchnorm
from srgan.train.phases import Phase, adversarial, pretraining
from srgan.train.settings import TrainSettings

CPU = torch.device("cpu")
STEPS = 5
SETTINGS = TrainSettings.flat(
    blocks=1, width=8, crop=32, batch_size=16, precision="fp64", compile=False, content="vgg54", ema=0.9
)


SmallDiscriminator = functools.partial(Discriminator, width=8)


class Features(nn.Module):
    """A stand-in for VGG19: two frozen convolutions with weights from a seed."""

    def __init__(self) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(5)
        self.register_buffer("one", torch.randn(6, 3, 3, 3, generator=rng, dtype=torch.float64))
        self.register_buffer("two", torch.randn(4, 6, 3, 3, generator=rng, dtype=torch.float64))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        inner = torch.relu(torch.conv2d(x, self.get_buffer("one")))
        return {"54": torch.relu(torch.conv2d(torch.max_pool2d(inner, 2), self.get_buffer("two")))}


def first_generator() -> Generator:
    """The generator that every comparison starts from."""
    generator = Generator(GeneratorConfig(blocks=SETTINGS.networks.blocks, width=SETTINGS.networks.width))
    init_weights(generator, seed=1)
    return generator


def trained(name: str, pack: PackedImages, ranks: Ranks, settings: TrainSettings, device: torch.device) -> Phase:
    """A phase after five steps."""
    phases.Discriminator = SmallDiscriminator
    generator = first_generator()
    if settings.speed.sync_batchnorm:
        synchronise_batchnorm(generator, device)
    phase: Phase = (
        pretraining(generator, settings, device, ranks=ranks)
        if name == "pretrain"
        else adversarial(generator, Features(), settings, device, ranks=ranks)
    )
    sampler = CropSampler(seed=0, phase=name, batch=16, crop=32, rank=ranks.rank, world_size=ranks.world_size)
    batches = loader(pack, sampler, device=device)
    for step in range(STEPS):
        phase.step(step, batches(step), 1e-3)
    batches.close()
    ranks.average_statistics(phase.networks)
    return phase


if __name__ == "__main__":
    torch.set_num_threads(1)
    pack, folder = PackedImages(Path(sys.argv[1])), Path(sys.argv[2])
    with process_group(CPU, batch_size=16) as ranks:
        modes = {"rank": CPU} | ({"sync": torch.device("cuda", 0)} if torch.cuda.is_available() else {})
        for mode, device in modes.items():
            settings = config.replace(SETTINGS, sync_batchnorm=mode == "sync")
            for name in ("pretrain", "adversarial"):
                phase = trained(name, pack, ranks, settings, device)
                if ranks.is_main:
                    torch.save({n: t.cpu() for n, t in phase.state_dict().items()}, folder / f"{mode}_{name}.pt")
    if (tasks := Path("/proc/self/task")).exists():
        names = [(task / "comm").read_text() for task in tasks.iterdir()]
        (folder / f"threads_{ranks.rank}.txt").write_text("".join(sorted(names)))
