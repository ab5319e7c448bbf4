"""Read, write, mix and fold weights: one `.safetensors` file that describes its generator."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from srgan.errors import WeightsError
from srgan.fs import atomic_write, expanded, first_line, printable
from srgan.model.config import GeneratorConfig, generator_layers, tensor_shapes

FORMAT = "1"
BATCH_NORM_EPSILON = 1e-5
_MODELS = Path(__file__).parents[1] / "pretrained"

Tensors = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A generator: float32 tensors by name, the network they belong to, and where they come from."""

    tensors: Tensors
    config: GeneratorConfig
    metadata: Mapping[str, str]
    name: str
    sha256: str
    """Of the config and the tensors' float32 values, so that renaming or re-describing a file leaves it."""
    mixed_from: tuple[tuple[Weights, float], ...] = ()
    """The generators that `mix` mixed it from, with their shares."""


def packaged() -> tuple[str, ...]:
    """Names of the models inside the package."""
    return tuple(sorted(path.stem for path in _MODELS.glob("*.safetensors") if "." not in path.stem))


def find_model(name_or_path: str | Path) -> Path:
    """The file of a packaged model's name, or of a path. Raises WeightsError with what there is."""
    if str(name_or_path) in packaged():
        return _MODELS / f"{name_or_path}.safetensors"
    for path in (Path(name_or_path), Path(expanded(str(name_or_path)))):  # ~ is HOME in settings files, too
        if os.path.isfile(path):  # noqa: PTH113  (pathlib raises for a name that no file can have)
            return path
    known = ", ".join(packaged()) or "none"
    raise WeightsError(
        f"no model {str(name_or_path)!r}: give a packaged model ({known}) "
        "or the path of a .safetensors file written by `srgan train`."
    )


def read(name_or_path: str | Path) -> Weights:
    """Read and check a generator; nothing in the file is executed. Raises WeightsError."""
    path = find_model(name_or_path)
    try:
        with safetensors.safe_open(path, framework="np") as file:
            metadata = dict(file.metadata() or {})
            config = _config(metadata, path)
            expected = tensor_shapes(config)
            _check_names(set(file.keys()), set(expected), path)
            for name, shape in expected.items():  # before a byte of data is read
                if tuple(file.get_slice(name).get_shape()) != shape:
                    got = tuple(file.get_slice(name).get_shape())
                    raise WeightsError(f"{path}: tensor {name} is {got}, but its config asks for {shape}.")
            tensors = {name: _float32(file.get_tensor(name), name, path) for name in expected}
    except (OSError, ValueError, TypeError, safetensors.SafetensorError) as error:
        raise WeightsError(f"{path} is not a readable .safetensors file ({first_line(error)}).") from error
    sha256 = content_hash(tensors, config)
    return Weights(tensors=tensors, config=config, metadata=metadata, name=path.stem, sha256=sha256)


def read_sum(expression: str) -> Weights:
    """One generator, or several: "photo + srgan - srresnet", with spaces around the signs (Ilharco et al. 2023).

    A path that exists is one file, whatever its name.
    The sum is what `srgan` has learnt since `srresnet`, added to `photo`. Raises WeightsError.
    """
    if os.path.exists(expanded(expression)):  # noqa: PTH110  (pathlib raises)
        return read(expression)
    first, *rest = re.split(r" ([+-]) ", expression)
    signs = [1.0, *(float(f"{sign}1") for sign in rest[::2])]
    return mix(list(zip(map(read, [first, *rest[1::2]]), signs, strict=True)), expression)


def write(
    path: Path, tensors: Mapping[str, NDArray[Any]], *, config: GeneratorConfig, metadata: Mapping[str, str]
) -> None:
    """Write a generator atomically: temporary name, flushed to disk, renamed.

    `tensors` are float32 or float16 and must be exactly those that `config` asks for.
    """
    expected = tensor_shapes(config)
    _check_names(set(tensors), set(expected), path)
    described = json.dumps(dataclasses.asdict(config), sort_keys=True)
    full = {**metadata, "srgan.format": FORMAT, "config": described}
    contiguous = {name: np.ascontiguousarray(tensors[name]) for name in expected}
    try:
        atomic_write(path, sort_metadata(safetensors.numpy.save(contiguous, metadata=full)))
    except OSError as error:
        raise WeightsError(f"{path} could not be written: {error.strerror or error}.") from error


def fold_batchnorm(weights: Weights) -> Tensors:
    """The tensors with every BatchNorm folded into the convolution before it; PReLU slopes unchanged.

    A folded convolution has `<conv>.weight` and `<conv>.bias`; computed in float64.
    """
    tensors = _unit_gain(weights)
    folded: dict[str, NDArray[np.float64]] = {}
    for layer in generator_layers(weights.config):
        if layer.kind == "norm":
            folded[f"{layer.source}.bias"] = tensors[f"{layer.name}.bias"] - tensors[f"{layer.name}.running_mean"]
        else:
            names = (f"{layer.name}.weight", f"{layer.name}.bias")
            folded |= {name: tensors[name] for name in names if name in tensors}
    return {name: tensor.astype(np.float32) for name, tensor in folded.items()}


