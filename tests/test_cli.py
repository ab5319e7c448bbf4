"""The command line: exit codes, guesses, missing extras, and whose fault it was."""

import errno
import logging
import os
import signal
import subprocess
import sys
import types
from collections.abc import Callable, Iterator

import pytest

from srgan import __version__, cli
from srgan.errors import Diverged, ImageError
from srgan.model import weights
from srgan.model.config import GeneratorConfig
from tests.support import random_weights


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    """`main` installs handlers; give the test runner its own back."""
    before = {number: signal.getsignal(number) for number in cli.STOP_SIGNALS}
    yield
    for number, old in before.items():
        signal.signal(number, old)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[list[str]], object]], None]:
    """Put a function in the place of `srgan info`."""

    def put(main: Callable[[list[str]], object]) -> None:
        monkeypatch.setitem(sys.modules, "srgan.commands.info", types.SimpleNamespace(main=main))

    return put


def raising(error: BaseException) -> Callable[[list[str]], object]:
    def main(argv: list[str]) -> object:
        raise error

    return main


def test_help_lists_every_command(capsys):
    assert cli.main(["--help"]) == 0
    out, err = capsys.readouterr()
    assert not err
    assert all(f"  {name} " in out for name in cli.COMMANDS)
    assert out.count("[needs the extra") == sum(extra is not None for _, extra in cli.COMMANDS.values())

    assert cli.main([]) == 2  # shows the list, but is an error
    assert capsys.readouterr() == (out, "")
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"srgan {__version__}\n"


@pytest.mark.parametrize(("typed", "guess"), [("upscal", "upscale"), ("evalute", "evaluate"), ("xyz", None)])
def test_an_unknown_command_is_guessed(typed, guess, capsys):
    assert cli.main([typed]) == 2
    err = capsys.readouterr().err
    assert f"no command '{typed}'" in err and (f"Did you mean '{guess}'?" in err) == ("Did you mean" in err) == bool(
        guess
    )
    assert len(err.splitlines()) == 1


def wrapped(cause: BaseException) -> ImportError:
    """What an import of OpenVINO makes of a signal."""
    error = ImportError("initialization failed")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ImageError("photo.png ends too early"), 2, "srgan: error: photo.png ends too early"),
        (Diverged("the loss is NaN at step 7"), 3, "srgan: error: the loss is NaN at step 7"),
        (KeyboardInterrupt(), 130, "srgan: stopped by Ctrl-C"),
        (wrapped(KeyboardInterrupt()), 130, "srgan: stopped by Ctrl-C"),
        (wrapped(cli.Terminated(signal.SIGHUP)), 129, "srgan: stopped by SIGHUP"),
    ],
    ids=["picture", "diverged", "ctrl-c", "ctrl-c in an import", "hangup in an import"],
)
def test_one_sentence_and_an_exit_code(error, code, said, command, capsys):
    command(raising(error))
    assert cli.main(["info"]) == code
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"{said}\n")


def test_a_command_gets_its_arguments_and_gives_its_code(command):
    command(lambda argv: 0 if argv == ["a", "--b", "c"] else 1)
    assert cli.main(["info", "a", "--b", "c"]) == 0
    command(lambda argv: 2)
    assert cli.main(["info"]) == 2
    command(lambda argv: None)
    assert cli.main(["info"]) == 0


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), ModuleNotFoundError("no 'srgan.lost'", name="srgan.lost")])
def test_our_fault_is_said_to_be_ours(error, command, capsys):
    command(raising(error))
    assert cli.main(["info"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err and type(error).__name__ in err
    assert "this is a bug in srgan. Please report it" in err and __version__ in err


_NO_MEMORY = "no memory is left ("


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "results/a.json"), "results/a.json: Permission denied."),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device."),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory"),
            "the current folder: No such file or directory.",
        ),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "runs/one"), "runs/one: Is a directory."),
        (
            ImportError("lib.so: failed to map segment from shared object"),
            _NO_MEMORY + "failed to map segment from shared object).",
        ),
        (MemoryError(), _NO_MEMORY + "out of memory)."),
    ],
)
def test_a_machine_without_room_or_permission_is_not_our_fault(error, said, command, capsys):
    command(raising(error))
    assert cli.main(["info"]) == 2
    assert capsys.readouterr().err == f"srgan: error: {said}\n"
    for ours in (OSError(errno.EBADF, "Bad file descriptor"), OSError(errno.EISDIR, "Is a directory")):
        command(raising(ours))
        assert cli.main(["info"]) == 1


