"""A running service with small models of random weights in place of the packaged ones."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srgan.commands.upscale import main as upscale_command
from srgan.image.files import Image, encode_image, write_array
from srgan.model import weights
from srgan.model.config import GeneratorConfig
from srgan.serve.app import Server, create_app
from srgan.serve.models import ModelPool, UpscaleParams
from srgan.serve.queue import ServeLimits
from srgan.serve.service import Service
from srgan.upscale import mixture
from tests.support import random_weights

CONFIG = GeneratorConfig(blocks=1, width=16)


def write_models(folder: Path, config: GeneratorConfig = CONFIG) -> Path:
    """The packaged models' names with random weights."""
    for seed, name in enumerate(mixture.CORNERS):
        tensors = random_weights(config, seed=seed).tensors
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
    server: Server
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def metric(self, name: str, **labels: str) -> float:
        """A value of /metrics; 0 where there is none yet."""
        return self.service.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture(scope="package")
def run_service(models: Path) -> Iterator[Callable[..., Running]]:
    """Starts services: limits by name; token, hosts, any_host."""
    started: list[tuple[Server, threading.Thread]] = []

    def run(
        *,
        token: str | None = None,
        hosts: tuple[str, ...] = (),
        any_host: bool = False,
        model: tuple[str, ...] = (),
        **limits: Any,
    ) -> Running:
        service = Service(ModelPool(model), ServeLimits(**limits))
        app = create_app(service, token=token, hosts=hosts, any_host=any_host)
        listener = socket.create_server(("127.0.0.1", 0))
        server = Server(app, service)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        started.append((server, thread))
        return Running(service=service, server=server, port=listener.getsockname()[1])

    yield run
    for server, thread in started:
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="package")
def running(run_service: Callable[..., Running]) -> Running:
    """A service with the default limits."""
    return run_service()


class Gate:
    """Holds the jobs of some queues until it is opened."""

    def __init__(self, running: Running, patch: pytest.MonkeyPatch, *queues: str) -> None:
        self.opened, self.entered = threading.Event(), threading.Semaphore(0)
        original = running.service.pool.upscaler

        def held(params: UpscaleParams, queue: str) -> Any:
            if queue in queues:
                self.entered.release()
                assert self.opened.wait(60)
            return original(params, queue)

        patch.setattr(running.service.pool, "upscaler", held)


def until(holds: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until a condition holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never held"
        time.sleep(0.01)


def drawn(height: int, width: int, *, seed: int = 0, deep: bool = False, channels: int = 3) -> np.ndarray:
    """A smooth image with some edges."""
    generator = np.random.default_rng(seed)
    coarse = generator.random((height // 8 + 2, width // 8 + 2, channels))
    image = coarse.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
    peak, kind = (65535, np.uint16) if deep else (255, np.uint8)
    return (image * peak).astype(kind) if channels > 1 else (image[..., 0] * peak).astype(kind)


def file_bytes(height: int, width: int, suffix: str = ".png", **how: Any) -> bytes:
    """A drawn image's file."""
    return encode_image(Image(pixels=drawn(height, width, **how)), suffix)


@pytest.fixture
def image_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a drawn image under a name."""

    def make(name: str = "photo.png", height: int = 40, width: int = 56, **how: Any) -> Path:
        write_array(tmp_path / name, drawn(height, width, **how))
        return tmp_path / name

    return make


def by_command(source: Path, target: Path, *options: str) -> bytes:
    """What `srgan upscale` writes."""
    assert upscale_command([str(source), "-o", str(target), "--overwrite", *options]) == 0
    return target.read_bytes()
