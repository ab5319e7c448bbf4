"""The list of commands, and the one place where exceptions and signals become exit codes."""

import codecs
import contextlib
import errno
import importlib
import io
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

from srgan import __version__
from srgan.errors import STOP_SIGNALS, SrganError, UsageError, did_you_mean, missing_extra
from srgan.fs import printable
from srgan.progress import MessageHandler

log = logging.getLogger("srgan")

# command -> (what it does, the extra that it needs); `srgan.commands.NAME` has `main(argv) -> int`
COMMANDS: dict[str, tuple[str, str | None]] = {
    "upscale": ("make images 2, 3 or 4 times larger", None),
    "evaluate": ("score a model, or a folder of images, on test sets", None),
    "train": ("train SRResNet, then SRGAN", "train"),
    "data": ("fetch, check or pack images", None),
    "export": ("write a model as ONNX, OpenVINO, ncnn or torch.export", "export"),
    "report": ("write one HTML page about one or more training runs", "train"),
    "serve": ("start a web page and an HTTP service", "web"),
    "bench": ("measure upscaling, training or data loading", "train"),
    "info": ("show the metadata of a weights file, or of an image made by srgan", None),
}
_MODULES_OF_EXTRA = {
    "train": ("torch", "tensorboard", "matplotlib", "jinja2", "h5py", "skimage"),
    "web": ("fastapi", "prometheus_client", "python_multipart", "starlette", "uvicorn"),
    "export": ("onnx", "onnxruntime", "ncnn"),
    "cluster": ("ray",),
}
_LEVELS = {"--quiet": logging.WARNING, "--verbose": logging.DEBUG}
_OF_THE_MACHINE = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENOMEM, errno.ENOENT}
)
"""OSErrors that need no file's name to be understood: no permission, no space, no current folder any more."""
_NO_MEMORY = re.compile(
    r"failed to map segment|(cannot|can't|unable to|tried to) allocate|out of memory|bad_alloc|start new thread",
    re.IGNORECASE,
)
"""How libraries, the loader of libraries and PyTorch say it."""


class Terminated(BaseException):
    """A signal asks the process to end; the argument is its number."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (default: this process's) and return its exit code."""
    with _exit_code(sys.argv[1:] if argv is None else argv) as run:
        name, *rest = run.argv or ["--help"]
        if name in ("-h", "--help"):
            print(_help())
            run.code = 0 if run.argv else 2
        elif name in ("-V", "--version"):
            print(f"srgan {__version__}")
        elif name not in COMMANDS:
            raise UsageError(
                f"there is no command '{printable(name)}'.{did_you_mean(name, COMMANDS)} `srgan --help` lists them."
            )
        else:
            run.code = importlib.import_module(f"srgan.commands.{name}").main(rest) or 0
    return run.code


def exit_code_of(command: Callable[[list[str]], int | None], argv: Sequence[str]) -> int:
    """The exit code of another command line than `srgan`, with the same messages."""
    with _exit_code(argv) as run:
        run.code = command(run.argv) or 0
    return run.code


class _Run:
    """One command line: its words without --quiet and --verbose, and its exit code."""

    def __init__(self, argv: list[str]) -> None:
        self.argv, self.code = argv, 0


@contextlib.contextmanager
def _exit_code(argv: Sequence[str]) -> Iterator[_Run]:
    """Messages of the block on stderr; its errors and signals become a sentence and the exit code.

    0 done; 1 a bug; 2 the user's input; 3 diverged; 130 Ctrl-C; 128 + the number of another signal, such as 143 for SIGTERM.
    """
    _keep_streams_open()
    _catch_signals()
    with _logging(argv) as words:
        run = _Run(words)
        try:
            yield run
        except SrganError as error:
            log.error(f"error: {error}")
            run.code = error.exit_code
        except SystemExit as error:  # the option parser, after --help
            run.code = error.code if isinstance(error.code, int) else 2
        except (Exception, KeyboardInterrupt, Terminated) as error:
            run.code = _unexpected(error)
        run.code = run.code or _lost_output()


