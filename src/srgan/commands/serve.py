"""`srgan serve`: its settings, its doors and its end."""

from __future__ import annotations

import logging
import os
import secrets
import socket
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from srgan.config import parse
from srgan.errors import UsageError, missing_extra

log = logging.getLogger("srgan")


@dataclass(frozen=True, kw_only=True)
class Serve:
    """What is served, where, and within which limits."""

    host: str = "127.0.0.1"
    """Address to listen on. Anything but this machine's own needs a token, and a proxy with TLS in front."""
    port: int = 7860
    """Port to listen on; 0 takes a free one and prints it."""
    model: tuple[str, ...] = ()
    """Models on offer, the default first: packaged names or weights files. None: all packaged ones, with the
    texture slider between srresnet and srgan."""
    token: str | None = None
    """Who calls must know it. Better in the environment, as SRGAN_TOKEN: other users of the machine can read
    command lines. Without either, one is made and printed when --host is not this machine's own."""
    allow_host: tuple[str, ...] = ()
    """Names that the service goes by, as a proxy in front passes them on in the Host header."""
    data: Path = Path("data")
    """Folder whose niqe/ holds the model of that score (`srgan data fetch niqe`); only needed for scores."""
    engine: Literal["auto", "openvino", "pytorch"] = "auto"
    """What computes."""
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = "auto"
    """How exactly."""
    memory: str = "1GB"
    """Of the activations held at once by one picture in work."""
    pixels: int = 4_000_000
    """Pixels that a picture may have."""
    size: int = 32 * 2**20
    """Bytes that a request may have."""
    budget: int = 256 * 2**20
    """Bytes that all requests at work or waiting may have together."""
    workers: int = 1
    """Pictures worked on at once; each uses all cores. Pictures up to 128 x 128 have one more."""
    queue: int = 16
    """Requests that may wait; more are refused with 429 and the time to come back."""
    seconds: float = 300.0
    """Time that one picture may take once its turn has come."""
    patience: float = 15.0
    """Seconds without progress after which a slow sender or reader is cut off."""
    connections: int = 256
    """Connections open at once; more are refused with 503."""

    def __post_init__(self) -> None:
        for name in ("pixels", "size", "budget", "workers", "queue", "seconds", "patience", "connections"):
            if getattr(self, name) <= 0:
                raise ValueError(f"--{name} must be more than 0, got {getattr(self, name)}")
        if not 0 <= self.port <= 65535:
            raise ValueError(f"--port must be from 0 to 65535, got {self.port}")
        if self.budget < self.size:
            raise ValueError(f"--budget ({self.budget}) must be at least --size ({self.size})")


def main(argv: list[str]) -> int:
    """Serve until SIGTERM (143) or Ctrl-C (130)."""
    settings: Serve = parse(Serve, argv, prog="srgan serve", description="A page to try it, and an HTTP service.")
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError:
        raise missing_extra("web", "`srgan serve`") from None
    from srgan.serve.guard import is_loopback

    token = settings.token or os.environ.get("SRGAN_TOKEN") or None
    exposed = not is_loopback(settings.host)
    if exposed:
        _warn(settings.host)
        if token is None:
            token = secrets.token_urlsafe(24)
            log.warning(f"the token of this service is {token}")
    return _serve(settings, token, exposed)


def _serve(settings: Serve, token: str | None, exposed: bool) -> int:
    from srgan.serve.app import application
    from srgan.serve.service import Bounds, Service
    from srgan.serve.serving import exit_code, server
    from srgan.serve.shelf import Shelf

    listener = _listener(settings.host, settings.port)
    with listener:
        shelf = Shelf(settings.model, engine=settings.engine, precision=settings.precision, memory=settings.memory)
        bounds = Bounds(**{field.name: getattr(settings, field.name) for field in fields(Bounds)})
        niqe = settings.data / "niqe" / "niqe_pris_params.npz"
        service = Service(shelf, bounds, niqe=niqe if niqe.is_file() else None)
        app = application(service, token=token, hosts=settings.allow_host, any_host=exposed)
        serving = server(
            app,
            patience=settings.patience,
            connections=settings.connections,
            grace=settings.seconds + 2 * settings.patience,
            stopping=service.drain,
        )
        log.warning(f"{_address(listener)} (API: /docs)")
        texture = ", texture 0..1" if shelf.texture else ""
        log.info(f"serving {', '.join(shelf.names)}{texture}; Ctrl-C stops")
        serving.run(sockets=[listener])
    return exit_code(serving.stopped_by)


def _listener(host: str, port: int) -> socket.socket:
    """A listening socket, taken before the models are loaded so that a taken port is said at once."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise UsageError(f"cannot listen on {host}, port {port}: {error.strerror}. Choose another --port.") from None
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _warn(host: str) -> None:
    log.warning(
        f"warning: {host} is reachable from other machines, and this is plain HTTP: put a proxy with "
        "TLS in front (docs/serving.md) or keep to a network that you trust."
    )
