"""The list of commands, and the one place where exceptions become exit codes."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import FrameType

from srgan import __version__
from srgan.errors import SrganError, UsageError, missing_extra

# command -> (module with `main(argv) -> int`, what it does, the extra that it needs)
COMMANDS: dict[str, tuple[str, str, str | None]] = {
    "upscale": ("srgan.commands.upscale", "make pictures four times larger", None),
    "evaluate": ("srgan.commands.evaluate", "score a model, or a folder of pictures, on test sets", None),
    "train": ("srgan.commands.train", "train SRResNet, then SRGAN", "train"),
    "data": ("srgan.commands.data", "fetch, check or pack pictures", None),
    "export": ("srgan.commands.export", "write a model as ONNX, OpenVINO or torch.export", "export"),
    "report": ("srgan.commands.report", "one HTML page about one or more training runs", "train"),
    "serve": ("srgan.commands.serve", "a page to try it, and an HTTP service", "web"),
    "bench": ("srgan.commands.bench", "measure upscaling, training or data loading", "train"),
    "info": ("srgan.commands.info", "what a weights file, or a picture made by srgan, says of itself", None),
}
_EXTRA_OF_MODULE = {
    "jinja2": "train",
    "matplotlib": "train",
    "torch": "train",
    "tensorboard": "train",
    "python_multipart": "web",
    "starlette": "web",
    "uvicorn": "web",
    "onnx": "export",
    "onnxruntime": "export",
    "onnxscript": "export",
    "ray": "cluster",
}
_OF_THE_MACHINE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EMFILE})
"""Of an OSError that no room has put into a sentence: no permission, no room; not our fault."""


class Terminated(BaseException):
    """SIGTERM arrived."""


def run(argv: Sequence[str]) -> int:
    """Run one command line and return its exit code.

    0 done; 1 our fault; 2 the user's input; 3 diverged; 130 Ctrl-C; 143 SIGTERM.
    """
    return guarded(_dispatch, list(argv))


def guarded(command: Callable[[list[str]], int], argv: list[str]) -> int:
    """Run `command`, turning what goes wrong into a sentence on stderr and an exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    try:
        return command(argv)
    except SrganError as error:
        print(f"srgan: error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("srgan: stopped by Ctrl-C", file=sys.stderr)
        return 130
    except Terminated:
        print("srgan: stopped by SIGTERM", file=sys.stderr)
        return 143
    except BrokenPipeError:  # the reader of our table went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as error:  # the option parser: 0 after --help, 2 after a wrong option
        return error.code if isinstance(error.code, int) else 2
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and _top(error) in _EXTRA_OF_MODULE:
            return _missing_module(error)
        if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
            where = f"{error.filename}: " if error.filename else ""
            print(f"srgan: error: {where}{error.strerror}.", file=sys.stderr)
            return 2
        import traceback

        traceback.print_exc()
        print(
            f"srgan {__version__}: this is a fault of srgan, not yours. Please report it with the lines above.",
            file=sys.stderr,
        )
        return 1


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(_help())
        return 0 if argv else 2
    if argv[0] in ("-V", "--version"):
        print(f"srgan {__version__}")
        return 0
    name, rest = argv[0], argv[1:]
    if name not in COMMANDS:
        raise UsageError(f"there is no command '{name}'.{_guess(name)} `srgan --help` lists them.")
    module = importlib.import_module(COMMANDS[name][0])
    return int(module.main(rest) or 0)


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [
        f"srgan {__version__}: pictures four times larger, by SRResNet and SRGAN",
        "",
        "usage: srgan COMMAND [OPTIONS]      (srgan COMMAND --help for its options)",
        "",
        *(
            f"  {name:<{width}}  {what}" + (f"  [needs the extra '{extra}']" if extra else "")
            for name, (_, what, extra) in COMMANDS.items()
        ),
    ]
    return "\n".join(lines)


def _guess(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, COMMANDS, n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


def _top(error: ModuleNotFoundError) -> str:
    return (error.name or "").partition(".")[0]


def _missing_module(error: ModuleNotFoundError) -> int:
    """Name the extra that brings a module of somebody else's."""
    sentence = missing_extra(_EXTRA_OF_MODULE[_top(error)], f"This command (it uses '{_top(error)}')")
    print(f"srgan: error: {sentence}", file=sys.stderr)
    return sentence.exit_code


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise Terminated
