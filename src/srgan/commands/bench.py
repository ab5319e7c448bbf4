"""`srgan bench upscale|train|data`: run a benchmark of the checkout."""

import importlib
import sys
from pathlib import Path

from srgan.errors import UsageError

BENCHMARKS = {
    "upscale": "this package against plain PyTorch, per engine and precision",
    "train": "this training loop against a plain one, in turns",
    "data": "crops per second from a pack, from files, and as a plain loop decodes them",
}
CHECKOUT = Path(__file__).parents[3]


def main(argv: list[str]) -> int:
    """Run the benchmark that the first word names; returns the exit code."""
    lines = [f"  srgan bench {name:<8} {what}" for name, what in BENCHMARKS.items()]
    if argv and argv[0] in ("-h", "--help"):
        print("\n".join(["usage: srgan bench NAME [--json FILE] [--seconds N]", "", *lines]))
        return 0
    if not argv or argv[0] not in BENCHMARKS:
        named = f"there is no benchmark '{argv[0]}'" if argv else "a benchmark needs a name"
        raise UsageError("\n".join([f"{named}; choose one:", *lines]))
    if not (CHECKOUT / "benchmarks" / f"{argv[0]}.py").is_file():
        raise UsageError(
            "the benchmarks are not in the wheel: clone the repository and run `uv run srgan bench` in it."
        )
    sys.path.insert(0, str(CHECKOUT))
    return int(importlib.import_module(f"benchmarks.{argv[0]}").main(argv[1:]))
