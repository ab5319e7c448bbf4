"""`srgan serve`: settings, listening socket, token."""

import logging
import os
import secrets
import socket
from dataclasses import dataclass, field

from srgan import flags
from srgan.errors import UsageError
from srgan.serve.queue import ServeLimits
from srgan.upscale.engine import EngineName, Precision

log = logging.getLogger("srgan")


@dataclass(frozen=True, kw_only=True)
class Serve:
    """A page to try it, and an HTTP service."""

    host: str = "127.0.0.1"
    """Address to listen on. Any address but this machine's own needs a token, and a proxy with TLS in front."""
    port: int = 7860
    """Port to listen on; 0 takes a free one and prints it."""
    model: tuple[str, ...] = ()
    """Models on offer, the default first: packaged names or weights files. Without it: all packaged models and their mixtures, which texture and restore choose."""
    token: str | None = None
    """Token that every request needs. Better in the environment, as SRGAN_TOKEN: other users of the machine can read command lines. Without either, one is made and printed when --host is not this machine's own."""
    allow_host: tuple[str, ...] = ()
    """Host names of the service, as a proxy in front passes them on in the Host header."""
    engine: EngineName = "auto"
    """Engine that computes."""
    precision: Precision = "auto"
    """Precision of the computation."""
    memory: str = "1GB"
    """Memory of the activations that one image holds at once."""
    limits: ServeLimits = field(default_factory=ServeLimits)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"--port must be from 0 to 65535, got {self.port}")


def main(argv: list[str]) -> int:
    """Serve until SIGTERM or Ctrl-C, which uvicorn raises again after its shutdown (exit codes 143 and 130)."""
    settings = flags.parse(Serve, argv, prog="srgan serve", start=Serve())
    from srgan.serve.security import is_loopback

    token = settings.token or os.environ.get("SRGAN_TOKEN") or None
    exposed = not is_loopback(settings.host)
    if exposed:
        log.warning(
            "warning: %s is reachable from other machines, and this is plain HTTP: put a proxy with TLS in front "
            "(docs/upscaling.md) or use a network that you trust.",
            settings.host,
        )
        if token is None:
            token = secrets.token_urlsafe(24)
            log.warning("the token of this service is %s", token)
    _serve(settings, token, exposed)
    return 0


def _serve(settings: Serve, token: str | None, exposed: bool) -> None:
    from srgan.serve.app import Server, create_app
    from srgan.serve.models import ModelPool
    from srgan.serve.service import Service

    # The port first, so that a taken one is reported before the models are loaded.
    with _listen(settings.host, settings.port) as listener:
        pool = ModelPool(settings.model, engine=settings.engine, precision=settings.precision, memory=settings.memory)
        service = Service(pool, settings.limits)
        app = create_app(service, token=token, hosts=settings.allow_host, any_host=exposed)
        log.info("serving %s%s; Ctrl-C stops", ", ".join(pool.names), " and their mixtures" if pool.mixes else "")
        Server(app, service).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise UsageError(f"cannot listen on {host}, port {port}: {error.strerror}. Choose another --port.") from None
    return listener
