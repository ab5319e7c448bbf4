"""The discriminator: agreement with NumPy, its crop, logits."""

import numpy as np
import pytest
import torch

from srgan.image import files
from srgan.model.discriminator import FEATURE_SCALES, Discriminator, FeatureDiscriminator
from srgan.model.vgg import LAYERS, VGG19
from tests.model import numpy_networks


@pytest.mark.parametrize("crop", [16, 32, 48])
def test_agrees_with_numpy(crop):
    torch.manual_seed(crop)
    network = Discriminator(crop=crop, width=3).double()
    for _ in range(3):  # statistics other than 0 and 1
        network(torch.randn(4, 3, crop, crop, dtype=torch.float64))
    network.eval()
    signed = torch.rand(2, 3, crop, crop, dtype=torch.float64) * 2 - 1
    tensors = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    expected = [numpy_networks.judged(picture.numpy(), tensors) for picture in signed]
    with torch.no_grad():
        np.testing.assert_allclose(network(signed).numpy(), np.stack(expected), rtol=1e-9, atol=1e-12)


def test_logits_are_not_probabilities():
    network = Discriminator(crop=16, width=2).eval()
    with torch.no_grad():
        network.dense[2].bias.fill_(7.5)
        network.dense[2].weight.zero_()
    assert network(torch.zeros(1, 3, 16, 16)).item() == 7.5


def _maps(n: int, crop: int) -> dict[str, torch.Tensor]:
    return {
        layer: 100 * torch.randn(n, LAYERS[layer].shape[0], *2 * [crop >> int(layer[0]) - 1], dtype=torch.float64)
        for layer in FEATURE_SCALES
    }


def test_features_every_place_of_phi_44_has_a_logit_from_each_map_and_sees_what_lies_around_it():
    torch.manual_seed(0)
    network, maps = FeatureDiscriminator(width=4).double(), _maps(2, 96)
    shape = (2, len(FEATURE_SCALES), 12, 12)
    logits = network(maps).detach().view(shape)
    for row, layer in enumerate(FEATURE_SCALES):
        pool = 2 ** (4 - int(layer[0]))
        middle = 6 * pool
        changed = dict(maps)
        changed[layer] = maps[layer].clone()
        changed[layer][1, :, middle, middle] += 1000.0
        moved = (network(changed).detach().view(shape) - logits) != 0
        places = torch.zeros(12, 12, dtype=torch.bool)
        near = slice((middle - 1) // pool, (middle + 1) // pool + 1)  # 3x3 places of its own map
        places[near, near] = True
        assert torch.equal(moved[1, row], places)
        moved[1, row] = False
        assert not moved.any()


def test_features_hundreds_of_levels_reach_the_small_convolutions_as_ones(vgg19_file, data):
    vgg = VGG19(vgg19_file, layers=tuple(FEATURE_SCALES))
    squares: dict[str, list[float]] = {layer: [] for layer in FEATURE_SCALES}
    for path in sorted((data / "valid/Kodak24").glob("*.png"))[:8]:
        hr = torch.from_numpy(files.read_array(path)[100:292, 100:292].copy()).permute(2, 0, 1)[None] / 127.5 - 1
        for layer, map_ in vgg(hr.float()).items():
            squares[layer].append(float((map_ * FEATURE_SCALES[layer]).square().mean()))
    for layer, found in squares.items():
        assert 0.5 < np.mean(found) ** 0.5 < 2.0, layer
