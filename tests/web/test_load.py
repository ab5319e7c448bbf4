"""16 clients, good and hostile, for a minute: docs/reliability.md has the figures."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from srgan import weights
from srgan.web.wish import SUFFIX
from tests.web.conftest import by_command
from tests.web.load import QUERIES, load, pictures, resident
from tests.web.test_serving import Process

SECONDS, WARM = 60, 20
GROWTH = 50 * 2**20
ALLOWED = {
    "good": {200, 429}, "form": {200, 429}, "truncated": {422, 429}, "bomb": {422, 429},
    "wrong type": {400, 415, 422, 429}, "too large": {413, 429}, "slow": {408, 429},
    "leaves early": {"gone"}, "leaves late": {"gone"},
}  # fmt: skip


@pytest.mark.slow
def test_good_and_hostile_clients_for_a_minute(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not {"srgan", "srresnet"} <= set(weights.packaged()):
        pytest.fail("the packaged models are missing: this test serves them")
    expected = {}
    for name, data in pictures().items():
        (tmp_path / name).write_bytes(data)
        for query in QUERIES:
            option, _, value = query.partition("=")
            target = tmp_path / f"ours{Path(name).suffix}"
            if option == "format":
                expected[name, query] = by_command(tmp_path / name, target.with_suffix(SUFFIX[value]))
            else:
                expected[name, query] = by_command(tmp_path / name, target, f"--{option}", value)
    served = Process("--patience", "2", "--size", "4000000", "--queue", "8")
    try:
        for _ in range(2):
            load(served.url, expected, seconds=2, clients=4)  # every model and texture is ready
        figures = load(served.url, expected, seconds=SECONDS)
        warm, later = figures.peak(0, WARM), figures.peak(WARM, 10 * SECONDS)
        with capsys.disabled():
            print(f"\n{figures.text()}")
            print(
                f"  memory: peak {warm / 2**20:.0f} MiB in the first {WARM} s, {later / 2**20:.0f} MiB after,"
            )
            print(f"          {resident(served.url) / 2**20:.0f} MiB when idle again")
        assert figures.wrong == []
        for behaviour, statuses in figures.statuses.items():
            assert set(statuses) <= ALLOWED[behaviour], (behaviour, statuses)
        assert len(figures.seconds) > 50 and set(figures.statuses) == set(ALLOWED)
        assert later - warm <= GROWTH
        assert served.end(signal.SIGTERM) == 143
    finally:
        served.process.kill()
