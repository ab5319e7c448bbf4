"""Upscale images by 4 with SRResNet and SRGAN (Ledig et al. 2017, arXiv 1609.04802).

>>> from srgan import Upscaler
>>> Upscaler().upscale_file("photo.jpg", "photo_x4.png")   # doctest: +SKIP
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from srgan.errors import SrganError

__version__ = "0.2.0"
__all__ = ["SrganError", "Upscaler", "__version__"]

# OpenVINO's converter contacts an analytics host and writes an id into HOME when it is imported.
# OpenVINO works without the telemetry package, and every entry point imports this file first.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

if TYPE_CHECKING:
    from srgan.upscale.upscaler import Upscaler


def __getattr__(name: str) -> Any:
    """Load `Upscaler` at its first use, so that `import srgan` loads no NumPy."""
    if name == "Upscaler":
        from srgan.upscale.upscaler import Upscaler

        return Upscaler
    raise AttributeError(f"module 'srgan' has no attribute {name!r}")
