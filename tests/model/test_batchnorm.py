"""BatchNorm against PyTorch's own, whose counter of batches ours leaves out."""

from __future__ import annotations

import torch
from torch import nn

from srgan.model.batchnorm import BatchNorm, Synchronised, anchor, freeze


def test_trains_and_evaluates_like_pytorch_s() -> None:
    ours, theirs = BatchNorm(5).double(), nn.BatchNorm2d(5).double()
    rng = torch.Generator().manual_seed(0)
    for _ in range(3):
        x = torch.randn(4, 5, 3, 6, dtype=torch.float64, generator=rng) * 3 + 1
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        (ours(a) ** 3).sum().backward()
        (theirs(b) ** 3).sum().backward()
        assert torch.equal(ours(x), theirs(x))
        assert torch.equal(a.grad, b.grad)
    assert torch.equal(ours.running_mean, theirs.running_mean)
    assert torch.equal(ours.running_var, theirs.running_var)
    assert torch.equal(ours.eval()(x), theirs.eval()(x))


def test_evaluation_leaves_the_statistics_alone() -> None:
    norm = BatchNorm(2).eval()
    norm(torch.randn(2, 2, 4, 4) + 5)
    assert torch.equal(norm.running_mean, torch.zeros(2))
    assert torch.equal(norm.running_var, torch.ones(2))


def test_state_is_the_four_tensors_of_a_weights_file() -> None:
    assert list(BatchNorm(2).state_dict()) == ["weight", "bias", "running_mean", "running_var"]


def test_frozen_it_trains_as_it_evaluates() -> None:
    norm = BatchNorm(3).double()
    for layer in (norm, Synchronised(norm, lambda total: total)):
        layer.running_mean.copy_(torch.tensor([1.0, -2.0, 0.5]))
        layer.running_var.copy_(torch.tensor([4.0, 0.25, 1.0]))
        freeze(layer)
        before = {name: tensor.clone() for name, tensor in layer.named_buffers()}
        x = torch.randn(4, 3, 5, 5, dtype=torch.float64, requires_grad=True)
        trained = layer.train()(x)
        trained.sum().backward()
        assert torch.equal(trained, layer.eval()(x))
        assert all(torch.equal(tensor, before[name]) for name, tensor in layer.named_buffers())
        # an affine map: no picture of the batch, nor any pixel, has a part in another one's gradient
        slope = (1 / (torch.tensor([4.0, 0.25, 1.0], dtype=torch.float64) + 1e-5).sqrt()).view(1, 3, 1, 1)
        assert x.grad is not None
        torch.testing.assert_close(x.grad, slope.expand_as(x))


def test_anchored_it_does_the_same_by_other_statistics() -> None:
    norm = BatchNorm(2).double().eval()
    norm.running_mean.copy_(torch.tensor([3.0, -1.0]))
    norm.running_var.copy_(torch.tensor([0.5, 2.0]))
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([-1.5, 0.25]))
        norm.bias.copy_(torch.tensor([0.1, -0.2]))
    x = torch.randn(6, 2, 40, 40, dtype=torch.float64) * 2 + 1
    before = norm(x)
    anchor(norm, x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0))
    torch.testing.assert_close(norm(x), before)
    torch.testing.assert_close(norm.train()(x), before)  # now the batch's own statistics say the same
