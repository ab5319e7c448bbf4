"""The command line: exit codes, guesses, missing extras, and whose fault it was."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from srgan import __version__, cli
from srgan.errors import Diverged, ImageError
from srgan.model import weights
from srgan.model.config import GeneratorConfig


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    """`guarded` installs a handler for SIGTERM; give the test runner its own back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[list[str]], object]], None]:
    """Put a function in the place of `srgan info`."""

    def put(main: Callable[[list[str]], object]) -> None:
        monkeypatch.setitem(sys.modules, "stand_in", types.SimpleNamespace(main=main))
        monkeypatch.setitem(cli.COMMANDS, "info", ("stand_in", "stand-in", None))

    return put


def raising(error: BaseException) -> Callable[[list[str]], object]:
    def main(argv: list[str]) -> object:
        raise error

    return main


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    out, err = capsys.readouterr()
    assert not err
    assert all(f"  {name} " in out for name in cli.COMMANDS)
    assert out.count("[needs the extra") == sum(extra is not None for _, _, extra in cli.COMMANDS.values())


def test_no_command_shows_the_list_but_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([]) == 2
    assert "usage: srgan COMMAND" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"srgan {__version__}\n"


@pytest.mark.parametrize(("typed", "guess"), [("upscal", "upscale"), ("evalute", "evaluate")])
def test_an_unknown_command_is_guessed(typed: str, guess: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([typed]) == 2
    err = capsys.readouterr().err
    assert f"no command '{typed}'" in err and f"Did you mean '{guess}'?" in err
    assert len(err.splitlines()) == 1


def test_a_far_off_command_is_not_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["xyz"]) == 2
    assert "Did you mean" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ImageError("photo.png ends too early"), 2, "srgan: error: photo.png ends too early"),
        (Diverged("the loss is NaN at step 7"), 3, "srgan: error: the loss is NaN at step 7"),
        (KeyboardInterrupt(), 130, "srgan: stopped by Ctrl-C"),
    ],
    ids=["picture", "diverged", "ctrl-c"],
)
def test_one_sentence_and_an_exit_code(
    error: BaseException, code: int, said: str, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(raising(error))
    assert cli.run(["info"]) == code
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"{said}\n")


def test_a_command_gets_its_arguments_and_gives_its_code(command: Callable[..., None]) -> None:
    command(lambda argv: 0 if argv == ["a", "--b", "c"] else 1)
    assert cli.run(["info", "a", "--b", "c"]) == 0
    command(lambda argv: 2)
    assert cli.run(["info"]) == 2
    command(lambda argv: None)
    assert cli.run(["info"]) == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals(number: int, code: int, command: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    def main(argv: list[str]) -> int:
        os.kill(os.getpid(), number)
        time.sleep(5)
        return 0

    command(main)
    assert cli.run(["info"]) == code
    assert capsys.readouterr().err.startswith("srgan: stopped by ")


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), ModuleNotFoundError("no 'srgan.lost'", name="srgan.lost")])
def test_our_fault_is_said_to_be_ours(
    error: Exception, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(raising(error))
    assert cli.run(["info"]) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err and type(error).__name__ in err
    assert "fault of srgan, not yours. Please report it" in err and __version__ in err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "results/a.json"), "results/a.json: Permission denied."),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device."),
    ],
)
def test_a_machine_without_room_or_permission_is_not_our_fault(
    error: OSError, said: str, command: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    command(raising(error))
    assert cli.run(["info"]) == 2
    assert capsys.readouterr().err == f"srgan: error: {said}\n"
    command(raising(OSError(errno.EBADF, "Bad file descriptor")))
    assert cli.run(["info"]) == 1


def test_the_option_parser_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["upscale", "--modell", "srgan", "x.png"]) == 2
    err = capsys.readouterr().err
    assert "--modell" in err and "Traceback" not in err


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    """`srgan --help | head -1` with a pipe that is closed before anything is written."""
    read, write = os.pipe()
    os.close(read)
    code = "import sys; from srgan.cli import guarded\ndef main(argv):\n print('x' * 100000, flush=True)\nsys.exit(guarded(main, []))"
    done = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("module", "argv", "extra"),
    [
        ("torch", ["train", "--recipe", "quick"], "train"),
        ("starlette", ["serve"], "web"),
        ("onnx", ["export", "tiny.safetensors", "-o", "tiny.onnx"], "export"),
    ],
)
def test_a_missing_extra_is_named_with_the_command_that_brings_it(
    module: str, argv: list[str], extra: str, tmp_path: Path
) -> None:
    tiny = weights.random(GeneratorConfig(blocks=1, width=4))
    weights.write(tmp_path / "tiny.safetensors", tiny.tensors, config=tiny.config, metadata={})
    code = f"import sys; sys.modules[{module!r}] = None\nfrom srgan.cli import run; sys.exit(run({argv!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert f'pip install "srgan[{extra}]"' in done.stderr and f"uv run --extra {extra}" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.safetensors"]


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_explains_itself_and_can_be_quiet(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([name, "--help"]) == 0
    out, err = capsys.readouterr()
    assert f"srgan {name}" in out and not err
    if name not in ("data", "bench"):  # these have commands of their own below them
        assert "--quiet" in out
