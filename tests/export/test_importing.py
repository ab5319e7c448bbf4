"""`srgan import-weights`: files as other projects write them, and files that are not what they seem."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from srgan import weights
from srgan.errors import UsageError, WeightsError
from srgan.export import import_main, main
from srgan.networks.generator import generator_from_weights
from tests.export import others


@pytest.fixture(scope="module")
def module() -> nn.Module:
    return others.trained(others.lornatang(), seed=3)


def take(content: object, folder: Path, *options: str) -> weights.Weights:
    """`content` through torch.save and `srgan import-weights`."""
    torch.save(content, folder / "theirs.pth")
    assert import_main([str(folder / "theirs.pth"), "-o", str(folder / "ours.safetensors"), "--quiet", *options]) == 0
    return weights.read(folder / "ours.safetensors")


def same(module: nn.Module, taken: weights.Weights) -> bool:
    lr = torch.rand(1, 3, 20, 17, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        difference = generator_from_weights(taken)(lr).clamp(-1, 1) - module(lr).clamp(-1, 1)
    return float(difference.abs().max()) < 2e-5


def test_a_state_dict(module: nn.Module, tmp_path: Path) -> None:
    taken = take(module.state_dict(), tmp_path)
    assert same(module, taken)
    assert taken.metadata["imported_from"] == "Lornatang/SRGAN-PyTorch" and taken.metadata["layout"] == "lornatang"


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.module.", "net."])
@pytest.mark.parametrize("where", [("state_dict",), ("model", "generator")])
def test_wrapped_by_others(module: nn.Module, tmp_path: Path, prefix: str, where: tuple[str, ...]) -> None:
    content: dict[str, Any] = {prefix + name: tensor for name, tensor in module.state_dict().items()}
    for key in reversed(where):
        content = {
            key: content,
            "epoch": 3,
            "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "lr": 0.1},
        }
    assert same(module, take(content, tmp_path))


def test_several_generators_want_a_key(module: nn.Module, tmp_path: Path) -> None:
    averaged = others.trained(others.lornatang(), seed=8)
    ema = {f"module.{name}": tensor for name, tensor in averaged.state_dict().items()} | {"n_averaged": torch.tensor(5)}
    content = {"state_dict": module.state_dict(), "ema_state_dict": ema, "epoch": 1}
    with pytest.raises(WeightsError, match=r"holds 2 generators: state_dict, ema_state_dict\. Choose one with --key"):
        take(content, tmp_path)
    assert same(averaged, take(content, tmp_path, "--key", "ema_state_dict"))


def test_a_part_of_a_larger_network_wants_a_key(module: nn.Module, tmp_path: Path) -> None:
    content = {f"netG.{name}": tensor for name, tensor in module.state_dict().items()}
    content["netD.fc.weight"] = torch.zeros(2, 2)
    with pytest.raises(WeightsError, match="none of the known layouts"):
        take(content, tmp_path)
    assert same(module, take(content, tmp_path, "--key", "netG"))


def test_safetensors(module: nn.Module, tmp_path: Path) -> None:
    state = {name: tensor.contiguous() for name, tensor in module.state_dict().items()}
    safetensors.torch.save_file(state, tmp_path / "theirs.safetensors")
    assert (
        import_main([str(tmp_path / "theirs.safetensors"), "-o", str(tmp_path / "a" / "o.safetensors"), "--quiet"]) == 0
    )
    assert same(module, weights.read(tmp_path / "a" / "o.safetensors"))


def test_bfloat16_is_read(module: nn.Module, tmp_path: Path) -> None:
    rounded = {name: t.bfloat16() if t.is_floating_point() else t for name, t in module.state_dict().items()}
    taken = take(rounded, tmp_path)
    twin = others.lornatang()
    twin.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in rounded.items()})
    assert same(twin.eval(), taken)


def test_options_say_what_the_file_does_not(tmp_path: Path) -> None:
    module = others.trained(others.sgrvinod(imagenet=False, wrapped=True))
    with pytest.raises(WeightsError, match="--accept-border"):
        take(module.state_dict(), tmp_path)
    taken = take(module.state_dict(), tmp_path, "--input", "unit")
    assert same(module, taken) and taken.config.tail == "tanh" and taken.metadata["input"] == "unit"
    linear = take(module.state_dict(), tmp_path, "--input", "unit", "--tail", "linear", "--overwrite")
    assert linear.config.tail == "linear" and not same(module, linear)


def test_an_epsilon_of_ones_own(tmp_path: Path) -> None:
    module = others.trained(others.eriklindernoren())
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d) and part.eps == 0.8:
            part.eps = 0.01
    options = ("--input", "unit", "--output-range", "signed", "--norm-epsilon", "0.01")
    assert same(module, take(module.state_dict(), tmp_path, *options))


class Executed:
    """A pickle that would make a file when opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("whole", [True, False])
