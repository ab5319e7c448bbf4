"""A running service with two small models of random weights in the packaged ones' place."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srgan.commands.serve import Serve
from srgan.commands.upscale import main as upscale_command
from srgan.image.files import write_array
from srgan.model import weights
from srgan.model.config import GeneratorConfig
from srgan.serve.app import application
from srgan.serve.service import Bounds, Service
from srgan.serve.serving import Server, server
from srgan.serve.shelf import Shelf

CONFIG = GeneratorConfig(blocks=1, width=16)


def write_models(folder: Path, config: GeneratorConfig = CONFIG) -> Path:
    """srgan and srresnet with random weights."""
    for seed, name in enumerate(("srgan", "srresnet")):
        tensors = weights.random(config, seed=seed).tensors
        weights.write(folder / f"{name}.safetensors", tensors, config=config, metadata={})
    return folder


@pytest.fixture(scope="package")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the small models, which are the packaged ones while it is in use."""
    folder = write_models(tmp_path_factory.mktemp("models"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "_MODELS", folder)
        yield folder


@dataclass(frozen=True, kw_only=True)
class Running:
    """A service that listens on a port of its own, in a thread."""

    service: Service
    serving: Server
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)


DEFAULTS = {field.name: getattr(Serve(), field.name) for field in fields(Bounds)}


@pytest.fixture(scope="package")
def run_service(models: Path) -> Iterator[Callable[..., Running]]:
    """Starts services: bounds by name; token, hosts, any_host, niqe."""
    started: list[tuple[Server, threading.Thread]] = []

    def run(
        *,
        token: str | None = None,
        hosts: tuple[str, ...] = (),
        any_host: bool = False,
        niqe: Path | None = None,
        connections: int = 64,
        model: tuple[str, ...] = (),
        **bounds: Any,
    ) -> Running:
        service = Service(Shelf(model), Bounds(**DEFAULTS | bounds), niqe=niqe)
        app = application(service, token=token, hosts=hosts, any_host=any_host)
        listener = socket.create_server(("127.0.0.1", 0))
        serving = server(
            app, patience=service.bounds.patience, connections=connections, grace=10, stopping=service.drain
        )
        thread = threading.Thread(target=serving.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not serving.started:
            time.sleep(0.01)
        started.append((serving, thread))
        return Running(service=service, serving=serving, port=listener.getsockname()[1])

    yield run
    for serving, thread in started:
        serving.should_exit = True
        thread.join(20)


@pytest.fixture(scope="package")
def running(run_service: Callable[..., Running]) -> Running:
    """A service with the usual bounds."""
    return run_service()


def drawn(height: int, width: int, *, seed: int = 0, deep: bool = False, channels: int = 3) -> np.ndarray:
    """A smooth picture with some edges."""
    generator = np.random.default_rng(seed)
    coarse = generator.random((height // 8 + 2, width // 8 + 2, channels))
    picture = coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
    peak, kind = (65535, np.uint16) if deep else (255, np.uint8)
    return (picture * peak).astype(kind) if channels > 1 else (picture[..., 0] * peak).astype(kind)


@pytest.fixture
def picture_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a drawn picture under a name."""

    def make(name: str = "photo.png", height: int = 40, width: int = 56, **how: Any) -> Path:
        write_array(tmp_path / name, drawn(height, width, **how))
        return tmp_path / name

    return make


def by_command(source: Path, target: Path, *options: str) -> bytes:
    """What `srgan upscale` writes."""
    assert upscale_command([str(source), "-o", str(target), "--overwrite", "--quiet", *options]) == 0
    return target.read_bytes()
