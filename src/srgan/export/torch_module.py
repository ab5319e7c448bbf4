"""The folded generator as a PyTorch module with free shapes, for `torch.export`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from srgan.model.config import GeneratorConfig, generator_layers
from srgan.model.weights import Tensors


class FoldedGenerator(nn.Module):
    """lr (N, 3, H, W) -> sr (N, 3, sH, sW), float32 RGB in 0..1, clamped; `half`: float16 inside."""

    def __init__(self, config: GeneratorConfig, tensors: Tensors, *, half: bool = False) -> None:
        super().__init__()
        self.config = config
        self.dtype = torch.float16 if half else torch.float32
        for name, value in tensors.items():
            parameter = torch.from_numpy(np.array(value)).to(self.dtype)
            self.register_parameter(name.replace(".", "_"), nn.Parameter(parameter, requires_grad=False))

    def forward(self, lr: Tensor) -> Tensor:
        outputs: dict[str, Tensor] = {"input": lr.to(self.dtype)}
        last = "input"
        for layer in generator_layers(self.config):
            x, name = outputs[layer.source], layer.name.replace(".", "_")
            if layer.kind == "conv":
                weight, bias = self.get_parameter(f"{name}_weight"), self.get_parameter(f"{name}_bias")
                x = functional.conv2d(x, weight, bias, padding=layer.kernel // 2)
            elif layer.kind == "prelu":
                x = functional.prelu(x, self.get_parameter(f"{name}_weight"))
            elif layer.kind == "add":
                x = x + outputs[layer.other]
            elif layer.kind == "shuffle":
                x = functional.pixel_shuffle(x, 2)
            outputs[last := layer.name] = x  # norm: folded into its convolution
        return ((outputs[last].float() + 1) / 2).clamp(0, 1)


def exported(config: GeneratorConfig, tensors: Tensors, *, half: bool = False) -> torch.export.ExportedProgram:
    """The generator's program with batch, height and width free from 1 up."""
    module = FoldedGenerator(config, tensors, half=half).eval()
    example = torch.zeros(2, config.channels, 16, 24)
    auto = torch.export.Dim.DYNAMIC
    return torch.export.export(module, (example,), dynamic_shapes={"lr": {0: auto, 2: auto, 3: auto}})
