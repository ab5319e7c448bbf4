"""Training in several processes, as torchrun starts them: who writes, who waits, how gradients are averaged.

Gradients are averaged by one all-reduce of all of them, laid end to end, after each backward pass: two networks
that are updated in turn need no wrapper around either, and the compiled forward stays as it is. The price is that
the 6 MB (generator) or 94 MB (discriminator) travel after the backward pass and not during it.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from srgan.errors import SettingsError, SrganError, UsageError
from srgan.train.heartbeat import Heartbeat

T = TypeVar("T")
PATIENCE = timedelta(hours=12)
"""How long a process waits for the others: rank 0 may pack, or validate, for long. Death is noticed otherwise."""


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process's place among those of a job."""

    rank: int = 0
    world: int = 1
    local: int = 0
    """Place among the processes of this machine: which GPU."""

    @property
    def first(self) -> bool:
        """Rank 0 alone writes files, validates and speaks."""
        return self.rank == 0

    def average_gradients(self, optimizer: torch.optim.Optimizer) -> None:
        """Every gradient <- its mean over the ranks."""
        if self.world > 1:
            parameters = (p for group in optimizer.param_groups for p in group["params"])
            self._average([p.grad for p in parameters if p.grad is not None])

    def average_statistics(self, networks: Iterable[nn.Module]) -> None:
        """BatchNorm's running statistics <- their mean over the ranks, for what rank 0 is going to write."""
        if self.world > 1:
            self._average([b for network in networks for b in network.buffers() if b.is_floating_point()])

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """Numbers of a report, averaged over the ranks."""
        if self.world == 1:
            return dict(values)
        numbers = torch.tensor(list(values.values()), dtype=torch.float64)
        _all_reduce(numbers)
        return dict(zip(values, (numbers / self.world).tolist(), strict=True))

    def largest(self, number: int) -> int:
        """The largest of the ranks' numbers; all of them must ask."""
        if self.world == 1:
            return number
        value = torch.tensor(number)
        _all_reduce(value, dist.ReduceOp.MAX)
        return int(value)

    def from_first(self, make: Callable[[], T]) -> T:
        """What `make` returns on rank 0, sent to all."""
        if self.world == 1:
            return make()
        found: list[Any] = [make() if self.first else None]
        with _partners():
            dist.broadcast_object_list(found, src=0, device=torch.device("cpu"))
        return found[0]  # type: ignore[no-any-return]

    def copy_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors with those of rank 0."""
        if self.world > 1:
            with _partners():
                for tensor in tensors:
                    whole = tensor.contiguous()
                    dist.broadcast(whole, src=0)
                    tensor.copy_(whole)

    def after_first_here(self, make: Callable[[], T]) -> T:
        """`make` on every rank, but on one rank of each machine before the others: it packs, they open."""
        if self.local == 0:
            found = make()
        self.meet()
        return found if self.local == 0 else make()

    def meet(self) -> None:
        """Wait until all ranks are here."""
        self.largest(0)

    def _average(self, tensors: list[Tensor]) -> None:
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        _all_reduce(flat)
        flat /= self.world
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        torch._foreach_copy_(tensors, [p.view_as(t) for p, t in zip(parts, tensors, strict=True)])


ALONE = Ranks()


@contextlib.contextmanager
def joined(device: torch.device, batch: int) -> Iterator[Ranks]:
    """Join the other processes where torchrun started this one; alone otherwise.

    `batch` must be a multiple of their number (SettingsError), or the mean of the ranks' means would be another.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield ALONE
        return
    ranks = Ranks(rank=int(os.environ["RANK"]), world=world, local=int(os.environ.get("LOCAL_RANK", "0")))
    if batch % world:
        raise SettingsError(f"batch_size is {batch}, which {world} processes cannot share equally.")
    cuda = device.type == "cuda"
    if cuda and ranks.local >= torch.cuda.device_count():
        raise UsageError(
            f"torchrun started more processes here than the {torch.cuda.device_count()} GPUs of this machine; "
            "lower --nproc-per-node."
        )
    if cuda:
        torch.cuda.set_device(ranks.local)
    with _partners():
        dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=PATIENCE)
    heartbeat = Heartbeat(ranks.rank, ranks.world)
    try:
        yield ranks
        ranks.meet()
    finally:
        heartbeat.stop()
        dist.destroy_process_group()


def synchronise_batchnorm(network: nn.Module, device: torch.device) -> None:
    """Let every BatchNorm take its statistics over the batches of all ranks; the tensors stay the same.

    Errors: SettingsError without CUDA, since `nn.SyncBatchNorm` runs on GPUs only.
    """
    if device.type != "cuda":
        raise SettingsError(f"sync_batchnorm runs on CUDA devices only, and this run trains on '{device.type}'.")
    nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]


def _all_reduce(tensor: Tensor, operation: Any = dist.ReduceOp.SUM) -> None:
    with _partners():
        dist.all_reduce(tensor, operation)


@contextlib.contextmanager
def _partners() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = re.sub(r"^\[[^]]*\]\s*", "", str(error).strip().splitlines()[0]).split(". ")[0]
        raise SrganError(
            f"this process (rank {os.environ.get('RANK', '0')}) lost another one of its job, which died or cannot be "
            f"reached ({reason}). Look at that one's last message, then start the job again with --resume."
        ) from error