def _unit_gain(weights: Weights) -> dict[str, NDArray[np.float64]]:
    """The same generator with every BatchNorm's gain folded into the kernel before it, in float64: it only shifts."""
    tensors = {name: tensor.astype(np.float64) for name, tensor in weights.tensors.items()}
    for layer in generator_layers(weights.config):
        if layer.kind == "norm":
            norm = layer.name
            factor = tensors[f"{norm}.weight"] / np.sqrt(tensors[f"{norm}.running_var"] + BATCH_NORM_EPSILON)
            tensors[f"{layer.source}.weight"] *= factor[:, None, None, None]
            tensors[f"{norm}.running_mean"] *= factor
            tensors[f"{norm}.running_var"] *= factor**2
            tensors[f"{norm}.weight"] = np.sqrt(tensors[f"{norm}.running_var"] + BATCH_NORM_EPSILON)
    return tensors


def unit_tail(tensors: Tensors) -> Tensors:
    """Folded tensors of a generator whose output is in 0..1: (x + 1) / 2 goes into the last convolution (halving is exact)."""
    half = np.float32(0.5)
    weight, bias = tensors["tail.conv.weight"] * half, tensors["tail.conv.bias"] * half + half
    return {**tensors, "tail.conv.weight": weight, "tail.conv.bias": bias}


def mix(shares: Sequence[tuple[Weights, float]], name: str) -> Weights:
    """The sum of generators of one network times their shares, tensor by tensor (Wang et al. 2018, section 3.4).

    BatchNorm's gain is folded into the kernels before (docs/log.md: up to 0.04 dB better). The shares sum to 1; those of
    0 are left out, and one generator alone is returned as it is. Raises WeightsError.
    """
    if abs(sum(share for _, share in shares) - 1) > 1e-6:
        raise WeightsError(f"the shares of {name} do not sum to 1; each generator that is added needs one taken away.")
    parts = [(weights, share) for weights, share in shares if share]
    first = parts[0][0]
    if len(parts) == 1:
        return first
    for weights, _ in parts:
        if weights.config != first.config:
            raise WeightsError(f"{first.name} and {weights.name} are different networks and cannot be mixed.")
    # Sum what has a BatchNorm gain of 1, then give the sum that gain again.
    alike = [(_unit_gain(weights), share) for weights, share in parts]
    total = {name: sum(share * tensors[name] for tensors, share in alike) for name in first.tensors}
    for layer in generator_layers(first.config):
        if layer.kind == "norm":
            variance = total[f"{layer.name}.running_var"] = np.maximum(total[f"{layer.name}.running_var"], 0.0)
            total[f"{layer.name}.weight"] = np.sqrt(variance + BATCH_NORM_EPSILON)
    tensors = {name: np.asarray(tensor, np.float32) for name, tensor in total.items()}
    return Weights(
        tensors=tensors,
        config=first.config,
        metadata={"mixed": json.dumps({weights.name: [share, weights.sha256] for weights, share in parts})},
        name=name,
        sha256=content_hash(tensors, first.config),
        mixed_from=tuple(parts),
    )


def content_hash(tensors: Mapping[str, NDArray[Any]], config: GeneratorConfig) -> str:
    """SHA-256 (hex) of a generator: its config and the float32 values of its tensors in order of name."""
    digest = hashlib.sha256(json.dumps(dataclasses.asdict(config), sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensors[name], dtype="<f4").tobytes())
    return digest.hexdigest()


def _config(metadata: Mapping[str, str], path: Path) -> GeneratorConfig:
    if "srgan.checkpoint" in metadata:
        raise WeightsError(
            f"{path} is a checkpoint, from which `srgan train --resume` goes on: take a .safetensors file of that run."
        )
    if metadata.get("srgan.format") != FORMAT:
        got = metadata.get("srgan.format")
        reason = f"its srgan.format is {printable(got)}, not {FORMAT}" if got else "its metadata has no 'srgan.format'"
        raise WeightsError(f"{path} is not a generator written by srgan: {reason}.")
    try:
        return GeneratorConfig(**json.loads(metadata["config"]))
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{path}: its metadata 'config' does not describe a generator ({first_line(error)})."
        ) from error


def _check_names(got: set[str], expected: set[str], path: Path) -> None:
    if got != expected:
        missing = sorted(expected - got)
        extra = sorted(name[:60] for name in got - expected)
        raise WeightsError(
            f"{path}: the tensors do not fit its config: {len(missing)} missing {missing[:3]}, "
            f"{len(extra)} unknown {extra[:3]}."
        )


def _float32(tensor: NDArray[Any], name: str, path: Path) -> NDArray[np.float32]:
    if tensor.dtype not in (np.float32, np.float16):
        raise WeightsError(f"{path}: tensor {name} is {tensor.dtype}, expected float32 or float16.")
    converted: NDArray[np.float32] = tensor.astype(np.float32)
    if not np.isfinite(converted).all():
        raise WeightsError(
            f"{path}: tensor {name} holds NaN or infinity; the file is damaged or its training diverged."
        )
    return converted


def sort_metadata(content: bytes) -> bytes:
    """The same file with its metadata in order of name, which safetensors shuffles: the same generator, the same bytes."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[end:]
