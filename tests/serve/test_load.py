"""16 clients, good and hostile, for a minute: docs/reliability.md has the figures."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from srgan.model import weights
from srgan.model.config import GeneratorConfig
from srgan.serve.wish import SUFFIX
from tests.serve.conftest import by_command, write_models
from tests.serve.load import QUERIES, load, pictures, resident
from tests.serve.test_serving import Process

SECONDS, WARM = 60, 20
GROWTH = 50 * 2**20
ALLOWED = {
    "good": {200, 429},
    "form": {200, 429},
    "truncated": {422, 429},
    "bomb": {422, 429},
    "wrong type": {400, 415, 422, 429},
    "too large": {413, 429},
    "slow": {408, 429},
    "leaves early": {"gone"},
    "leaves late": {"gone"},
}


@pytest.fixture
def served_models(tmp_path: Path) -> dict[str, str]:
    """The packaged models; where there are none yet, files of the same size with random weights."""
    if {"srgan", "srresnet"} <= set(weights.packaged()):
        return {}
    folder = write_models(tmp_path, GeneratorConfig())
    return {name: str(folder / f"{name}.safetensors") for name in ("srgan", "srresnet")}


def expected_answers(folder: Path, models: dict[str, str]) -> dict[tuple[str, str], bytes]:
    """What the command line writes for each picture and query."""
    expected = {}
    for name, data in pictures().items():
        (folder / name).write_bytes(data)
        for query in QUERIES:
            option, _, value = query.partition("=")
            if models and option == "texture":
                continue
            model = models.get(value if option == "model" else "srgan", "srgan")
            options = {"scale": ["--scale", value], "texture": ["--texture", value]}.get(option, [])
            chosen = [] if option == "texture" else ["--model", value if option == "model" and not models else model]
            target = folder / f"ours{SUFFIX[value] if option == 'format' else Path(name).suffix}"
            expected[name, query] = by_command(folder / name, target, *options, *chosen)
    return expected


@pytest.mark.slow
def test_good_and_hostile_clients_for_a_minute(
    tmp_path: Path, served_models: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    expected = expected_answers(tmp_path, served_models)
    models = ["--model", *served_models.values()] if served_models else []
    served = Process("--patience", "2", "--size", "4000000", "--queue", "8", *models)
    try:
        load(served.url, expected, seconds=4, clients=4)  # every model is ready
        figures = load(served.url, expected, seconds=SECONDS)
        warm, later = figures.peak(0, WARM), figures.peak(WARM, 10 * SECONDS)
        with capsys.disabled():
            print(f"\n{figures.text()}")
            print(f"  memory: peak {warm / 2**20:.0f} MiB in the first {WARM} s, {later / 2**20:.0f} MiB after,")
            print(f"          {resident(served.url) / 2**20:.0f} MiB when idle again")
        assert figures.wrong == []
        for behaviour, statuses in figures.statuses.items():
            assert set(statuses) <= ALLOWED[behaviour], (behaviour, statuses)
        assert len(figures.seconds) > 10 and set(figures.statuses) == set(ALLOWED)
        assert later - warm <= GROWTH
        assert served.end(signal.SIGTERM) == 143
    finally:
        served.process.kill()
