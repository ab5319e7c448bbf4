"""Checkpoints: the whole state of a run in one file, written atomically, refused when damaged, never executed."""

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from srgan.errors import CheckpointError
from srgan.fs import atomic_write, first_line

log = logging.getLogger("srgan")

FORMAT = "1"
_NAME = re.compile(r"(pretrain|adversarial)_(\d{8})\.checkpoint")
_ORDER = {"pretrain": 0, "adversarial": 1}


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state of a run after `step` updates of `phase`."""

    phase: str
    step: int
    tensors: Mapping[str, Tensor]
    """Networks, moving averages and optimizers, by name, on the CPU."""
    metadata: Mapping[str, Any]
    """Plain values: settings, data fingerprint, best scores, versions."""


def write(folder: Path, checkpoint: Checkpoint, *, keep: int) -> Path:
    """Write a checkpoint, then delete all but the newest `keep`. Raises CheckpointError; older ones stay intact."""
    path = folder / f"{checkpoint.phase}_{checkpoint.step:08d}.checkpoint"
    tensors = {name: tensor.detach().to("cpu").contiguous() for name, tensor in checkpoint.tensors.items()}
    facts = {"phase": checkpoint.phase, "step": checkpoint.step, "facts": dict(checkpoint.metadata)}
    state = json.dumps(facts, sort_keys=True)
    metadata = {"srgan.checkpoint": FORMAT, "state": state, "sha256": _digest(tensors, state)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write(path, safetensors.torch.save(tensors, metadata=metadata))
        for old in list_checkpoints(folder)[keep:]:
            old.unlink(missing_ok=True)
    except OSError as error:
        raise CheckpointError(
            f"the checkpoint {path} could not be written: {error.strerror or error}. "
            "Earlier checkpoints are intact; free some space or fix the permissions, then use --resume."
        ) from error
    return path


def read(path: Path) -> Checkpoint:
    """Read a checkpoint and check every byte of it. Raises CheckpointError."""
    try:
        content = path.read_bytes()  # safetensors opens no name that is not UTF-8
        tensors = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        metadata = header.get("__metadata__", {})
        if metadata.get("srgan.checkpoint") != FORMAT:
            raise CheckpointError(f"{path} is not a checkpoint of this version of srgan.")
        if metadata.get("sha256") != _digest(tensors, metadata["state"]):
            raise CheckpointError(f"{path} is damaged: its checksum does not fit its content.")
        state = json.loads(metadata["state"])
        return Checkpoint(phase=state["phase"], step=state["step"], tensors=tensors, metadata=state["facts"])
    except (OSError, ValueError, KeyError, TypeError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged or not a checkpoint: {first_line(error)}.") from error


def newest(folder: Path) -> Checkpoint | None:
    """The newest whole checkpoint, None where there are none; damaged ones are named in a warning.

    Raises CheckpointError where all are damaged.
    """
    paths = list_checkpoints(folder)
    for path in paths:
        try:
            return read(path)
        except CheckpointError as error:
            log.warning(f"{error} Trying the one before it.")
    if not paths:
        return None
    raise CheckpointError(
        f"every checkpoint in {folder} is damaged. Start a new run in another --output; --init starts it from a file "
        "of this one's generators/."
    )


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, newest first."""
    named = [(match, path) for path in folder.glob("*.checkpoint") if (match := _NAME.fullmatch(path.name))]
    named.sort(key=lambda pair: (_ORDER[pair[0][1]], int(pair[0][2])), reverse=True)
    return [path for _, path in named]


def _digest(tensors: Mapping[str, Tensor], state: str) -> str:
    digest = hashlib.sha256(state.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
