"""Training in several processes, as torchrun starts them.

Gradients are averaged by one all-reduce of all of them, concatenated, after each backward pass. Two networks that are
updated in turn then need no wrapper, and the compiled forward stays as it is.
"""

import contextlib
import importlib
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
from srgan.fs import first_line

T = TypeVar("T")
TIMEOUT = timedelta(hours=12)
"""Of exchanges on the CPU (gloo), where the other ranks wait while rank 0 packs, validates or saves. gloo notices a dead
process by its closed connection. Gradients on CUDA (NCCL) keep PyTorch's default timeout."""


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process's place among those of a job."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    """Place among the processes of this machine: which GPU."""
    cpu_group: Any = None
    """The gloo group for tensors on the CPU; None: the default group."""

    @property
    def is_main(self) -> bool:
        """Rank 0 alone writes files, validates and shows messages."""
        return self.rank == 0

    def average_gradients(self, optimizer: torch.optim.Optimizer) -> None:
        """Every gradient <- its mean over the ranks."""
        parameters = (p for group in optimizer.param_groups for p in group["params"])
        self._average([p.grad for p in parameters if p.grad is not None])

    def average_statistics(self, networks: Iterable[nn.Module]) -> None:
        """BatchNorm's running statistics <- their mean over the ranks, before rank 0 validates or saves."""
        self._average([b for network in networks for b in network.buffers() if b.is_floating_point()])

    def all_reduce_mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """The numbers, averaged over the ranks."""
        numbers = torch.tensor(list(values.values()), dtype=torch.float64)
        self._all_reduce_cpu(numbers, dist.ReduceOp.SUM)
        return dict(zip(values, (numbers / self.world_size).tolist(), strict=True))

    def all_reduce_max(self, number: int) -> int:
        """The largest of the ranks' numbers; every rank must call it."""
        value = torch.tensor(number)
        self._all_reduce_cpu(value, dist.ReduceOp.MAX)
        return int(value)

    def broadcast_object(self, make: Callable[[], T]) -> T:
        """What `make` returns on rank 0, on all ranks."""
        if self.world_size == 1:
            return make()
        objects: list[Any] = [make() if self.is_main else None]
        with peer_errors():
            dist.broadcast_object_list(objects, src=0, group=self.cpu_group, device=torch.device("cpu"))
        return objects[0]  # type: ignore[no-any-return]

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors with those of rank 0."""
        if self.world_size > 1:
            with peer_errors():
                for tensor in tensors:
                    group = self.cpu_group if tensor.device.type == "cpu" else None
                    contiguous = tensor.contiguous()
                    dist.broadcast(contiguous, src=0, group=group)
                    tensor.copy_(contiguous)

    def local_main_first(self, make: Callable[[], T]) -> T:
        """`make` on every rank, but on one rank of each machine before the others: it packs, they open the pack."""
        made = make() if self.local_rank == 0 else None
        self.barrier()
        return make() if made is None else made

    def barrier(self) -> None:
        """Wait until all ranks are here."""
        self.all_reduce_max(0)

    def _average(self, tensors: list[Tensor]) -> None:
        if self.world_size == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        with peer_errors():
            dist.all_reduce(flat, group=self.cpu_group if flat.device.type == "cpu" else None)
        flat /= self.world_size
        parts = torch.split(flat, [tensor.numel() for tensor in tensors])
        torch._foreach_copy_(tensors, [p.view_as(t) for p, t in zip(parts, tensors, strict=True)])

    def _all_reduce_cpu(self, tensor: Tensor, operation: Any) -> None:
        if self.world_size > 1:
            with peer_errors():
                dist.all_reduce(tensor, operation, group=self.cpu_group)


ALONE = Ranks()


@contextlib.contextmanager
def process_group(device: torch.device, batch_size: int) -> Iterator[Ranks]:
    """Join the other processes where torchrun started this one; `ALONE` otherwise.

    Errors: SettingsError where `batch_size` is no multiple of their number, since the mean of the ranks' means would then
    be another mean; UsageError for more processes than GPUs.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size == 1:
        yield ALONE
        return
    rank, local_rank = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", "0"))
    if batch_size % world_size:
        raise SettingsError(f"batch_size is {batch_size}, which {world_size} processes cannot share equally.")
    cuda = device.type == "cuda"
    if cuda:
        if local_rank >= (count := torch.cuda.device_count()):
            raise UsageError(f"torchrun started more processes here than {count} GPUs; lower --nproc-per-node.")
        torch.cuda.set_device(local_rank)
    # torch 2.15 keeps the group alive where torch._dynamo, which the first optimizer step imports, comes after it. gloo's
    # threads then outlive destroy_process_group and can abort the process at its exit.
    importlib.import_module("torch._dynamo")
    with peer_errors():
        dist.init_process_group("nccl" if cuda else "gloo", timeout=None if cuda else TIMEOUT)
        cpu_group = dist.new_group(backend="gloo", timeout=TIMEOUT) if cuda else None
    ranks = Ranks(rank=rank, world_size=world_size, local_rank=local_rank, cpu_group=cpu_group)
    try:
        yield ranks
        ranks.barrier()
    finally:
        dist.destroy_process_group()


def synchronise_batchnorm(network: nn.Module, device: torch.device) -> None:
    """Compute every BatchNorm's statistics over the batches of all ranks; the tensors stay the same.

    Errors: SettingsError without CUDA, since `nn.SyncBatchNorm` runs on GPUs only.
    """
    if device.type != "cuda":
        raise SettingsError(f"sync_batchnorm runs on CUDA devices only, and this run trains on '{device.type}'.")
    nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def peer_errors() -> Iterator[None]:
    """Turn the failure of an exchange into a sentence about the other processes."""
    try:
        yield
    except RuntimeError as error:
        reason = re.sub(r"^\[[^]]*\]\s*", "", first_line(error)).split(". ")[0]
        raise SrganError(
            f"this process (rank {os.environ.get('RANK', '0')}) lost another one of its job, which died or cannot be "
            f"reached ({reason}). Read that one's last message, then start the job again with --resume."
        ) from error
