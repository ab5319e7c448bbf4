"""How a step is computed: number type, precision, compiled, as one CUDA graph; never what is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from srgan.data.loader import Batch
from srgan.errors import SrganError
from srgan.train.distributed import Ranks
from srgan.train.settings import TrainSettings
from srgan.train.steps import Losses

Say = Callable[[str], None]
WARM_UP = 3
"""Steps run outside the graph first, so that what is chosen and allocated once is not part of it."""


class State(Protocol):
    """What a failed first step may have touched."""

    def tensors(self) -> dict[str, Tensor]: ...
    def load(self, tensors: Mapping[str, Tensor]) -> None: ...


def configure(settings: TrainSettings, device: torch.device) -> None:
    """The process-wide switches: TF32 unless fp32 was asked for, the search for the quickest convolution."""
    if device.type == "cuda":
        tf32 = settings.precision in ("auto", "bf16", "tf32")
        torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.backends.cudnn.allow_tf32 = tf32
        torch.backends.cudnn.benchmark = not settings.deterministic


def number_type(settings: TrainSettings) -> torch.dtype:
    """Of weights, pictures, losses and statistics."""
    return torch.float64 if settings.precision == "fp64" else torch.float32


def half(settings: TrainSettings, device: torch.device) -> bool:
    """Whether the networks compute in bf16."""
    wanted = settings.precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported(False)
    return settings.precision == "bf16" or wanted


def autocast(settings: TrainSettings, device: torch.device) -> torch.autocast:
    """bf16 where the settings and the device have it; elsewhere a context that does nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=half(settings, device))


class Forward:
    """A network's forward, fused by torch.compile until that is given up."""

    def __init__(self, network: nn.Module, *, fuse: bool) -> None:
        self.network = network
        self.call: Callable[[Tensor], Any] = torch.compile(network) if fuse else network

    def __call__(self, x: Tensor) -> Any:
        return self.call(x)

    def give_up(self) -> None:
        """The network as it is from now on."""
        self.call = self.network


def fused(settings: TrainSettings, device: torch.device) -> bool:
    """Whether torch.compile is used: not on a CPU, where it gains nothing (docs/benchmarks.md)."""
    return settings.compile and device.type != "cpu" and not settings.sync_batchnorm


def update(
    function: Callable[[Batch], Losses],
    state: State,
    forwards: list[Forward],
    settings: TrainSettings,
    device: torch.device,
    ranks: Ranks,
    say: Say,
) -> Update:
    """A phase's `Update` as the settings want it; several processes do without a graph."""
    graph = settings.graph and device.type == "cuda" and ranks.world == 1
    return Update(function, state, forwards=forwards if fused(settings, device) else [], graph=graph, say=say)


class Update:
    """A step's function, run in the quickest way that works; what does not work is said and left.

    `forwards`: the compiled networks inside it, empty without torch.compile. `graph`: capture the function,
    after a few steps, as one CUDA graph: all its kernels are then launched at once. Batches keep their shape.
    """

    def __init__(
        self,
        function: Callable[[Batch], Losses],
        state: State,
        *,
        forwards: list[Forward],
        graph: bool,
        say: Say,
    ) -> None:
        self.function, self.state, self.forwards, self.say = function, state, forwards, say
        self.calls = 0
        self.stream = torch.cuda.Stream() if graph else None  # type: ignore[no-untyped-call]
        self.graph: _Graph | None = None

    def __call__(self, batch: Batch) -> Losses:
        """Losses of one update; those of a graph are overwritten by the next call."""
        self.calls += 1
        if self.calls == 1 and self.forwards:
            return self._first(batch)
        if self.stream is None:
            return self.function(batch)
        if self.calls <= WARM_UP:
            return self._beside(batch, self.stream)
        if self.graph is None:
            try:
                self.graph = _Graph(self.function, batch, self.stream)
            except RuntimeError as error:
                self.stream = None
                self.say(f"CUDA could not capture the step as a graph ({_first_line(error)}): going on without.")
                return self.function(batch)
        return self.graph(batch)

    def _first(self, batch: Batch) -> Losses:
        """The first step, where everything is compiled; if that fails, the same step again without."""
        before = {name: tensor.clone() for name, tensor in self.state.tensors().items()}
        try:
            return self.function(batch)
        except SrganError:
            raise
        except Exception as error:  # compilers fail in ways of their own; other faults show again below
            self.say(f"torch.compile failed ({_first_line(error)}): going on without it.")
            for forward in self.forwards:
                forward.give_up()
            self.state.load(before)
            return self.function(batch)

    def _beside(self, batch: Batch, stream: torch.cuda.Stream) -> Losses:
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            losses = self.function(batch)
        torch.cuda.current_stream().wait_stream(stream)
        return losses


class _Graph:
    """One captured step: its batch is copied into place, its kernels replayed, its losses overwritten."""

    def __init__(self, function: Callable[[Batch], Losses], batch: Batch, stream: torch.cuda.Stream) -> None:
        self.batch = Batch(*(tensor.clone() for tensor in batch))
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=stream):
            self.losses = function(self.batch)

    def __call__(self, batch: Batch) -> Losses:
        for place, tensor in zip(self.batch, batch, strict=True):
            place.copy_(tensor)
        self.graph.replay()
        return self.losses


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"
