"""VGG19's sixteen convolutions from the files in which people have them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from srgan.errors import MissingExtra, WeightsError, missing_extra


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


def read_vgg(path: Path) -> dict[str, NDArray[np.float32]]:
    """Tensors `conv5_4.weight` (out, in, 3, 3), `conv5_4.bias` (out,), ... of VGG19 in the Caffe convention.

    Reads `.safetensors` and `.npz` with those names (`.npz` also packed to 8 bits, as `conv5_4.q`), and
    Keras's "notop" HDF5 file. Raises WeightsError, also for torchvision's VGG19: that is another network.
    """
    if not path.is_file():
        raise WeightsError(
            f"there is no VGG19 at {path}; give the unpacked .safetensors or .npz file, "
            "or Keras's vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5."
        )
    readers = {
        ".safetensors": _safetensors,
        ".npz": _npz,
        ".h5": _keras,
        ".hdf5": _keras,
        ".pth": _pickle,
        ".pt": _pickle,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise WeightsError(f"{path}: VGG19 is read from .safetensors, .npz or Keras's .h5, not from '{path.suffix}'.")
    try:
        tensors = reader(path)
    except (WeightsError, MissingExtra):
        raise
    except Exception as error:  # each format's library has its own exceptions for a damaged file
        reason = (str(error).splitlines() or [""])[0]
        raise WeightsError(f"{path} cannot be read as VGG19 ({type(error).__name__}: {reason}).") from error
    return _checked(tensors, path)


def _safetensors(path: Path) -> dict[str, NDArray[Any]]:
    from safetensors.numpy import load_file

    return load_file(path)


def _npz(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as file:
        tensors = {name: file[name] for name in file.files}
    for layer in LAYERS.values():
        if f"{layer.name}.q" in tensors:
            tensors[f"{layer.name}.weight"] = _unpacked(tensors, layer.name)
    return tensors


def _unpacked(packed: Mapping[str, NDArray[Any]], name: str) -> NDArray[np.float32]:
    """A kernel, stored (3, 3, in, out): 8-bit values (steps of `scale` above `low`), then a float tail."""
    scale, low = packed[f"{name}.scale_min"]
    head = (packed[f"{name}.q"] * scale + low).astype(np.float32)
    values = np.concatenate([head, packed[f"{name}.tail"]])
    return values.reshape(packed[f"{name}.hwio"]).transpose(3, 2, 0, 1)


def _keras(path: Path) -> dict[str, NDArray[Any]]:
    """A layer is a group; whatever its data sets are called, the kernel (3, 3, in, out) has four axes."""
    try:
        import h5py
    except ModuleNotFoundError:
        raise missing_extra("train", f"Reading Keras's file {path} (by h5py)") from None
    tensors: dict[str, NDArray[Any]] = {}
    with h5py.File(path) as file:
        root = file.get("model_weights", file)

        def take(name: str, item: Any) -> None:
            layer = next((layer for layer in LAYERS.values() if layer.keras in name.split("/")), None)
            if layer is None or not isinstance(item, h5py.Dataset):
                return
            if item.ndim == 4:
                tensors[f"{layer.name}.weight"] = item[()].transpose(3, 2, 0, 1)
            elif item.ndim == 1:
                tensors[f"{layer.name}.bias"] = item[()]

        root.visititems(take)
    return tensors


def _pickle(path: Path) -> dict[str, NDArray[Any]]:
    """PyTorch's own format, read without running code: mostly to recognise torchvision's file."""
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True)
    return {name: tensor.numpy() for name, tensor in state.items()}


def _checked(tensors: Mapping[str, NDArray[Any]], path: Path) -> dict[str, NDArray[np.float32]]:
    if any(name.startswith("features.") for name in tensors):
        raise WeightsError(
            f"{path} is torchvision's VGG19, or named like it: another network, whose features are about ten "
            "times smaller, so that the paper's 1/12.75 starves the content loss. Take the Oxford (Caffe) "
            "weights: the unpacked .safetensors or .npz file, or Keras's notop .h5."
        )
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
