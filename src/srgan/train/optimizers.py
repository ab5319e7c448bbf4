"""Adam and Muon with their state as named tensors, and the moving average of a generator's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from srgan.train.muon import Muon

_PARTS = ("exp_avg", "exp_avg_sq", "step", "momentum")


def adam(network: nn.Module, *, b1: float, b2: float) -> torch.optim.Adam:
    """Adam over a network's parameters, fused where the device has it; the rate is set at every step."""
    return torch.optim.Adam(network.parameters(), **_options(network, b1, b2))


def muon(generator: nn.Module, *, b1: float, b2: float) -> Muon:
    """Muon over the kernels between a generator's first and last layer, Adam over the rest."""
    kernels: list[Tensor] = []
    others: list[Tensor] = []
    for name, parameter in generator.named_parameters():
        inside = parameter.dim() == 4 and not name.startswith(("head.", "tail."))
        (kernels if inside else others).append(parameter)
    return Muon(kernels, others, **_options(generator, b1, b2))


def _options(network: nn.Module, b1: float, b2: float) -> dict[str, Any]:
    """Of Adam. On CUDA the rate is a tensor, so that a captured step (`compute.Update`) reads that of the moment."""
    device = next(network.parameters()).device
    cuda = device.type == "cuda"
    rate = torch.tensor(1e-4, device=device) if cuda else 1e-4
    return {"lr": rate, "betas": (b1, b2), "fused": cuda or device.type == "cpu", "capturable": cuda}


def set_learning_rate(optimizer: torch.optim.Adam, rate: float) -> None:
    """Use `rate` from the next step on."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def state_tensors(optimizer: torch.optim.Adam, network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """(`<parameter>.<part>`, tensor) for every parameter that has been updated."""
    for name, parameter in network.named_parameters():
        for part in _PARTS:
            if part in optimizer.state.get(parameter, {}):
                yield f"{name}.{part}", optimizer.state[parameter][part]


def load_state(optimizer: torch.optim.Adam, network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Take over what `state_tensors` gave; parameters without a state start anew."""
    optimizer.state.clear()
    for name, parameter in network.named_parameters():
        found = {part: tensors[f"{name}.{part}"] for part in _PARTS if f"{name}.{part}" in tensors}
        if found:
            optimizer.state[parameter] = {
                part: _like(parameter, tensor)
                if tensor.dim()
                else tensor.clone().to(_step_device(optimizer, parameter))
                for part, tensor in found.items()
            }


@torch.no_grad()
def average(mean: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """mean <- decay * mean + (1 - decay) * network, BatchNorm's statistics too; quicker in the first steps."""
    weight = 1.0 - min(decay, (1.0 + step) / (10.0 + step))
    torch._foreach_lerp_(list(float_state(mean).values()), list(float_state(network).values()), weight)


def float_state(network: nn.Module) -> dict[str, Tensor]:
    """The tensors that a network computes with, by name: all but BatchNorm's counters of batches."""
    return {name: tensor for name, tensor in network.state_dict().items() if tensor.is_floating_point()}


def _like(parameter: Tensor, tensor: Tensor) -> Tensor:
    """`tensor` on the parameter's device and in its order of memory, which fused Adam takes for granted."""
    return torch.empty_like(parameter, requires_grad=False).copy_(tensor)


def _step_device(optimizer: torch.optim.Adam, parameter: Tensor) -> torch.device:
    return parameter.device if optimizer.param_groups[0].get("fused") else torch.device("cpu")
