"""phi_ij: agreement with NumPy, as deep as asked, frozen, open to the gradient; and the files that VGG19 is read from."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from srgan.errors import WeightsError
from srgan.model.vgg import LAYERS, VGG19, read_vgg
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


Tensors = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def made_up() -> Tensors:
    """VGG19's shapes; zero (it packs well) but for two layers whose every value is another."""
    tensors = {}
    for layer in LAYERS.values():
        tensors[f"{layer.name}.weight"] = np.zeros(layer.shape, np.float32)
        tensors[f"{layer.name}.bias"] = np.full(layer.shape[0], int(layer.name[4] + layer.name[6]), np.float32)
    for name in ("conv1_1.weight", "conv2_1.weight"):
        shape = tensors[name].shape
        tensors[name] = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return tensors


def _same(got: Tensors, expected: Tensors) -> bool:
    return got.keys() == expected.keys() and all(
        got[name].dtype == np.float32 and np.array_equal(got[name], expected[name]) for name in expected
    )


KERAS_NAMES = (
    ("{0}/{0}_W_1:0", "{0}/{0}_b_1:0"),
    ("{0}/{0}/kernel:0", "{0}/{0}/bias:0"),
    ("model_weights/{0}/{0}/kernel:0", "model_weights/{0}/{0}/bias:0"),
)
"""Kernel and bias of a layer in files of Keras 1, of Keras 2, and of a whole model."""


@pytest.mark.parametrize(("kernel", "bias"), KERAS_NAMES)
def test_reads_keras_s_notop_file(tmp_path, made_up, kernel, bias):
    path = tmp_path / "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
    with h5py.File(path, "w") as file:
        file.create_group(kernel.format("block1_pool").rpartition("/")[0])
        for layer in LAYERS.values():
            hwio = made_up[f"{layer.name}.weight"].transpose(2, 3, 1, 0)
            file.create_dataset(kernel.format(layer.keras), data=hwio, compression="gzip", compression_opts=1)
            file.create_dataset(bias.format(layer.keras), data=made_up[f"{layer.name}.bias"])
    assert _same(read_vgg(path), made_up)


def test_theano_s_order_of_axes_is_refused(tmp_path):
    path = tmp_path / "vgg19_weights_th_dim_ordering_th_kernels_notop.h5"
    with h5py.File(path, "w") as file:
        for layer in LAYERS.values():
            file.create_dataset(f"{layer.keras}/{layer.keras}_W_1:0", shape=layer.shape, dtype="f4")
            file.create_dataset(f"{layer.keras}/{layer.keras}_b_1:0", shape=layer.shape[:1], dtype="f4")
    with pytest.raises(WeightsError, match=r"conv1_1\.weight is \(3, 3, 64, 3\), but VGG19's is \(64, 3, 3, 3\)"):
        read_vgg(path)


def test_reads_npz_and_safetensors(tmp_path, made_up):
    np.savez_compressed(tmp_path / "vgg19.npz", **made_up)
    assert _same(read_vgg(tmp_path / "vgg19.npz"), made_up)
    save_file(made_up, tmp_path / "vgg19.safetensors")
    assert _same(read_vgg(tmp_path / "vgg19.safetensors"), made_up)
    (tmp_path / "vgg19.safetensors").unlink()  # 80 MB


def test_reads_the_packed_file_as_the_unpacked_one(data, vgg19_file):
    assert _same(read_vgg(data / "vgg19" / "vgg19_conv_caffe_bgr_compact.npz"), read_vgg(vgg19_file))


@pytest.mark.parametrize("name", ["vgg19-dcbb9e9d.pth", "vgg19.safetensors", "vgg19.npz"])
def test_torchvision_s_network_is_recognised_and_refused(tmp_path, name):
    tensors = {f"features.{n}.weight": np.zeros((64, 3, 3, 3), np.float32) for n in (0, 2, 5)}
    writers = {".pth": lambda path, tensors: path.touch(), ".npz": lambda path, tensors: np.savez(path, **tensors)}
    writers.get(Path(name).suffix, lambda path, tensors: save_file(tensors, path))(tmp_path / name, tensors)
    with pytest.raises(WeightsError, match=r"torchvision's VGG19.*ten times smaller.*Oxford \(Caffe\)"):
        read_vgg(tmp_path / name)


def test_another_shape_a_missing_layer_and_nan_are_named(tmp_path, made_up):
    path = tmp_path / "vgg.npz"

    def refused(tensors: Tensors) -> str:
        np.savez_compressed(path, **tensors)
        with pytest.raises(WeightsError) as error:
            read_vgg(path)
        return str(error.value)

    start = {name: tensor for name, tensor in made_up.items() if name.startswith("conv1_")}
    wrong = {**start, "conv1_2.weight": np.zeros((64, 64, 5, 5), np.float32)}
    assert "conv1_2.weight is (64, 64, 5, 5), but VGG19's is (64, 64, 3, 3)" in refused(wrong)
    assert "it has no conv2_1.weight (Keras: block2_conv1)" in refused(start)
    assert "conv1_1.bias holds NaN" in refused({**start, "conv1_1.bias": np.full(64, np.nan, np.float32)})


def test_damaged_and_foreign_files_give_a_sentence(tmp_path):
    for name in ("a.h5", "a.npz", "a.safetensors"):
        (tmp_path / name).write_bytes(b"not at all" * 50)
        with pytest.raises(WeightsError, match="cannot be read as VGG19"):
            read_vgg(tmp_path / name)
    with pytest.raises(WeightsError, match=r"not from '\.mat'"):
        (tmp_path / "imagenet-vgg-verydeep-19.mat").touch()
        read_vgg(tmp_path / "imagenet-vgg-verydeep-19.mat")
    with pytest.raises(WeightsError, match=r"no VGG19 at .*missing\.npz"):
        read_vgg(tmp_path / "missing.npz")
