"""Measurements: upscaling, training, data. Every number in docs/benchmarks.md comes from here."""

from __future__ import annotations

import sys
from pathlib import Path


def peak_resident() -> int | None:
    """Bytes of memory that this process has had resident at most; None where it cannot be known.

    On Linux not from `ru_maxrss`, which whoever is started inherits.
    """
    if sys.platform == "win32":
        return None
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(status.read_text().split("VmHWM:")[1].split()[0])
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
