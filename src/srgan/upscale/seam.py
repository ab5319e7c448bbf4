"""What a smaller halo costs, measured on the picture at hand."""

from __future__ import annotations

import numpy as np

from srgan.image.tiles import Box
from srgan.upscale.job import Job, Work


def seam_error(job: Job, exact: Work) -> str:
    """A sentence: how far what `job` delivered at a seam is from what the full halo gives there."""
    if job.seam is None:
        raise AssertionError("the picture had no seam")
    part, delivered = job.seam
    again = Job(exact, job.source, job.put, lambda done, total: None)
    scale = exact.scale
    worst, total = 0.0, 0.0
    levels = 1.0 if delivered.dtype == np.uint8 else 1 / 257 if delivered.dtype == np.uint16 else 255.0
    for place, sr, _ in again.parts(part, part.pixels * 4):
        rows, columns = Box(*place.relative_to(part)).scaled(scale).slices()
        difference = np.abs(delivered[rows, columns].astype(np.float64) - sr) * levels
        worst, total = max(worst, float(difference.max())), total + float(difference.sum())
    mean = total / delivered.size
    return f"fast: at a seam of this picture the error is at most {worst:.0f} of 255 levels, {mean:.3f} on average."