WORK = """
import os, sys, logging
from srgan.cli import exit_code_of

def work(argv):
    for index in range(3):
        logging.getLogger("srgan").info("message")
        print("b\\u00e4r \\udcff", flush=True)
        open(f"{index}.txt", "w").write("done")

sys.exit(exit_code_of(work, []))
"""


@pytest.mark.parametrize(
    "gone", ["stdout", "stderr", "stdout closed", "stderr closed", "stdout full", "ascii", "plain C"]
)
def test_no_stream_stops_the_work(gone, tmp_path):
    """A reader that left (`| head -0`), a closed descriptor (`>&-`), a full disk, an encoding without a name's letters."""
    read, write = os.pipe() if "full" not in gone else (0, os.open("/dev/full", os.O_WRONLY))
    if read:
        os.close(read)
    number = 2 if "stderr" in gone else 1
    environment = {"ascii": {"PYTHONIOENCODING": "ascii"}, "plain C": {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}}
    done = subprocess.run(
        [sys.executable, "-c", WORK],
        cwd=tmp_path,
        stdout=write if gone in ("stdout", "stdout full") else subprocess.PIPE,
        stderr=write if gone == "stderr" else subprocess.PIPE,
        preexec_fn=(lambda: os.close(number)) if "closed" in gone else None,
        env={**os.environ, "LC_ALL": "C", **environment.get(gone, {})},
    )
    os.close(write)
    assert done.returncode == (2 if "full" in gone else 0), done.stderr
    assert len(list(tmp_path.iterdir())) == 3
    if "stdout" not in gone:
        assert done.stdout == "bär \udcff\n".encode("utf-8", "surrogateescape") * 3
    if "stderr" not in gone:
        lost = (
            b"srgan: error: stdout cannot be written: No space left on device; what it was to hold is not complete.\n"
        )
        assert done.stderr == b"srgan: message\n" * 3 + lost * ("full" in gone)


def test_quiet_and_verbose(command, capsys):
    def talk(argv: list[str]) -> None:
        print(argv)
        for level in ("debug", "info", "warning"):
            getattr(logging.getLogger("srgan"), level)(level)

    command(talk)
    for argv, lines in ((["--quiet"], 1), ([], 2), (["--verbose"], 3)):
        assert cli.main(["info", "a", *argv, "--", "--quiet"]) == 0
        out, err = capsys.readouterr()
        assert (out, len(err.splitlines())) == ("['a', '--', '--quiet']\n", lines)
    assert not logging.getLogger("srgan").handlers


def test_ignored_hangup_stays_ignored(command):
    """`nohup srgan ...`."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    command(lambda argv: os.kill(os.getpid(), signal.SIGHUP))
    assert cli.main(["info"]) == 0


@pytest.mark.parametrize(
    ("module", "argv", "extra"),
    [
        ("torch", ["train", "--recipe", "quick"], "train"),
        ("starlette", ["serve"], "web"),
        ("onnx", ["export", "tiny.safetensors", "-o", "tiny.onnx"], "export"),
    ],
)
def test_a_missing_extra_is_named_with_the_command_that_brings_it(module, argv, extra, tmp_path):
    tiny = random_weights(GeneratorConfig(blocks=1, width=4))
    weights.write(tmp_path / "tiny.safetensors", tiny.tensors, config=tiny.config, metadata={})
    code = f"import sys; sys.modules[{module!r}] = None\nfrom srgan.cli import main; sys.exit(main({argv!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.rstrip().endswith(f"not installed. Install it with: uv sync --inexact --extra {extra}")
    assert len(done.stderr.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.safetensors"]


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_explains_itself_and_can_be_quiet(name, capsys):
    assert cli.main([name, "--help"]) == 0
    out, err = capsys.readouterr()
    assert f"srgan {name}" in out and not err
    if name not in ("data", "bench"):  # these have commands of their own below them
        assert "--quiet" in out