def _unexpected(error: BaseException) -> int:
    """The exit code of an error that no other code turned into a sentence: a signal, a missing extra, the machine, or a bug."""
    # A module in C that is being imported wraps what a signal raises.
    cause = error.__cause__ if isinstance(error, ImportError) else error
    if isinstance(cause, (KeyboardInterrupt, Terminated)):
        number = signal.Signals(cause.args[0] if isinstance(cause, Terminated) else signal.SIGINT)
        log.error("stopped by %s", "Ctrl-C" if number == signal.SIGINT else number.name)
        return 128 + number
    if isinstance(error, ModuleNotFoundError):
        top = (error.name or "").partition(".")[0]
        for extra, modules in _MODULES_OF_EXTRA.items():
            if top in modules:
                missing = missing_extra(extra, f"this command (it uses '{top}')")
                log.error(f"error: {missing}")
                return missing.exit_code
    if isinstance(error, OSError) and error.strerror and (error.filename or error.errno in _OF_THE_MACHINE):
        where = error.filename or ("the current folder" if error.errno == errno.ENOENT else "")
        log.error(f"error: {f'{printable(str(where))}: ' if where else ''}{error.strerror}.")
        return 2
    if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
        log.error(f"error: no memory is left ({printable(str(error).strip().rpartition(': ')[2] or 'out of memory')}).")
        return 2
    import traceback

    traceback.print_exc()
    log.error(f"{__version__}: this is a bug in srgan. Please report it with the lines above.")
    return 1


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [
        f"srgan {__version__}: upscale images with SRResNet and SRGAN",
        "",
        "usage: srgan COMMAND [OPTIONS]      (srgan COMMAND --help lists the options)",
        "",
        *(
            f"  {name:<{width}}  {what}" + (f"  [needs the extra '{extra}']" if extra else "")
            for name, (what, extra) in COMMANDS.items()
        ),
        "",
        "Every command takes --quiet (results and errors only) and --verbose (more detail).",
    ]
    return "\n".join(lines)


@contextlib.contextmanager
def _logging(argv: Sequence[str]) -> Iterator[list[str]]:
    """Messages on stderr at the level that --quiet or --verbose asks for; yields `argv` without these two."""
    end = argv.index("--") if "--" in argv else len(argv)
    level = min((_LEVELS[word] for word in argv[:end] if word in _LEVELS), default=logging.INFO)
    handler, before = MessageHandler(), log.level
    log.addHandler(handler)
    log.setLevel(level)
    try:
        yield [word for index, word in enumerate(argv) if word not in _LEVELS or index >= end]
    finally:
        log.removeHandler(handler)
        log.setLevel(before)


def _catch_signals() -> None:
    for number in STOP_SIGNALS:
        if number != signal.SIGINT and signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(number, _terminate)


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise Terminated(signum)


class _Unbreakable(io.FileIO):
    """A standard stream whose reader may go away or whose disk may be full: the rest is dropped, and the work goes on."""

    lost: OSError | None = None

    def write(self, data: object) -> int:
        try:
            if self.lost is None:
                return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            self.lost = error
        return memoryview(data).nbytes  # type: ignore[arg-type]


def _lost_output() -> int:
    """2, with a sentence, where stdout could not be written; 0 also where its reader left, as `| head` does."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if isinstance(raw, _Unbreakable):
        sys.stdout.flush()
        if raw.lost is not None and raw.lost.errno not in (errno.EPIPE, errno.EIO):
            log.error(f"error: stdout cannot be written: {raw.lost.strerror}; what it was to hold is not complete.")
            return 2
    return 0


def _keep_streams_open() -> None:
    """Let no closed stdout or stderr, and no name that the terminal's encoding lacks, stop the work."""
    codecs.register_error("srgan", lambda e: (e.object[e.start : e.end].encode("utf-8", "surrogateescape"), e.end))  # type: ignore[attr-defined]
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the free number, so that no image file does
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None or stream is getattr(sys, f"__{name}__"):  # pytest and redirect_stdout bring their own
            raw = io.BufferedWriter(_Unbreakable(number, "w", closefd=False))
            encoding = stream.encoding if stream else "utf-8"
            lines = number == 2 or raw.isatty()
            setattr(sys, name, io.TextIOWrapper(raw, encoding, errors="srgan", line_buffering=lines))
