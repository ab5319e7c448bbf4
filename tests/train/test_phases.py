"""The phases: precision, compilation, and their state."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from srgan import config
from srgan.data.loader import Batch
from srgan.errors import SrganError
from srgan.model.config import GeneratorConfig
from srgan.model.discriminator import Discriminator
from srgan.model.generator import Generator, init_weights
from srgan.train import phases
from srgan.train.phases import Phase, adversarial, pretraining
from srgan.train.settings import TrainSettings
from tests.train.small import assert_same

CPU = torch.device("cpu")
SETTINGS = TrainSettings.flat(blocks=1, width=8, crop=32, batch_size=4, content="mse", ema=0.9, device="cpu")


@pytest.fixture(autouse=True)
def _small_discriminator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "Discriminator", functools.partial(Discriminator, width=4))


def phase(name: str, settings: TrainSettings = SETTINGS, device: torch.device = CPU) -> Phase:
    generator = Generator(GeneratorConfig(blocks=1, width=8))
    init_weights(generator, seed=0)
    if name == "pretrain":
        return pretraining(generator, settings, device)
    return adversarial(generator, None, settings, device)


def batch(step: int) -> Batch:
    rng = torch.Generator().manual_seed(step)
    lr, hr = (torch.randint(0, 256, (4, s, s, 3), dtype=torch.uint8, generator=rng) for s in (8, 32))
    return Batch(lr.permute(0, 3, 1, 2), hr.permute(0, 3, 1, 2))


def after(one: Phase, steps: int = 3, device: torch.device = CPU) -> dict[str, Tensor]:
    for step in range(steps):
        one.step(step, Batch(*(tensor.to(device) for tensor in batch(step))), 1e-3)
    return one.state_dict()


def test_a_failing_compiler_is_an_error_that_names_no_compile(monkeypatch):
    from torch._dynamo.exc import Unsupported

    def failing(network: nn.Module, mode: str | None) -> Callable[[Tensor], Any]:
        def forward(x: Tensor) -> Any:
            raise fault

        return forward

    monkeypatch.setattr(torch, "compile", failing)
    monkeypatch.setattr(phases, "is_compiled", lambda settings, device: True)
    fault: Exception = Unsupported("no C++ compiler\nand much more")
    with pytest.raises(
        SrganError, match=r"torch\.compile failed \(no C\+\+ compiler\)\. Train without it: --no-compile"
    ):
        phase("adversarial").step(0, batch(0), 1e-3)
    fault = MemoryError("not the compiler's")
    with pytest.raises(MemoryError):
        phase("pretrain").step(0, batch(0), 1e-3)


def test_nothing_is_compiled_on_a_cpu_or_with_synchronised_batchnorm():
    cuda = torch.device("cuda")
    assert not phases.is_compiled(SETTINGS, CPU) and phases.is_compiled(SETTINGS, cuda)
    assert not phases.is_compiled(config.replace(SETTINGS, sync_batchnorm=True), cuda)
    assert not phases.is_compiled(config.replace(SETTINGS, compile=False), cuda)


@pytest.mark.slow
def test_compiled_and_eager_steps_agree(monkeypatch):
    wanted = after(phase("adversarial"), 2)
    monkeypatch.setattr(phases, "is_compiled", lambda settings, device: True)
    found = after(phase("adversarial"), 2)
    for name, tensor in wanted.items():
        if not name.startswith(("g.adam", "d.adam")):
            assert torch.allclose(found[name], tensor, atol=2e-4), name


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ["pretrain", "adversarial"])
def test_steps_with_cuda_graphs_agree_with_eager_ones(name):
    cuda, exact = torch.device("cuda"), config.replace(SETTINGS, precision="fp32", device="cuda")
    eager, graphs = (
        after(phase(name, config.replace(exact, compile=compile), cuda), 8, cuda) for compile in (False, True)
    )
    for key, tensor in eager.items():
        if ".adam." not in key:
            assert torch.allclose(graphs[key], tensor, atol=2e-4), key


@pytest.mark.parametrize("name", ["pretrain", "adversarial"])
def test_bf16_keeps_losses_weights_and_statistics_in_fp32(name):
    exact, rounded = phase(name), phase(name, config.replace(SETTINGS, precision="bf16"))
    for step in range(3):
        wanted, found = (one.step(step, batch(step), 1e-4) for one in (exact, rounded))
        assert {v.dtype for v in found.values()} == {torch.float32}
        assert float(found["pixel"]) == pytest.approx(float(wanted["pixel"]), rel=0.02)
        assert float(found["pixel"]) != float(wanted["pixel"]), "it was bf16 at all"
    assert {t.dtype for t in rounded.state_dict().values()} == {torch.float32}
    for key, tensor in exact.state_dict().items():
        if "running_var" in key and ".mean." not in key:
            assert torch.allclose(rounded.state_dict()[key], tensor, rtol=0.05, atol=1e-3), key


def test_fp64_is_double_from_end_to_end():
    one = phase("adversarial", config.replace(SETTINGS, precision="fp64"))
    losses = one.step(0, batch(0), 1e-3)
    assert {losses[n].dtype for n in ("content", "pixel", "adversarial", "discriminator")} == {torch.float64}
    assert {t.dtype for n, t in one.state_dict().items() if not n.endswith(".step")} == {torch.float64}


def test_loading_replaces_the_whole_state_of_adam():
    one = phase("pretrain")
    start = {name: tensor.clone() for name, tensor in one.state_dict().items()}
    first = {name: tensor.clone() for name, tensor in after(one).items()}
    one.load_state_dict(start)
    assert one.trained[0].optimizer.state == {}
    assert_same(after(one), first)
