"""Tensors out of other projects' files, without running anything that is in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from numpy.typing import NDArray

from srgan.architecture import GeneratorConfig
from srgan.errors import WeightsError
from srgan.export.conversion import describe, recognise
from srgan.export.layouts import LAYOUTS, Layout

Tree = Mapping[str, Any]
State = dict[str, NDArray[Any]]
COUNTERS = ("num_batches_tracked", "n_averaged")
"""Kept by PyTorch beside a network's tensors; no part of its function."""
DEPTH = 4
OTHERS = {
    "conv_hr.weight": "BasicSR's MSRResNet, which has no BatchNorm and adds a bilinear picture",
    "residual.0.in1.weight": "an SRResNet with InstanceNorm, whose every pixel depends on the whole picture",
}


def read_tree(path: Path) -> Tree:
    """The file's tensors as (nested) mappings. `.safetensors`, or anything that `torch.save` wrote, read with
    `weights_only=True`. Raises WeightsError."""
    if not path.is_file():
        raise WeightsError(f"there is no file {path}.")
    try:
        if path.suffix == ".safetensors":
            with safetensors.safe_open(path, framework="np") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return _read_torch(path)
    except (OSError, ValueError, TypeError, safetensors.SafetensorError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{path} cannot be read ({reason}).") from error


def select(tree: Tree, path: Path, key: str) -> tuple[State, Layout, GeneratorConfig]:
    """The one generator in `tree`, or the one at `key` ("a.b"). Raises WeightsError with what there is."""
    states = {where: state for where, state in _states(tree, "") if not key or where == key}
    if key and not states:
        groups = (_group(state, key) for _, state in _states(tree, ""))
        states = {f"{key} ({i})" if i else key: group for i, group in enumerate(groups) if group}
    found = {}
    for where, state in states.items():
        bare = _without_wrappers(state)
        if (known := recognise(bare)) is not None:
            found[where] = (bare, *known)
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        names = ", ".join(found)
        raise WeightsError(f"{path} holds {len(found)} generators: {names}. Choose one with --key.")
    raise WeightsError(f"{path}: {_why_not(states)}")


def _read_torch(path: Path) -> Tree:
    import pickle

    import torch

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} holds more than tensors (a pickled module or other objects); such a file can run code, "
            "so it is not opened. With its own project: torch.save(model.state_dict(), 'weights.pth')."
        ) from error
    except OSError:
        raise
    except Exception as error:  # what the unpickler meets in a damaged file: RuntimeError, EOFError, IndexError ...
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{path} is not a file of torch.save ({reason}).") from error
    if not isinstance(loaded, Mapping):
        raise WeightsError(f"{path} holds a {type(loaded).__name__}, expected a state dict.")
    return _to_numpy(loaded)


def _to_numpy(tree: Mapping[Any, Any]) -> Tree:
    import torch

    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, torch.Tensor):
            tensor = value.detach()
            found[str(key)] = (tensor.float() if tensor.is_floating_point() else tensor).numpy()
        elif isinstance(value, Mapping):
            found[str(key)] = _to_numpy(value)
    return found


def _states(tree: Tree, where: str) -> Iterator[tuple[str, State]]:
    """Every mapping that holds tensors itself, with its dotted place; counters left out."""
    tensors = {k: v for k, v in tree.items() if isinstance(v, np.ndarray) and not k.endswith(COUNTERS)}
    if tensors:
        yield where, tensors
    if where.count(".") < DEPTH:
        for key, value in tree.items():
            if isinstance(value, Mapping):
                yield from _states(value, f"{where}.{key}" if where else key)


def _group(state: State, key: str) -> State:
    """The tensors whose names begin with `key`, a part of a larger network."""
    start = f"{key}."
    return {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}


def _without_wrappers(state: State) -> State:
    """Without what DataParallel, compile, EMA or an outer module put before every name ("module.")."""
    while recognise(state) is None:
        first = {name.partition(".")[0] for name in state}
        if len(first) != 1 or not all("." in name for name in state):
            break
        state = {name.partition(".")[2]: value for name, value in state.items()}
    return state


def _why_not(states: Mapping[str, State]) -> str:
    """A sentence on what the file holds in a generator's place."""
    known = ", ".join(LAYOUTS)
    best: tuple[int, str] = (0, "")
    for state in states.values():
        bare = _without_wrappers(state)
        for name, sentence in OTHERS.items():
            if name in bare:
                return f"this is {sentence}: another network than ours."
        for layout in LAYOUTS.values():
            config = describe(bare, layout)
            if config is None:
                continue
            wanted = set(layout.tensors(config))
            missing = sorted(wanted - set(bare))
            extra = sorted(set(bare) - wanted - set(layout.idle(config.blocks)))
            common = len(wanted & set(bare))
            if common > best[0]:
                nearest = f"nearest is '{layout.name}': missing {_list(missing)}, unknown {_list(extra)}"
                best = (common, nearest)
    if best[0]:
        return f"no layout fits all of its tensors; {best[1]}."
    some = next(iter(states.values()), {})
    return f"its tensors, {_list(sorted(some))}, are in none of the known layouts ({known})."


def _list(names: list[str]) -> str:
    if not names:
        return "none"
    return f"{len(names)} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
