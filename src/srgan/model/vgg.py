"""VGG19's feature maps phi_ij (Simonyan & Zisserman 2015) of section 2.2.1, in the Caffe convention, and its files."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.numpy import load_file
from torch import Tensor, nn

from srgan.errors import WeightsError
from srgan.fs import first_line

MEAN_BGR = (103.939, 116.779, 123.68)
"""ImageNet's mean colour, blue first, 0..255, which the Oxford weights expect to be subtracted."""


class Layer(NamedTuple):
    """One convolution: its name in our file and in Keras's, and the shape of its kernel (out, in, 3, 3)."""

    name: str
    keras: str
    shape: tuple[int, int, int, int]


def _layers() -> dict[str, Layer]:
    layers, inputs = {}, 3
    for block, (count, outputs) in enumerate([(2, 64), (2, 128), (4, 256), (4, 512), (4, 512)], start=1):
        for conv in range(1, count + 1):
            names = (f"conv{block}_{conv}", f"block{block}_conv{conv}")
            layers[f"{block}{conv}"] = Layer(*names, (outputs, inputs, 3, 3))
            inputs = outputs
    return layers


LAYERS = _layers()
"""Configuration E of Simonyan & Zisserman: "11", "12", "21", ... "54" in order of computation."""


class VGG19(nn.Module):
    """RGB images (N, 3, H, W) in [-1, 1] -> {"54": phi_54, ...}, one entry for each of `layers`.

    phi_ij is the output of the j-th convolution after its ReLU, before the i-th max pooling: (N, C, H', W') with
    H' = H / 2^(i-1), rounded down. Computes no further than the deepest of `layers`. The weights are buffers, which no
    optimizer updates; gradients flow through to the images. `weights` is a file for `read_vgg`, or what that returns.
    """

    def __init__(
        self, weights: str | Path | Mapping[str, NDArray[np.float32]], layers: Sequence[str] = ("54",)
    ) -> None:
        super().__init__()
        tensors = weights if isinstance(weights, Mapping) else read_vgg(Path(weights))
        self.returned = frozenset(layers)
        self.computed = tuple(LAYERS)[: 1 + max(map(tuple(LAYERS).index, layers))]
        for layer in self.computed:
            name = LAYERS[layer].name
            self.register_buffer(f"weight_{layer}", torch.from_numpy(np.array(tensors[f"{name}.weight"])))
            self.register_buffer(f"bias_{layer}", torch.from_numpy(np.array(tensors[f"{name}.bias"])))
        self.register_buffer("mean_bgr", torch.tensor(MEAN_BGR).view(1, 3, 1, 1))

    def forward(self, rgb_signed: Tensor) -> dict[str, Tensor]:
        x = (rgb_signed.flip(1) + 1.0) * 127.5 - self.get_buffer("mean_bgr")
        features = {}
        for layer in self.computed:
            if layer.endswith("1") and layer != "11":
                x = F.max_pool2d(x, 2)
            x = F.relu(F.conv2d(x, self.get_buffer(f"weight_{layer}"), self.get_buffer(f"bias_{layer}"), padding=1))
            if layer in self.returned:
                features[layer] = x
        return features


def read_vgg(path: Path) -> dict[str, NDArray[np.float32]]:
    """Tensors `conv5_4.weight` (out, in, 3, 3), `conv5_4.bias` (out,), ... of VGG19 in the Caffe convention.

    Reads `.safetensors` and `.npz` with those names (`.npz` also packed to 8 bits, as `conv5_4.q`), and Keras's "notop"
    HDF5 file. Raises WeightsError, also for torchvision's VGG19, which is another network.
    """
    if not path.is_file():
        raise WeightsError(
            f"there is no VGG19 at {path}; give the unpacked .safetensors or .npz file, "
            "or Keras's vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5."
        )
    suffix = path.suffix.lower()
    if suffix in (".pth", ".pt"):
        raise WeightsError(_TORCHVISION.format(path=path))
    readers: dict[str, Callable[[Path], dict[str, NDArray[Any]]]]
    readers = {".safetensors": load_file, ".npz": _read_npz, ".h5": _read_keras, ".hdf5": _read_keras}
    if suffix not in readers:
        raise WeightsError(f"{path}: VGG19 is read from .safetensors, .npz or Keras's .h5, not from '{path.suffix}'.")
    try:
        tensors = readers[suffix](path)
    except ModuleNotFoundError:  # h5py: the command line names the extra
        raise
    except Exception as error:  # each format's library has its own exceptions for a damaged file
        raise WeightsError(f"{path} cannot be read as VGG19 ({first_line(error)}).") from error
    return _checked(tensors, path)


_TORCHVISION = (
    "{path} is torchvision's VGG19, or named like it: another network, whose features are about ten times smaller, so "
    "that the paper's 1/12.75 starves the content loss. Use the Oxford (Caffe) weights: the unpacked .safetensors or "
    ".npz file, or Keras's notop .h5."
)


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as file:
        tensors = {name: file[name] for name in file.files}
    for name in (layer.name for layer in LAYERS.values() if f"{layer.name}.q" in tensors):
        # A kernel, stored (3, 3, in, out): 8-bit values (steps of `scale` above `low`), then a float tail.
        scale, low = tensors[f"{name}.scale_min"]
        head = (tensors[f"{name}.q"] * scale + low).astype(np.float32)
        values = np.concatenate([head, tensors[f"{name}.tail"]])
        tensors[f"{name}.weight"] = values.reshape(tensors[f"{name}.hwio"]).transpose(3, 2, 0, 1)
    return tensors


def _read_keras(path: Path) -> dict[str, NDArray[Any]]:
    """A layer is a group; whatever its data sets are called, the kernel (3, 3, in, out) has four axes."""
    import h5py

    tensors: dict[str, NDArray[Any]] = {}
    with h5py.File(path) as file:
        root = file.get("model_weights", file)

        def add(name: str, item: Any) -> None:
            layer = next((layer for layer in LAYERS.values() if layer.keras in name.split("/")), None)
            if layer is None or not isinstance(item, h5py.Dataset):
                return
            if item.ndim == 4:
                tensors[f"{layer.name}.weight"] = item[()].transpose(3, 2, 0, 1)
            elif item.ndim == 1:
                tensors[f"{layer.name}.bias"] = item[()]

        root.visititems(add)
    return tensors


def _checked(tensors: Mapping[str, NDArray[Any]], path: Path) -> dict[str, NDArray[np.float32]]:
    if any(name.startswith("features.") for name in tensors):
        raise WeightsError(_TORCHVISION.format(path=path))
    checked = {}
    for layer in LAYERS.values():
        for part, shape in (("weight", layer.shape), ("bias", layer.shape[:1])):
            name = f"{layer.name}.{part}"
            if name not in tensors:
                raise WeightsError(f"{path} is not VGG19: it has no {name} (Keras: {layer.keras}).")
            if tensors[name].shape != shape:
                raise WeightsError(f"{path}: {name} is {tensors[name].shape}, but VGG19's is {shape}.")
            checked[name] = np.ascontiguousarray(tensors[name], dtype=np.float32)
            if not np.isfinite(checked[name]).all():
                raise WeightsError(f"{path}: {name} holds NaN or infinity; the file is damaged.")
    return checked
