"""Models out of srgan (`srgan export`) and into it (`srgan import-weights`)."""

from __future__ import annotations

from srgan.export.command import main
from srgan.export.importing import main as import_main

__all__ = ["import_main", "main"]
