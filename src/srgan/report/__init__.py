"""`srgan report`: one HTML page, and the same numbers as JSON, about one or more training runs."""

from __future__ import annotations

from srgan.report.command import main, write

__all__ = ["main", "write"]
