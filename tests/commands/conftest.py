"""Fixtures of the rooms that the commands use."""

from tests.upscale.conftest import folder, small, small_file

__all__ = ["folder", "small", "small_file"]
