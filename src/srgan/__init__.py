"""Pictures four times larger, by SRResNet and SRGAN (Ledig et al. 2017, arXiv 1609.04802).

>>> from srgan import Upscaler
>>> Upscaler().upscale_file("photo.jpg", "photo_x4.png")   # doctest: +SKIP
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Upscaler", "__version__"]

# Importing OpenVINO's converter would look up an analytics host and write an id into HOME.
# OpenVINO does without the package where it cannot be imported, and every entry point passes here first.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

if TYPE_CHECKING:
    from srgan.upscale.upscaler import Upscaler


def __getattr__(name: str) -> Any:
    """Load `Upscaler` when it is first asked for, so that `import srgan` stays instant."""
    if name == "Upscaler":
        from srgan.upscale.upscaler import Upscaler

        return Upscaler
    raise AttributeError(f"module 'srgan' has no attribute {name!r}")
