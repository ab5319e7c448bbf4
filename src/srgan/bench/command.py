"""`srgan bench upscale|train|data`: which of them."""

from __future__ import annotations

import importlib

from srgan.errors import UsageError

BENCHES = {
    "upscale": "this package against plain PyTorch, per engine and precision",
    "train": "this training loop against a plain one, in turns",
    "data": "crops per second from a pack, from files, and as a plain loop decodes them",
}


def main(argv: list[str]) -> int:
    """Run the bench that the first word names; returns the exit code."""
    if argv and argv[0] in BENCHES:
        return int(importlib.import_module(f"srgan.bench.{argv[0]}").main(argv[1:]))
    lines = [f"  srgan bench {name:<8} {what}" for name, what in BENCHES.items()]
    if argv and argv[0] in ("-h", "--help"):
        print("\n".join(["usage: srgan bench NAME [--json FILE] [--seconds N]", "", *lines]))
        return 0
    named = f"there is no bench '{argv[0]}'" if argv else "a bench needs a name"
    raise UsageError("\n".join([f"{named}; these are there:", *lines]))
