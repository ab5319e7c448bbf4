"""uvicorn with the patience of this service: for slow headers, for slow readers, and for SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

KEEP_ALIVE = 65
"""Seconds that an idle connection is kept: longer than a proxy in front keeps its own (nginx: 60)."""


def _protocol(patience: float) -> type[H11Protocol]:
    """A connection that is closed when a header, or the reading of an answer, stands still so long."""

    class Patient(H11Protocol):
        _header: asyncio.TimerHandle | None = None
        _stalled: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._expect_header()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._expect_header()

        def _expect_header(self) -> None:
            busy = self.cycle is not None and not self.cycle.response_complete
            if busy and self._header is not None:
                self._header.cancel()
                self._header = None
            elif not busy and self._header is None:
                self._header = self.loop.call_later(patience, self._give_up)

        def _give_up(self) -> None:
            self._header = None
            if not self.transport.is_closing():
                self.transport.close()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._stalled = self.loop.call_later(patience, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._stalled is not None:
                self._stalled.cancel()
                self._stalled = None

        def connection_lost(self, exc: Exception | None) -> None:
            for timer in (self._header, self._stalled):
                if timer is not None:
                    timer.cancel()
            super().connection_lost(exc)

    return Patient


class Server(uvicorn.Server):
    """Tells `stopping` as soon as a signal asks to stop; remembers the signal instead of raising it again."""

    def __init__(self, config: uvicorn.Config, stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self.stopping = stopping
        self.stopped_by: int | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        with super().capture_signals():
            try:
                yield
            finally:
                self._captured_signals.clear()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.stopped_by = self.stopped_by or sig
        if self.should_exit:
            self.force_exit = True
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        ending = await super().on_tick(counter)
        if ending:
            self.stopping()
        return ending


def server(
    app: ASGIApp,
    *,
    patience: float,
    connections: int,
    grace: float,
    stopping: Callable[[], None],
    **where: Any,
) -> Server:
    """A server that is not running yet; `where` is uvicorn's host and port."""
    config = uvicorn.Config(
        app,
        http=_protocol(patience),
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=connections,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=max(1, round(grace)),
        **where,
    )
    return Server(config, stopping)


def exit_code(stopped_by: int | None) -> int:
    """143 after SIGTERM, 130 after Ctrl-C, as for every command."""
    return {signal.SIGTERM: 143, signal.SIGINT: 130}.get(signal.Signals(stopped_by), 0) if stopped_by else 0
