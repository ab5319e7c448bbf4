"""phi_ij: agreement with NumPy, only as deep as asked, frozen, and open to the gradient."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from srgan.model.vgg import VGG19
from tests.model import numpy_networks
from tests.support import random_vgg


@pytest.fixture(scope="module")
def tensors() -> dict[str, NDArray[np.float32]]:
    return random_vgg()


def test_agrees_with_numpy_at_every_layer_that_is_asked_for(tensors):
    rgb_signed = np.random.default_rng(1).uniform(-1, 1, (3, 37, 18))
    wanted = ("11", "22", "31", "44", "54")
    network = VGG19(tensors, layers=wanted).double()
    features = network(torch.from_numpy(rgb_signed)[None])
    assert tuple(features) == wanted
    assert [tuple(features[layer].shape) for layer in wanted] == [
        (1, 64, 37, 18),
        (1, 128, 18, 9),
        (1, 256, 9, 4),
        (1, 512, 4, 2),
        (1, 512, 2, 1),
    ]
    for layer in ("11", "22", "54"):
        expected = numpy_networks.vgg_features(rgb_signed, tensors, layer)
        np.testing.assert_allclose(features[layer][0].numpy(), expected, rtol=1e-6, atol=1e-4)  # the mean is float32


def test_computes_no_further_than_the_deepest_layer(tensors):
    shallow = {name: tensor for name, tensor in tensors.items() if name.startswith(("conv1_", "conv2_"))}
    network = VGG19(shallow, layers=("22",))
    assert sum(buffer.numel() for buffer in network.buffers()) == 38_720 + 73_856 + 147_584 + 3
    assert network(torch.zeros(1, 3, 8, 8))["22"].shape == (1, 128, 4, 4)


def test_is_frozen_but_lets_the_gradient_through(tensors):
    network = VGG19(tensors, layers=("22",)).train()
    assert not list(network.parameters())
    picture = torch.zeros(1, 3, 8, 8, requires_grad=True)
    network(picture)["22"].sum().backward()
    assert picture.grad is not None
    assert picture.grad.abs().min() > 0
