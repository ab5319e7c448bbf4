"""`srgan serve` as a process: SIGTERM, Ctrl-C, tokens, taken ports, wrong settings."""

import re
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from srgan.commands import serve as command
from srgan.commands.serve import main
from srgan.errors import SrganError
from srgan.model.config import GeneratorConfig
from srgan.serve.queue import ServeLimits
from tests.serve.conftest import file_bytes, write_models


class Process:
    """`srgan serve` as a process of its own."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "srgan", "serve", "--port", "0", *options],
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        assert self.process.stderr is not None
        while not (address := re.search(r"http://[\d.]+:(\d+)", "".join(self.lines))):
            self.lines.append(self.process.stderr.readline())
            assert self.lines[-1], f"it ended early: {self.lines}"
        self.url = f"http://127.0.0.1:{address[1]}"
        # An unread pipe would stop the process.
        self.reader = threading.Thread(target=lambda: self.lines.extend(self.process.stderr or []), daemon=True)
        self.reader.start()
        assert requests.get(f"{self.url}/healthz", timeout=60).status_code == 200  # it listens when it says where

    def end(self, sign: signal.Signals) -> int:
        self.process.send_signal(sign)
        code = self.process.wait(60)
        self.reader.join(20)
        return code


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def begin(*options: str) -> Process:
        started.append(Process(*options))
        return started[-1]

    yield begin
    for process in started:
        process.process.kill()
        process.process.wait(20)


def test_sigterm_finishes_running_jobs_and_refuses_waiting_ones(start, tmp_path):
    # Wide enough that the image takes some seconds, in several tiles.
    folder = write_models(tmp_path, GeneratorConfig(blocks=2, width=32))
    served = start("--model", str(folder / "srgan.safetensors"), "--memory", "30MB")
    data, headers = file_bytes(320, 320), {"Content-Type": "image/png"}
    with ThreadPoolExecutor(3) as pool:
        clients = [
            pool.submit(requests.post, f"{served.url}/v1/upscale", data=data, headers=headers, timeout=120)
            for _ in range(3)
        ]
        busy = {"srgan_jobs_running 1.0", "srgan_jobs_waiting 2.0"}
        while not busy <= {*requests.get(f"{served.url}/metrics", timeout=60).text.splitlines()}:
            time.sleep(0.02)
        served.process.send_signal(signal.SIGTERM)
        while (ready := requests.get(f"{served.url}/readyz", timeout=60)).status_code == 200:
            time.sleep(0.02)
        assert (ready.status_code, requests.get(f"{served.url}/healthz", timeout=60).status_code) == (503, 200)
        assert served.end(signal.SIGTERM) == 143
    answers = [client.result() for client in clients]
    assert sorted(answer.status_code for answer in answers) == [200, 503, 503]
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert "shutting down" in refused.json()["detail"] and "Retry-After" in refused.headers
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{served.url}/healthz", timeout=5)
    log = "".join(served.lines)
    assert re.search(r"\w{16} POST /v1/upscale: 200, \d+ bytes in, \d+ bytes out, \d+\.\d+ s\n", log), log
    assert "Traceback" not in log


def test_ctrl_c_is_130(start, tmp_path):
    served = start("--model", str(write_models(tmp_path) / "srgan.safetensors"))
    assert served.end(signal.SIGINT) == 130
    assert "Traceback" not in "".join(served.lines)


@pytest.fixture
def doors(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str | None, bool]]:
    """(token, exposed) of the services that `main` would have started."""
    calls: list[tuple[str | None, bool]] = []

    def serve(settings: Any, token: str | None, exposed: bool) -> None:
        calls.append((token, exposed))

    monkeypatch.setattr(command, "_serve", serve)
    monkeypatch.delenv("SRGAN_TOKEN", raising=False)
    return calls


def test_other_addresses_get_a_token(doors, caplog):
    main(["--host", "0.0.0.0"])
    main(["--host", "::"])
    assert "0.0.0.0 is reachable from other machines" in caplog.text
    tokens = re.findall(r"token of this service is (\S{20,})", caplog.text)
    assert doors == [(token, True) for token in tokens] and len(set(tokens)) == 2


def test_a_users_token_is_never_printed(doors, capsys, caplog, monkeypatch):
    main([])
    main(["--token", "by-option"])
    monkeypatch.setenv("SRGAN_TOKEN", "by-environment")
    main(["--host", "0.0.0.0"])
    main(["--token", "by-option"])
    assert doors == [(None, False), ("by-option", False), ("by-environment", True), ("by-option", False)]
    out, err = capsys.readouterr()
    assert not re.search("by-(option|environment)", out + err + caplog.text)


def test_taken_ports_and_wrong_settings(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SrganError, match="another --port"):
        main(["--port", str(taken.getsockname()[1])])
    with pytest.raises(SrganError, match=r"cannot listen on no-such-host\.invalid"):
        main(["--host", "no-such-host.invalid", "--token", "x"])
    with pytest.raises(SrganError, match="no model"):
        main(["--port", "0", "--model", str(tmp_path / "missing.safetensors")])
    for options in (
        ["--workers", "0"],
        ["--seconds", "nan"],
        ["--patience", "inf"],
        ["--port", "70000"],
        ["--budget", "5", "--size", "6"],
    ):
        with pytest.raises(SrganError, match=f"{options[0]} "):
            main(options)


def test_the_image_is_built_of_named_files_by_pinned_tools():
    root = Path(__file__).parents[2]
    copied = re.findall(r"^COPY ((?!--).*) \S+$", (root / "deploy" / "Containerfile").read_text(), re.MULTILINE)
    kept = re.findall(r"^!(.*)$", (root / ".dockerignore").read_text(), re.MULTILINE)
    assert sorted(" ".join(copied).split()) == sorted(kept)
    lock = tomllib.loads((root / "uv.lock").read_text())
    assert "hatchling" in [each["name"] for each in lock["manifest"]["build-constraints"]]


@pytest.mark.parametrize(
    ("file", "option"), [("srgan@.service", "TimeoutStopSec="), ("Containerfile", "--stop-timeout ")]
)
def test_a_supervisor_lets_a_running_image_end(file, option):
    text = (Path(__file__).parents[2] / "deploy" / file).read_text()
    assert int(re.search(rf"{option}(\d+)", text)[1]) > ServeLimits().seconds + 2 * ServeLimits().patience
