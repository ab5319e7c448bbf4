"""Checkpoints: whole or refused. Bits are flipped at random places."""

import errno
import os
import random

import pytest
import torch

from srgan.errors import CheckpointError
from srgan.train import checkpoints
from srgan.train.checkpoints import Checkpoint


def state(step: int, phase: str = "pretrain") -> Checkpoint:
    """A checkpoint of a few hundred numbers, of each kind that a run has."""
    rng = torch.Generator().manual_seed(step)
    tensors = {
        "g.head.conv.weight": torch.randn(4, 3, 3, 3, generator=rng).contiguous(memory_format=torch.channels_last),
        "g.adam.head.conv.weight.step": torch.tensor(float(step)),
        "g.bn.running_mean": torch.randn(4, generator=rng, dtype=torch.float64),
    }
    return Checkpoint(phase=phase, step=step, tensors=tensors, metadata={"settings": {"seed": 1}, "best": {}})


def same(a: Checkpoint, b: Checkpoint) -> bool:
    equal = a.tensors.keys() == b.tensors.keys() and all(torch.equal(a.tensors[n], b.tensors[n]) for n in a.tensors)
    return equal and (a.phase, a.step, a.metadata) == (b.phase, b.step, b.metadata)


def test_the_newest_are_kept_in_order_of_phase_and_step(tmp_path):
    for step in (9, 10, 100):
        checkpoints.write(tmp_path, state(step), keep=2)
    checkpoints.write(tmp_path, state(1, "adversarial"), keep=2)
    names = [path.name for path in checkpoints.list_checkpoints(tmp_path)]
    assert names == ["adversarial_00000001.checkpoint", "pretrain_00000100.checkpoint"]


def test_a_flipped_bit_never_gives_another_state(tmp_path):
    path = checkpoints.write(tmp_path, state(3), keep=2)
    whole = path.read_bytes()
    assert same(checkpoints.read(path), state(3))
    rng = random.Random(5)
    refused = 0
    for _ in range(200):
        spoilt = bytearray(whole)
        place = rng.randrange(len(whole) * 8)
        spoilt[place // 8] ^= 1 << place % 8
        path.write_bytes(spoilt)
        try:
            assert same(checkpoints.read(path), state(3))
        except CheckpointError as error:
            refused += 1
            assert str(path) in str(error)
    assert refused > 180


@pytest.mark.parametrize("length", [0, 7, 8, 100, -1])
def test_a_cut_file_is_refused(tmp_path, length):
    path = checkpoints.write(tmp_path, state(3), keep=2)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError):
        checkpoints.read(path)


def test_a_damaged_newest_is_named_and_the_one_before_is_used(tmp_path, caplog):
    first = checkpoints.write(tmp_path, state(1), keep=2)
    newest = checkpoints.write(tmp_path, state(2), keep=2)
    newest.write_bytes(newest.read_bytes()[:-3])
    assert same(checkpoints.newest(tmp_path), state(1))
    assert len(caplog.messages) == 1 and newest.name in caplog.messages[0]
    first.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="every checkpoint in"):
        checkpoints.newest(tmp_path)


def test_a_write_that_fails_leaves_the_earlier_checkpoint(tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    checkpoints.write(tmp_path, state(1), keep=1)
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fail)
        with pytest.raises(CheckpointError, match=r"could not be written.*--resume"):
            checkpoints.write(tmp_path, state(2), keep=1)
    assert same(checkpoints.newest(tmp_path), state(1))
    assert [path.name for path in tmp_path.iterdir()] == ["pretrain_00000001.checkpoint"]
