"""Muon: its step as linear algebra has it, PyTorch's own Muon, and which parameters it is for."""

import re

import pytest
import torch

from srgan.model.config import GeneratorConfig
from srgan.model.generator import Generator
from srgan.train import optimizers
from srgan.train.optimizers import RMS_SCALE, Muon, orthogonal


@pytest.mark.parametrize("shape", [(8, 40), (40, 8), (12, 12)])
def test_orthogonal_keeps_singular_vectors_and_evens_the_values(shape):
    rng = torch.Generator().manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(shape, dtype=torch.float64, generator=rng), full_matrices=False)
    values = torch.logspace(-1, 1, min(shape), dtype=torch.float64)
    made = orthogonal((u * values) @ v[None])
    even = u.mT @ made[0] @ v.mT
    assert torch.allclose(even, torch.diag(even.diagonal()), atol=1e-9)
    assert even.diagonal().min() > 0.6 and even.diagonal().max() < 1.3


def test_a_kernel_moves_as_by_pytorch_s_muon():
    """Theirs works on matrices, in bf16, and knows a stride of 0.2 only."""
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this PyTorch has no Muon")
    rng = torch.Generator().manual_seed(0)
    kernel = torch.randn(6, 4, 3, 3, generator=rng).to(memory_format=torch.channels_last).requires_grad_()
    matrix = kernel.detach().flatten(1).clone().requires_grad_()
    ours = Muon([kernel], [torch.zeros(1, requires_grad=True)], lr=1e-2)
    theirs = torch.optim.Muon([matrix], lr=1e-2 * RMS_SCALE / 0.2, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        gradient = torch.randn(6, 4, 3, 3, generator=rng)
        before = matrix.detach().clone()
        kernel.grad, matrix.grad = gradient.clone(), gradient.flatten(1)
        ours.step()
        theirs.step()
        moved = (matrix - before).norm()
        assert (kernel.flatten(1) - matrix).norm() < 0.05 * moved


def test_the_step_s_length_is_the_stride_and_the_others_are_adam_s():
    generator = Generator(GeneratorConfig(blocks=1, width=8)).to(memory_format=torch.channels_last)
    before = {name: p.detach().clone() for name, p in generator.named_parameters()}
    optimizer = optimizers.muon(generator, b1=0.9, b2=0.999)
    optimizers.set_learning_rate(optimizer, 1e-3)
    for parameter in generator.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    optimizer.step()
    for name, parameter in generator.named_parameters():
        length = (parameter - before[name]).square().mean().sqrt()
        if re.fullmatch(r"(body\.0\.conv[12]|trunk\.conv|up\.[01]\.conv)\.weight", name):
            assert 0.6 < length / (RMS_SCALE * 1e-3) < 1.3, name
        else:
            torch.testing.assert_close(length, torch.tensor(1e-3), rtol=1e-3, atol=0.0, msg=name)


def test_its_state_goes_through_names_and_back():
    def stepped(times: int, generator: Generator, optimizer: Muon, first: int = 0) -> None:
        for number in range(first, first + times):
            rng = torch.Generator().manual_seed(number)
            for parameter in generator.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=rng)
            optimizer.step()

    def fresh() -> tuple[Generator, Muon]:
        torch.manual_seed(0)
        generator = Generator(GeneratorConfig(blocks=1, width=4)).to(memory_format=torch.channels_last)
        return generator, optimizers.muon(generator, b1=0.9, b2=0.999)

    straight, first = fresh()
    stepped(5, straight, first)
    before, second = fresh()
    stepped(3, before, second)
    state = {name: tensor.clone() for name, tensor in optimizers.named_state(second, before)}
    assert "body.0.conv1.weight.momentum" in state and "head.conv.weight.exp_avg" in state
    assert "body.0.conv1.weight.exp_avg" not in state
    after, third = fresh()
    after.load_state_dict(before.state_dict())
    optimizers.load_named_state(third, after, state)
    stepped(2, after, third, first=3)
    for (name, a), b in zip(straight.named_parameters(), after.parameters(), strict=True):
        assert torch.equal(a, b), name
