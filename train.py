"""The classic command: pretrain SRResNet, then train SRGAN, on data/<dataset_name>.

python train.py --pretrain_steps 100 --train_steps 50 --checkpoint_interval 25
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from srgan.cli import exit_code_of
from srgan.config import from_mapping, read_yaml, replace
from srgan.errors import CheckpointError, DataError, UsageError
from srgan.flags import Parser
from srgan.fs import atomic_write
from srgan.train.folder import RunFolder
from srgan.train.recipes import div2k

OUTPUTS = Path("outputs")
SETTINGS = OUTPUTS / "settings.yaml"
LONGER = ("pretrain_steps", "train_steps", "pretrain_learning_rate", "learning_rate")
"""Settings that --resume may change, as it always could; the run says that they did."""
FINAL_SRRESNET = OUTPUTS / "srresnet_final.safetensors"
FINAL_SRGAN = Path("models") / "srgan_final.safetensors"


def options(argv: list[str]) -> argparse.Namespace:
    """The flags that users of the original project know."""
    p = Parser("train.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--resume", action="store_true", help="go on from the newest checkpoint in outputs/")
    p.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    p.add_argument("--dataset_name", default="DIV2K", help="folder below data/ (default: DIV2K)")
    p.add_argument("--batch_size", type=int, default=16)
    p.add_argument("--lr", type=float, default=1e-4, help="learning rate of both phases, halved half-way")
    p.add_argument("--b1", type=float, default=0.9, help="Adam's beta 1")
    p.add_argument("--b2", type=float, default=0.999, help="Adam's beta 2")
    p.add_argument("--channels", type=int, default=3, help="channels of the pictures: 3")
    p.add_argument("--in_channels", type=int, default=3, help="channels that the generator takes: 3")
    p.add_argument("--checkpoint_interval", type=int, default=500, help="steps between checkpoints")
    p.add_argument("--pretrain_steps", type=int, default=2286)
    p.add_argument("--train_steps", type=int, default=457)
    p.add_argument("--num_res_blocks", type=int, default=16)
    chosen = p.parse_args(argv)
    if chosen.resume and SETTINGS.exists():  # what is not said again stays as it was
        p.set_defaults(**as_before())
        chosen = p.parse_args(argv)
    return chosen


def as_before() -> dict[str, object]:
    """The flags of the run in outputs/, which --resume goes on with."""
    s = from_mapping(div2k(), read_yaml(SETTINGS), where=str(SETTINGS))
    return {
        "device": s.speed.device,
        "dataset_name": s.data.data.name if s.data.data else "DIV2K",
        "batch_size": s.schedule.batch_size,
        "lr": s.schedule.learning_rate,
        "b1": s.schedule.b1,
        "b2": s.schedule.b2,
        "checkpoint_interval": s.reports.checkpoint_interval,
        "pretrain_steps": s.schedule.pretrain_steps,
        "train_steps": s.schedule.train_steps,
        "num_res_blocks": s.networks.blocks,
    }


def main(argv: list[str]) -> int:
    """Train into outputs/, put the final generators where infer.py looks for them."""
    chosen = options(argv)
    for name in ("channels", "in_channels"):
        if getattr(chosen, name) != 3:
            raise UsageError(
                f"--{name} {getattr(chosen, name)}: the networks work on RGB, 3 channels; grey pictures are read as RGB."
            )
    for name in ("pretrain_steps", "train_steps"):
        if getattr(chosen, name) < 1:
            raise UsageError(f"--{name} {getattr(chosen, name)}: train.py trains both networks, at least 1 step each.")
    for old, there in ((OUTPUTS, RunFolder(OUTPUTS).has_run()), (FINAL_SRGAN, FINAL_SRGAN.exists())):
        if there and not chosen.resume:
            raise CheckpointError(f"{old} is there from an earlier training; go on with --resume, or move it away.")
    data = Path("data") / chosen.dataset_name
    if not data.is_dir():
        raise DataError(
            f"there is no folder {data}. Put the images there, or fetch them: srgan data fetch div2k --to data"
        )

    vgg = vgg19()
    if vgg is None:
        raise DataError("VGG19's weights belong into data/vgg19/; fetch them: srgan data fetch vgg19 --to data")

    settings = replace(
        div2k(),
        data=data,
        output=OUTPUTS,
        vgg=vgg,
        resume=chosen.resume,
        device=chosen.device,
        batch_size=chosen.batch_size,
        pretrain_learning_rate=chosen.lr,
        learning_rate=chosen.lr,
        b1=chosen.b1,
        b2=chosen.b2,
        blocks=chosen.num_res_blocks,
        pretrain_steps=chosen.pretrain_steps,
        train_steps=chosen.train_steps,
        checkpoint_interval=chosen.checkpoint_interval,
        validation_interval=chosen.checkpoint_interval,
        allow_change=LONGER if chosen.resume else (),
    )
    from srgan.train.run import train  # PyTorch: not before the arguments are right

    code = train(settings)
    if code == 0:
        FINAL_SRGAN.parent.mkdir(exist_ok=True)
        for made, final in (("srresnet", FINAL_SRRESNET), ("srgan", FINAL_SRGAN)):
            last = sorted((OUTPUTS / "generators").glob(f"{made}_*.safetensors"))[-1]
            atomic_write(final, last.read_bytes())
        print(f"final generators: {FINAL_SRRESNET}, {FINAL_SRGAN}")
    else:
        print("`python train.py --resume` goes on too, and in the end writes models/.", file=sys.stderr)
    return code


def vgg19() -> Path | None:
    """VGG19's weights where users have them: data/vgg19/, or data/ itself."""
    for folder in (Path("data") / "vgg19", Path("data")):
        for path in sorted(folder.glob("*vgg19*")):
            if path.suffix in (".safetensors", ".npz", ".h5"):
                return path
    return None


if __name__ == "__main__":
    sys.exit(exit_code_of(main, sys.argv[1:]))
