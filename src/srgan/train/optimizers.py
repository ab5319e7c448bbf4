"""Adam and Muon (Jordan et al. 2024) with their state as named tensors, and the moving average of a generator."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""a, b, c of X <- aX + bXX'X + cXX'XX'X, which moves all singular values close to 1 in a few steps."""
NEWTON_SCHULZ_STEPS = 5
MOMENTUM = 0.95
RMS_SCALE = 0.6
"""Root mean square of a kernel's change, in learning rates. Adam's is about 0.2 to 0.4 (Liu et al. 2025, section 2.2)."""
_STATE_PARTS = ("exp_avg", "exp_avg_sq", "step", "momentum")


class Muon(torch.optim.Adam):
    """Muon for `kernels` (convolutions, four dimensions), Adam for `others`; `torch.optim.Muon` takes matrices only.

    Muon's step is the momentum of the gradient, as a matrix of one row per output channel, with all its singular values
    made equal: directions with little effect on the loss are learned as fast as those that dominate it.
    """

    def __init__(self, kernels: list[Tensor], others: list[Tensor], **adam: Any) -> None:
        """`adam`: the options of `torch.optim.Adam`."""
        super().__init__([{"params": others}, {"params": kernels}], **adam)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of all parameters; deletes the gradients of the kernels."""
        group = self.param_groups[1]
        kernels = [kernel for kernel in group["params"] if kernel.grad is not None]
        for _, alike in itertools.groupby(sorted(kernels, key=lambda k: k.shape), key=lambda k: k.shape):
            self._step(list(alike), group["lr"])
        for kernel in kernels:
            kernel.grad = None  # Adam skips parameters without a gradient
        return super().step(closure)

    def _step(self, kernels: list[Tensor], learning_rate: float) -> None:
        # Momentum.
        for kernel in kernels:
            if "momentum" not in self.state[kernel]:
                self.state[kernel]["momentum"] = torch.zeros_like(kernel)
        momenta = [self.state[kernel]["momentum"] for kernel in kernels]
        gradients = [kernel.grad for kernel in kernels if kernel.grad is not None]
        torch._foreach_lerp_(momenta, gradients, 1.0 - MOMENTUM)
        nesterov = torch._foreach_lerp(gradients, momenta, MOMENTUM)
        # Columns in the order of channels_last memory, which does not change the singular vectors of a row space.
        matrices = torch.stack([x.permute(0, 2, 3, 1).flatten(1) for x in nesterov])
        change = orthogonal(matrices) * (RMS_SCALE * max(matrices.shape[1:]) ** 0.5 * learning_rate)
        outputs, inputs, height, width = kernels[0].shape
        for kernel, flat in zip(kernels, change, strict=True):
            kernel.sub_(flat.view(outputs, height, width, inputs).permute(0, 3, 1, 2))


def orthogonal(matrices: Tensor) -> Tensor:
    """(N, rows, columns) -> the same singular vectors with singular values between about 0.7 and 1.2."""
    tall = matrices.shape[1] > matrices.shape[2]
    x: Tensor = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-20)
    a, b, c = COEFFICIENTS
    for _ in range(NEWTON_SCHULZ_STEPS):
        square = x @ x.mT
        x = a * x + (b * square + c * (square @ square)) @ x
    return x.mT if tall else x


def adam(network: nn.Module, *, b1: float, b2: float) -> torch.optim.Adam:
    """Adam over a network's parameters; the learning rate is set at every step."""
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
    device = next(network.parameters()).device
    return {"lr": 0.0, "betas": (b1, b2), "fused": device.type in ("cuda", "cpu")}


def set_learning_rate(optimizer: torch.optim.Adam, learning_rate: float) -> None:
    """Use `learning_rate` from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate


def named_state(optimizer: torch.optim.Adam, network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """(`<parameter>.<part>`, tensor) for every parameter that has been updated."""
    for name, parameter in network.named_parameters():
        for part in _STATE_PARTS:
            if part in optimizer.state.get(parameter, {}):
                yield f"{name}.{part}", optimizer.state[parameter][part]


def load_named_state(optimizer: torch.optim.Adam, network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Replace the state by what `named_state` gave; parameters without one for this optimizer start anew."""
    optimizer.state.clear()
    for name, parameter in network.named_parameters():
        state = {part: tensors[f"{name}.{part}"] for part in _STATE_PARTS if f"{name}.{part}" in tensors}
        if "step" in state or isinstance(optimizer, Muon):
            # Fused Adam expects its counter of steps on the device, and the rest in the parameter's memory format.
            device = parameter.device if optimizer.param_groups[0].get("fused") else "cpu"
            optimizer.state[parameter] = {
                part: torch.empty_like(parameter, requires_grad=False).copy_(tensor)
                if tensor.dim()
                else tensor.clone().to(device)
                for part, tensor in state.items()
            }


@torch.no_grad()
def update_ema(ema: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """ema <- decay * ema + (1 - decay) * network, BatchNorm's statistics too; a smaller decay in the first steps."""
    weight = 1.0 - min(decay, (1.0 + step) / (10.0 + step))
    torch._foreach_lerp_(list(float_state(ema).values()), list(float_state(network).values()), weight)


def float_state(network: nn.Module) -> dict[str, Tensor]:
    """The tensors of a network by name, without BatchNorm's counters of batches, which nothing reads."""
    return {name: tensor for name, tensor in network.state_dict().items() if tensor.is_floating_point()}
