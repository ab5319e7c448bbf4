"""The classic command: upscale the LR images of data/Set14 into results/.

python infer.py --infer_model srgan --infer_step final
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from srgan.cli import exit_code_of
from srgan.errors import ImageError, UsageError, WeightsError
from srgan.flags import Parser

RESULTS = Path("results")


def options(argv: list[str]) -> argparse.Namespace:
    """The flags of the original project; both are required."""
    p = Parser("infer.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--infer_model", required=True, type=str.lower, choices=("srgan", "srresnet"))
    p.add_argument(
        "--infer_step", required=True, type=str.lower, help="final, or a step at which train.py saved a generator"
    )
    return p.parse_args(argv)


def main(argv: list[str]) -> int:
    """Upscale every LR image of Set14; only images that srgan made are replaced."""
    chosen = options(argv)
    path = model(chosen.infer_model, chosen.infer_step)

    from srgan import Upscaler
    from srgan.data.folders import test_pairs
    from srgan.image.files import read_provenance

    upscaler = Upscaler(path)
    pairs = test_pairs(Path("data"), "Set14")
    RESULTS.mkdir(exist_ok=True)
    for pair in pairs:
        if pair.lr is None:
            raise ImageError(f"{pair.hr} has no LR image; put Set14 into data/Set14/image_SRF_4.")
        target = RESULTS / f"{pair.lr.stem}.png"
        if target.exists() and read_provenance(target) is None:
            raise ImageError(f"{target} was not made by srgan and is not replaced; move it away and run this again.")
        upscaler.upscale_file(pair.lr, target, overwrite=True)
        print(target)
    return 0


def model(name: str, step: str) -> Path:
    """The file of a generator that train.py wrote. Raises WeightsError with the steps that exist."""
    if step == "final":
        path = Path("models/srgan_final.safetensors" if name == "srgan" else "outputs/srresnet_final.safetensors")
    elif step.isdecimal():
        path = Path("outputs/generators") / f"{name}_{int(step):07d}.safetensors"
    else:
        raise UsageError(f"--infer_step is 'final' or a step number, got '{step}'.")
    if not path.is_file():
        steps = sorted(int(p.stem.rsplit("_", 1)[1]) for p in Path("outputs/generators").glob(f"{name}_*.safetensors"))
        there = (
            f"outputs/generators has {name} at steps {', '.join(map(str, steps))}"
            if steps
            else "no other step is saved"
        )
        raise WeightsError(f"{path} does not exist; {there}. Train with: python train.py")
    return path


if __name__ == "__main__":
    sys.exit(exit_code_of(main, sys.argv[1:]))
