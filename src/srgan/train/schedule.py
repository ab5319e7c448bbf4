"""The learning rate as a function of the step; nothing to save, nothing to restore."""

from __future__ import annotations

import math
from typing import Literal

Decay = Literal["none", "half", "cosine"]


def learning_rate(step: int, *, steps: int, peak: float, decay: Decay, drop: float = 0.1, warmup: int = 0) -> float:
    """The rate of `step` (0 is the first) in a phase of `steps`.

    none: `peak` throughout. half: `peak`, then `peak * drop` from step `steps // 2` on (section 3.2: 1e-4 for 1e5
    steps, then 1e-5 for another 1e5). cosine: from `peak` to nearly 0 along half a cosine (Loshchilov & Hutter 2017).
    The first `warmup` steps climb in a straight line.
    """
    rate = peak
    if decay == "half" and step >= steps // 2:
        rate = peak * drop
    elif decay == "cosine":
        rate = peak * 0.5 * (1.0 + math.cos(math.pi * min(step / max(steps, 1), 1.0)))
    return rate * min(1.0, (step + 1) / warmup) if warmup else rate
