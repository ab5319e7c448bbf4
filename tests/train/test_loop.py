"""The loop's watch: what is not finite is caught at its step and named; and rollback after it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from srgan.train import phases, steps
from tests.train.small import train


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


class Plant:
    """Spoils something at the n-th update of the generator, once or always."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int, spoil: str, *, always: bool = False) -> None:
        self.count, self.at, self.spoil, self.always = 0, at, spoil, always
        self.norm, self.unit, self.step = steps.gradient_norm, phases.unit_from_uint8, phases.Phase.step
        monkeypatch.setattr(steps, "gradient_norm", self._norm)
        monkeypatch.setattr(phases, "unit_from_uint8", self._unit)
        plant = self

        def step(phase: phases.Phase, *args: object) -> dict[str, Tensor]:
            plant.count += 1
            losses = plant.step(phase, *args)  # type: ignore[arg-type]
            if plant.due("statistic"):
                phase.generator.trunk.bn.running_mean[0] = torch.nan
            return losses

        monkeypatch.setattr(phases.Phase, "step", step)

    def due(self, what: str) -> bool:
        return self.spoil == what and (self.count == self.at or (self.always and self.count > self.at))

    def _unit(self, lr: Tensor, dtype: torch.dtype) -> Tensor:
        unit = self.unit(lr, dtype)
        if self.due("batch"):
            unit[0, 0, 0, 0] = torch.nan
        return unit

    def _norm(self, optimizer: torch.optim.Optimizer) -> Tensor:
        if self.due("gradient"):
            optimizer.param_groups[0]["params"][0].grad[0, 0, 0, 0] = torch.inf
        return self.norm(optimizer)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        ("batch", "the pixel"),
        ("gradient", "the gradient"),
        ("statistic", "the BatchNorm statistic trunk.bn.running_mean"),
    ],
)
def test_a_planted_nan_stops_the_run_at_its_step(
    spoil: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Plant(monkeypatch, 5, spoil)
    assert train(tmp_path / "run") == 3
    said = capsys.readouterr().err
    assert "pretrain at step 5" in said and named in said and "Traceback" not in said
    assert (tmp_path / "run/checkpoints/pretrain_00000004.checkpoint").exists()
    assert not (tmp_path / "run/checkpoints/pretrain_00000006.checkpoint").exists()


def test_rollback_halves_the_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rates: list[float] = []
    plain = phases.optimizers.set_learning_rate
    monkeypatch.setattr(phases.optimizers, "set_learning_rate", lambda o, rate: (rates.append(rate), plain(o, rate)))
    Plant(monkeypatch, 5, "gradient")
    words = ["--on-divergence", "rollback", "--phase", "pretrain", "--pretrain-decay", "none"]
    assert train(tmp_path / "run", *words) == 0
    assert rates == [4e-4] * 5 + [2e-4] * 2
    assert "rollback 1 of 3" in capsys.readouterr().err


@pytest.mark.parametrize("at", [1, 5])
def test_rollback_gives_up(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Plant(monkeypatch, at, "batch", always=True)
    words = ["--on-divergence", "rollback", "--max-rollbacks", "2", "--phase", "pretrain"]
    assert train(tmp_path / "run", *words) == 3
    said = capsys.readouterr().err
    assert "rollback 2 of 2" in said and "rollback 3" not in said
    assert ("Returning to the beginning" in said) == (at == 1)
