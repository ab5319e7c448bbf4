from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from srgan.commands import serve as command
from srgan.commands.serve import main
from srgan.errors import SrganError
from srgan.image.files import Image, encode_image
from srgan.model.config import GeneratorConfig
from srgan.serve.serving import exit_code
from tests.serve.conftest import Running, drawn, write_models


class Process:
    """`srgan serve` as a process of its own."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "srgan", "serve", "--port", "0", *options],
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said = ""
        assert self.process.stderr is not None
        while not (address := re.search(r"http://[\d.]+:(\d+)", self.said)):
            line = self.process.stderr.readline()
            assert line, f"it ended early: {self.said}"
            self.said += line
        self.url = f"http://127.0.0.1:{address[1]}"
        while True:
            try:
                assert requests.get(f"{self.url}/healthz", timeout=60).status_code == 200
                return
            except requests.ConnectionError:
                time.sleep(0.1)

    def end(self, sign: signal.Signals) -> int:
        self.process.send_signal(sign)
        return self.process.wait(60)


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


def test_sigterm_finishes_what_runs_refuses_the_rest_and_leaves_with_143(
    start: Callable[..., Process], tmp_path: Path
) -> None:
    # Wide enough that the picture takes some seconds, in several tiles.
    folder = write_models(tmp_path, GeneratorConfig(blocks=2, width=32))
    served = start("--model", str(folder / "srgan.safetensors"), "--memory", "60MB")
    data, answers = encode_image(Image(pixels=drawn(500, 500)), ".png"), []

    def ask() -> None:
        answers.append(
            requests.post(f"{served.url}/v1/upscale", data=data, headers={"Content-Type": "image/png"}, timeout=120)
        )

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    while "srgan_jobs_running 1" not in (seen := requests.get(f"{served.url}/metrics", timeout=60).text) or (
        "srgan_jobs_waiting 2" not in seen
    ):
        time.sleep(0.02)
    assert served.end(signal.SIGTERM) == 143
    for asker in askers:
        asker.join()
    assert sorted(answer.status_code for answer in answers) == [200, 503, 503]
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert "shutting down" in refused.json()["detail"] and "Retry-After" in refused.headers
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{served.url}/healthz", timeout=5)


@pytest.fixture
def doors(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str | None, bool]]:
    """(token, exposed) of the services that `main` would have started."""
    seen: list[tuple[str | None, bool]] = []
    monkeypatch.setattr(command, "_serve", lambda settings, token, exposed: seen.append((token, exposed)) or 143)
    monkeypatch.delenv("SRGAN_TOKEN", raising=False)
    return seen


def test_other_addresses_need_a_token_that_is_made_and_printed(
    doors: list[tuple[str | None, bool]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--host", "0.0.0.0"]) == 143 == main(["--host", "::"])
    said = capsys.readouterr().err
    assert "warning: 0.0.0.0 is reachable from other machines" in said
    tokens = re.findall(r"token of this service is (\S{20,})", said)
    assert doors == [(token, True) for token in tokens] and len(set(tokens)) == 2


def test_a_token_of_the_users_is_asked_for_everywhere_and_never_printed(
    doors: list[tuple[str | None, bool]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    main([])
    main(["--token", "by-option"])
    monkeypatch.setenv("SRGAN_TOKEN", "by-environment")
    main(["--host", "0.0.0.0"])
    main(["--token", "by-option"])
    assert doors == [(None, False), ("by-option", False), ("by-environment", True), ("by-option", False)]
    said = capsys.readouterr()
    assert "by-option" not in said.err + said.out and "by-environment" not in said.err + said.out


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (None, 0)])
def test_exit_codes_are_those_of_every_command(sign: signal.Signals | None, code: int) -> None:
    assert exit_code(sign) == code


def test_a_taken_port_and_wrong_settings_are_sentences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SrganError, match="another --port"):
        main(["--port", str(taken.getsockname()[1])])
    with pytest.raises(SrganError, match=r"cannot listen on no-such-host\.invalid"):
        main(["--host", "no-such-host.invalid", "--token", "x"])
    with pytest.raises(SrganError, match="no model"):
        main(["--port", "0", "--model", str(tmp_path / "missing.safetensors")])
    for options in (["--workers", "0"], ["--port", "70000"], ["--budget", "5", "--size", "6"]):
        capsys.readouterr()
        with pytest.raises(SystemExit, match="2"):
            main(options)
        assert f"{options[0]} " in capsys.readouterr().err


def test_a_connection_that_never_asks_is_closed(run_service: Callable[..., Running]) -> None:
    served = run_service(patience=0.2)
    with served.connect() as silent, served.connect() as dripping:
        dripping.sendall(b"GET / HTTP/1.1\r\nX: ")
        assert silent.recv(10) == b""
        assert dripping.recv(10) == b""
    with served.connect() as again:  # after an answer, too
        again.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = again.recv(10_000)
        again.sendall(b"GET /h")
        while chunk := again.recv(1000):
            received += chunk
        assert received.count(b"HTTP/1.1 200") == 1


def test_a_refused_sender_may_finish_and_read_why(run_service: Callable[..., Running]) -> None:
    served = run_service(size=50_000, budget=100_000)
    for _ in range(3):
        with served.connect() as sender:
            head = "POST /v1/upscale HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
            sender.sendall(f"{head}Content-Length: 3000000\r\n\r\n".encode())
            for _ in range(300):
                sender.sendall(bytes(10_000))
            assert sender.recv(12) == b"HTTP/1.1 413"


def test_a_reader_that_stands_still_is_cut_off_and_gives_its_memory_back(
    run_service: Callable[..., Running],
) -> None:
    served = run_service(patience=0.3)
    rough = drawn(300, 300)
    rough ^= (17 * rough[::-1, ::-1]) & 63
    data = encode_image(Image(pixels=rough), ".png")
    head = "POST /v1/upscale?format=tiff HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", served.port))
        reader.sendall(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        assert reader.recv(12) == b"HTTP/1.1 200"
        end = time.monotonic() + 20
        while served.service.receiver.held or served.serving.server_state.connections:
            assert time.monotonic() < end, "the connection is still held"
            time.sleep(0.05)


def test_an_idle_service_takes_no_more_connections_than_it_should(
    run_service: Callable[..., Running],
) -> None:
    served = run_service(connections=4)
    held = [served.connect() for _ in range(4)]
    assert requests.get(f"{served.url}/healthz", timeout=30).status_code == 503
    for connection in held:
        connection.close()
    end = time.monotonic() + 20
    while served.serving.server_state.connections:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert requests.get(f"{served.url}/healthz", timeout=30).status_code == 200
