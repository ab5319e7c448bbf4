"""How a step is computed changes nothing of what is computed; what fails is said, and the step is done without."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from srgan.data.loader import Batch
from srgan.errors import SrganError
from srgan.model.config import GeneratorConfig
from srgan.model.discriminator import Discriminator
from srgan.model.generator import Generator, init_weights
from srgan.train import compute, phases
from srgan.train.phases import Adversarial, Phase, Pretraining
from srgan.train.settings import TrainSettings

CPU = torch.device("cpu")
SETTINGS = TrainSettings(blocks=1, width=8, crop=32, batch_size=4, content="mse", ema=0.9, device="cpu")


@pytest.fixture(autouse=True)
def _small_discriminator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "Discriminator", functools.partial(Discriminator, width=4))


def phase(name: str, settings: TrainSettings = SETTINGS, say: Callable[[str], None] = print) -> Phase:
    generator = Generator(GeneratorConfig(blocks=1, width=8))
    init_weights(generator, seed=0)
    if name == "pretrain":
        return Pretraining(generator, settings, CPU, say=say)
    return Adversarial(generator, None, settings, CPU, say=say)


def batch(step: int) -> Batch:
    rng = torch.Generator().manual_seed(step)
    lr, hr = (torch.randint(0, 256, (4, s, s, 3), dtype=torch.uint8, generator=rng) for s in (8, 32))
    return Batch(lr.permute(0, 3, 1, 2), hr.permute(0, 3, 1, 2))


def after(one: Phase, steps: int = 3) -> dict[str, Tensor]:
    for step in range(steps):
        one.step(step, batch(step), 1e-3)
    return one.tensors()


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert not [name for name in one if not torch.equal(one[name], other[name])]


@pytest.mark.parametrize("failing_call", [1, 2, 3, 4])
def test_failing_compilation_is_said_and_the_same_step_is_done_without(
    monkeypatch: pytest.MonkeyPatch, failing_call: int
) -> None:
    """Wherever in the first step it fails: what had been done of that step is undone."""
    calls = 0

    def half_way(network: nn.Module) -> Callable[[Tensor], Any]:
        def forward(x: Tensor) -> Any:
            nonlocal calls
            calls += 1
            if calls >= failing_call:
                raise RuntimeError("no C++ compiler\nand much more")
            return network(x)

        return forward

    wanted = after(phase("adversarial"))
    monkeypatch.setattr(torch, "compile", half_way)
    monkeypatch.setattr(compute, "fused", lambda settings, device: True)
    said: list[str] = []
    assert_same(after(phase("adversarial", say=said.append)), wanted)
    assert said == ["torch.compile failed (RuntimeError: no C++ compiler): going on without it."]


def test_a_fault_of_ours_is_not_taken_for_one_of_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute, "fused", lambda settings, device: True)
    monkeypatch.setattr(torch, "compile", lambda network: network)
    said: list[str] = []
    one = phase("pretrain", say=said.append)
    with pytest.raises(RuntimeError):  # channels that do not fit fail again without compilation
        one.step(0, Batch(torch.zeros(1, 2, 8, 8), torch.zeros(1, 3, 32, 32)), 1e-3)

    def refused(batch: Batch) -> Any:
        raise SrganError("a sentence")

    said.clear()
    with pytest.raises(SrganError, match="a sentence"):
        compute.Update(refused, one, forwards=[one.forward], graph=False, say=said.append)(batch(0))  # type: ignore[attr-defined]
    assert said == []


def test_on_a_cpu_nothing_is_compiled_or_captured() -> None:
    assert not compute.fused(SETTINGS, CPU)
    one = phase("pretrain")
    assert one.update.stream is None and one.update.forwards == []  # type: ignore[attr-defined]


@pytest.mark.slow
def test_compiled_and_eager_steps_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = after(phase("adversarial"), 2)
    monkeypatch.setattr(compute, "fused", lambda settings, device: True)
    said: list[str] = []
    found = after(phase("adversarial", say=said.append), 2)
    assert said == []
    for name, tensor in wanted.items():
        if not name.startswith(("g.adam", "d.adam")):
            assert torch.allclose(found[name], tensor, atol=2e-4), name


@pytest.mark.parametrize("name", ["pretrain", "adversarial"])
def test_bf16_leaves_losses_weights_and_statistics_in_fp32(name: str) -> None:
    exact, rounded = phase(name), phase(name, dataclasses.replace(SETTINGS, precision="bf16"))
    for step in range(3):
        wanted, found = (one.step(step, batch(step), 1e-4) for one in (exact, rounded))
        assert {v.dtype for v in found.values()} == {torch.float32}
        assert float(found["pixel"]) == pytest.approx(float(wanted["pixel"]), rel=0.02)
        assert float(found["pixel"]) != float(wanted["pixel"]), "it was bf16 at all"
    assert {t.dtype for t in rounded.tensors().values()} == {torch.float32}
    for key, tensor in exact.tensors().items():
        if "running_var" in key and ".mean." not in key:
            assert torch.allclose(rounded.tensors()[key], tensor, rtol=0.05, atol=1e-3), key


def test_fp64_is_double_from_end_to_end() -> None:
    one = phase("adversarial", dataclasses.replace(SETTINGS, precision="fp64"))
    losses = one.step(0, batch(0), 1e-3)
    assert {losses[n].dtype for n in ("content", "pixel", "adversarial", "discriminator")} == {torch.float64}
    assert {t.dtype for n, t in one.tensors().items() if not n.endswith(".step")} == {torch.float64}


def test_what_is_loaded_replaces_adam_s_state_whole() -> None:
    one = phase("pretrain")
    start = {name: tensor.clone() for name, tensor in one.tensors().items()}
    first = {name: tensor.clone() for name, tensor in after(one).items()}
    one.load(start)
    assert one.optimizer.state == {}  # type: ignore[attr-defined]
    assert_same(after(one), first)
