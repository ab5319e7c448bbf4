"""What the service counts, as Prometheus reads it (text format 0.0.4)."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Upper bounds of the histograms' buckets, in seconds."""


class Counters:
    """Requests by route and status, seconds of work and of waiting; safe from several threads."""

    def __init__(self, *, about: Mapping[str, str]) -> None:
        self._lock = threading.Lock()
        self._about = dict(about)
        self._requests: Counter[tuple[str, int]] = Counter()
        self._totals: Counter[str] = Counter()
        self._seconds: dict[str, Counter[float]] = defaultdict(Counter)
        self._sums: dict[str, float] = defaultdict(float)

    def request(self, route: str, status: int) -> None:
        """One request was answered; 499 where the client went away first."""
        with self._lock:
            self._requests[route, status] += 1

    def add(self, name: str, amount: int) -> None:
        """Add to the total `srgan_<name>_total`."""
        with self._lock:
            self._totals[name] += amount

    def observe(self, name: str, seconds: float) -> None:
        """One more value of the histogram `srgan_<name>_seconds`."""
        with self._lock:
            bucket = next((bound for bound in BUCKETS if seconds <= bound), float("inf"))
            self._seconds[name][bucket] += 1
            self._sums[name] += seconds

    def text(self, gauges: Mapping[str, float]) -> str:
        """The whole exposition; `gauges` are the values of this moment."""
        with self._lock:
            about = ",".join(f'{key}="{_escaped(value)}"' for key, value in self._about.items())
            lines = ["# TYPE srgan_info gauge", f"srgan_info{{{about}}} 1"]
            lines.append("# TYPE srgan_http_requests_total counter")
            for (route, status), count in sorted(self._requests.items()):
                lines.append(f'srgan_http_requests_total{{route="{route}",status="{status}"}} {count}')
            for name, total in sorted(self._totals.items()):
                lines += [f"# TYPE srgan_{name}_total counter", f"srgan_{name}_total {total}"]
            for name in sorted(self._seconds):
                lines += self._histogram(name)
        for name, value in (dict(gauges) | _process()).items():
            lines += [f"# TYPE {name} gauge", f"{name} {value:g}" if value < 1e6 else f"{name} {value:.0f}"]
        return "\n".join(lines) + "\n"

    def _histogram(self, name: str) -> list[str]:
        lines, below = [f"# TYPE srgan_{name}_seconds histogram"], 0
        for bound in (*BUCKETS, float("inf")):
            below += self._seconds[name][bound]
            label = "+Inf" if bound == float("inf") else f"{bound:g}"
            lines.append(f'srgan_{name}_seconds_bucket{{le="{label}"}} {below}')
        lines.append(f"srgan_{name}_seconds_sum {self._sums[name]:.6f}")
        lines.append(f"srgan_{name}_seconds_count {below}")
        return lines


def _process() -> dict[str, float]:
    """Resident memory in bytes, where the system says it (Linux)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return {}
    import resource

    return {"process_resident_memory_bytes": float(pages * resource.getpagesize())}


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
