"""Noticing that another process of the job is gone even while this one waits for it inside a GPU's library."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

import torch.distributed as dist

INTERVAL = 1.0
"""Seconds between beats."""
SILENCE = 30
"""Beats without one from the neighbour after which it counts as dead."""


class Store(Protocol):
    """Counters shared by all processes."""

    def add(self, key: str, amount: int, /) -> int: ...


class Heartbeat:
    """A thread that counts up for this rank, and ends the process when the next rank's count stands still.

    Each rank watches one other, so any death is seen by somebody; torchrun ends the rest.
    """

    def __init__(self, rank: int, world: int) -> None:
        store = dist.TCPStore(  # type: ignore[attr-defined]
            os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False, timeout=timedelta(seconds=60)
        )
        self.watch = Watch(store, rank, (rank + 1) % world)
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self.thread.start()

    def stop(self) -> None:
        """End the thread."""
        self.stopped.set()
        self.thread.join()

    def _run(self) -> None:
        while not self.stopped.wait(INTERVAL):
            reason = self.watch()
            if reason and not self.stopped.wait(INTERVAL):
                print(f"srgan: error: {reason} Go on with --resume.", file=sys.stderr, flush=True)
                os._exit(2)


class Watch:
    """Beat for `rank`, listen to `neighbour`: returns a sentence when that one is gone, else ""."""

    def __init__(self, store: Store, rank: int, neighbour: int, *, silence: int = SILENCE) -> None:
        self.add: Callable[[str, int], int] = store.add
        self.rank, self.neighbour, self.silence = rank, neighbour, silence
        self.heard = 0
        self.missed = 0

    def __call__(self) -> str:
        try:
            self.add(f"srgan/alive/{self.rank}", 1)
            count = self.add(f"srgan/alive/{self.neighbour}", 0)
        except RuntimeError:
            return f"rank {self.rank} lost the meeting point of the job (the machine of rank 0)."
        self.missed = 0 if count != self.heard else self.missed + 1
        self.heard = count
        if count and self.missed >= self.silence:
            return f"rank {self.neighbour} has been silent for {self.missed} seconds and counts as dead."
        return ""