def test_nothing_in_a_file_is_executed(module: nn.Module, tmp_path: Path, whole: bool) -> None:
    trap = Executed(tmp_path / "executed")
    with pytest.raises(WeightsError, match="can run code, so it is not opened"):
        take(trap if whole else {"state_dict": module.state_dict(), "extra": trap}, tmp_path)
    assert not (tmp_path / "executed").exists() and not (tmp_path / "ours.safetensors").exists()


def test_a_pickled_module_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="state_dict"):
        take(nn.Conv2d(3, 3, 1), tmp_path)


def test_what_is_near_is_named(module: nn.Module, tmp_path: Path) -> None:
    state = dict(module.state_dict())
    state["trunk.0.rcb.5.weight"] = state.pop("trunk.0.rcb.4.weight")
    expected = r"nearest is 'lornatang': missing 1 \(trunk\.0\.rcb\.4\.weight\), unknown 1 \(trunk\.0\.rcb\.5\.weight\)"
    with pytest.raises(WeightsError, match=expected):
        take(state, tmp_path)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"conv_first.weight": torch.zeros(64, 3, 3, 3), "conv_hr.weight": torch.zeros(1)}, "MSRResNet"),
        ({"residual.0.in1.weight": torch.zeros(64), "conv_mid.weight": torch.zeros(1)}, "InstanceNorm"),
        ({"a": torch.zeros(1)}, "none of the known layouts"),
        ({}, "none of the known layouts"),
    ],
)
def test_other_networks_are_named(tmp_path: Path, state: dict[str, torch.Tensor], expected: str) -> None:
    with pytest.raises(WeightsError, match=expected):
        take(state, tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a model", b"PK\x03\x04broken", b"\x80\x02."])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_damaged_files_are_sentences(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="broken"):
        import_main([str(path), "-o", str(tmp_path / "o.safetensors")])


def test_mistakes_are_sentences(module: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="there is no file"):
        import_main([str(tmp_path / "none.pth"), "-o", str(tmp_path / "o.safetensors")])
    with pytest.raises(UsageError, match=r"ends in \.safetensors"):
        import_main(["x.pth", "-o", "o.pth"])
    take(module.state_dict(), tmp_path)
    with pytest.raises(UsageError, match="--overwrite"):
        take(module.state_dict(), tmp_path)


def test_exported_and_taken_back_is_the_same_network(tmp_path: Path, module: nn.Module) -> None:
    first = take(module.state_dict(), tmp_path)
    state = str(tmp_path / "state.safetensors")
    assert main([str(tmp_path / "ours.safetensors"), "--format", "safetensors", "-o", state, "--quiet"]) == 0
    assert import_main([state, "-o", str(tmp_path / "again.safetensors"), "--quiet"]) == 0
    again = weights.read(tmp_path / "again.safetensors")
    for name, tensor in first.tensors.items():
        np.testing.assert_allclose(again.tensors[name], tensor, atol=2e-7, err_msg=name)
