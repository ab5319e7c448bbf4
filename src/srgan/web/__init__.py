"""The page and the HTTP service: `srgan serve`."""

from __future__ import annotations


def main(argv: list[str]) -> int:
    """Serve until SIGTERM or Ctrl-C; 143 or 130 then, as for every command."""
    from srgan.web.command import main as serve

    return serve(argv)
