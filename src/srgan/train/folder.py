"""A run's folder: where its files lie, and the lock that keeps a second run out."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from srgan import config
from srgan.errors import CheckpointError
from srgan.fs import atomic_write, file_lock
from srgan.train.settings import TrainSettings

NETWORK = {"pretrain": "srresnet", "adversarial": "srgan"}


class RunFolder:
    """Paths below a run's folder, as docs/training.md lists them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.checkpoints = root / "checkpoints"
        self.settings = root / "settings.yaml"
        """The resolved settings, to feed back with --config."""

    @classmethod
    def of(cls, settings: TrainSettings) -> Self:
        """The folder that the settings name."""
        return cls(settings.run.output or Path("runs") / settings.run.recipe)

    def generator(self, phase: str, step: int) -> Path:
        """The generator of a step; never deleted."""
        return self.root / "generators" / f"{NETWORK[phase]}_{step:07d}.safetensors"

    def best(self, phase: str) -> Path:
        """The phase's generator that validated best."""
        return self.root / f"{NETWORK[phase]}.safetensors"

    def sample(self, phase: str, step: int) -> Path:
        """Fixed validation crops at a step."""
        return self.root / "samples" / f"{phase}_{step:07d}.png"

    def has_run(self) -> bool:
        """Whether the folder holds more than a run without a step leaves: settings, a pack, curves, warnings, empty files.

        Hidden files and a scheduler's logs count for nothing, either.
        """
        names = [path.name for path in self.root.rglob("*") if path.is_file() and path.stat().st_size]
        early, logs = [".", "data.pack", "events.out.tfevents", "journal.jsonl"], (".log", ".out", ".err")
        if (self.root / "journal.jsonl").exists():
            early.append("settings.yaml")  # without a journal it is the user's
        return any(not name.startswith(tuple(early)) and not name.endswith(logs) for name in names)

    def create(self, *, resume: bool, phase: str) -> None:
        """Make the folder. Refuses one with other files, and one with a run in it that is neither resumed nor followed.

        The adversarial phase follows a pretraining in the same folder.
        """
        started = self.settings.exists() or (self.root / "journal.jsonl").exists()
        adversarial = [*self.root.rglob("srgan*.safetensors"), *self.checkpoints.glob("adversarial_*")]
        follows = phase == "adversarial" and self.best("pretrain").exists() and not adversarial
        if self.has_run() and not (started and (resume or follows)):
            what = "is not empty. Resume its run with --resume, or" if started else "holds files but no run to resume;"
            raise CheckpointError(f"{self.root} {what} choose another folder with --output.")
        try:
            for folder in (self.root, self.checkpoints, self.root / "generators", self.root / "samples"):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"the folder {self.root} cannot be created: {error.strerror}.") from error

    def write_settings(self, settings: TrainSettings) -> None:
        """Write settings.yaml, without what holds for one start alone."""
        kept = config.replace(settings, resume=False, allow_change=())
        atomic_write(self.settings, config.to_yaml(kept).encode())

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process; the lock goes with the process, however it ends."""
        busy = f"another run is training into {self.root}. Wait for it, stop it, or choose another --output."
        with file_lock(self.root / ".lock", busy=busy, error=CheckpointError):
            for left in self.root.rglob(".*.tmp"):  # by a process that was killed while writing
                left.unlink(missing_ok=True)
            yield
