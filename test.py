"""The classic command: PSNR and SSIM of results/ against data/Set14, on Y, 4 pixels shaved.

python test.py
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from srgan.cli import exit_code_of
from srgan.errors import DataError
from srgan.flags import Parser

RESULTS = Path("results")


def main(argv: list[str]) -> int:
    """Print one row per image and the mean; write the same numbers to results/metrics.json."""
    Parser("test.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)

    from srgan.data.folders import test_pairs
    from srgan.data.pairs import match_results
    from srgan.evaluate.scoring import evaluate_images
    from srgan.evaluate.table import PROTOCOL, set_to_json
    from srgan.fs import atomic_write
    from srgan.image.metrics import Scores

    pairs = test_pairs(Path("data"), "Set14")
    if not RESULTS.is_dir():
        raise DataError(
            "there is no folder results/. Create it with: python infer.py --infer_model srgan --infer_step final"
        )

    def row(name: str, scores: Scores) -> None:
        print(f"{name:<12} {scores.psnr_y:9.4f} {scores.ssim_wang:10.4f} {scores.ssim_daala:11.4f}")

    print(f"{'Set14':<12} {'psnr_y':>9} {'ssim_wang':>10} {'ssim_daala':>11}")
    scores = evaluate_images(match_results(RESULTS, pairs), pairs, on_image=row)
    row("mean", scores.mean)
    content = {"protocol": PROTOCOL, "set": "Set14", "count": len(pairs), **set_to_json(scores)}
    atomic_write(RESULTS / "metrics.json", f"{json.dumps(content, indent=1, allow_nan=False)}\n".encode())
    print(f"written to {RESULTS / 'metrics.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code_of(main, sys.argv[1:]))
