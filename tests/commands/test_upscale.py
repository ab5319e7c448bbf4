"""`srgan upscale` and `srgan info` from argument to file: exit codes, streams, skipping, failures, signals."""

import io
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image as PillowImage

from srgan import Upscaler
from srgan.cli import main
from srgan.image import files
from srgan.progress import MessageHandler
from srgan.upscale import batch


def upscale(model: Path, *arguments: object) -> int:
    return main(["upscale", *map(str, arguments), "--model", str(model)])


def test_folder_with_a_broken_image(folder, small_file, capsys):
    assert upscale(small_file, folder / "in", "-o", folder / "out") == 2
    output = capsys.readouterr()
    assert output.out.splitlines() == [f"{folder}/out/{name}" for name in ("a.png", "c.png", "sub/b.png")]
    assert "1 of 4 images failed" in output.err and "z.png is no image" in output.err
    assert files.size(folder / "out/a.png") == (36, 56)
    deep = files.read_image(folder / "out/sub/b.png").pixels
    assert deep.dtype == np.uint16 and deep.ndim == 2
    assert files.read_image(folder / "out/c.png").alpha is not None
    assert sorted(path.name for path in folder.rglob("*") if path.name.startswith(".")) == []


def test_second_run_skips_finished(folder, small_file, capsys):
    (folder / "in/z.png").unlink()
    assert upscale(small_file, folder / "in", "-o", folder / "out") == 0
    stamp = (folder / "out/a.png").stat().st_mtime_ns
    (folder / "out/c.png").unlink()
    capsys.readouterr()
    assert upscale(small_file, folder / "in", "-o", folder / "out") == 0
    output = capsys.readouterr()
    assert "2 of 3 exist already" in output.err and output.out.splitlines() == [f"{folder}/out/c.png"]
    assert (folder / "out/a.png").stat().st_mtime_ns == stamp


def test_existing_target_is_an_error(folder, small_file, capsys):
    assert upscale(small_file, folder / "in/a.png") == 0
    first = (folder / "in/a_x4.png").read_bytes()
    assert upscale(small_file, folder / "in/a.png") == 2
    assert "exists; --overwrite replaces it" in capsys.readouterr().err
    assert upscale(small_file, folder / "in/a.png", "--overwrite") == 0
    assert (folder / "in/a_x4.png").read_bytes() == first  # the same input and settings: the same bytes


def test_a_large_result_is_announced(folder, small_file, monkeypatch, capsys):
    monkeypatch.setattr(batch, "_LARGE", 100)
    image = sorted(folder.rglob("*.png"))[0]
    height, width = (4 * side for side in files.size(image))
    assert main(["upscale", str(image), "--model", str(small_file), "-o", str(folder / "large.png")]) == 0
    assert f"becomes {width}x{height} pixels, 0.0 GB before compression" in capsys.readouterr().err
    frames = [PillowImage.new("RGB", (8, 8), (number, 0, 0)) for number in range(3)]
    frames[0].save(folder / "frames.webp", save_all=True, append_images=frames[1:], lossless=True)
    assert main(["upscale", str(folder / "frames.webp"), "--model", str(small_file)]) == 0
    assert "frames.webp becomes 3 frames of 32x32 pixels, 0.0 GB" in capsys.readouterr().err


def test_a_result_of_another_run_is_not_replaced(folder, small_file, monkeypatch, capsys):
    """It appears while the image is computed."""
    real = batch.FileTask.compute

    def compute(self: batch.FileTask, *arguments: object) -> dict[str, str]:
        made_by = real(self, *arguments)
        self.target.write_bytes(b"theirs")
        return made_by

    monkeypatch.setattr(batch.FileTask, "compute", compute)
    assert upscale(small_file, folder / "in/a.png") == 2
    assert "another run has written it" in capsys.readouterr().err
    assert (folder / "in/a_x4.png").read_bytes() == b"theirs"
    assert upscale(small_file, folder / "in/a.png", "--overwrite") == 0
    assert not [path for path in folder.rglob(".*") if path.is_file()]


def test_stdin_and_stdout(folder, small_file, monkeypatch, capsysbinary):
    data = (folder / "in/a.png").read_bytes()
    for words, first in (
        (["-"], b"\x89PNG"),
        (["-", "-o", "-", "--format", "webp"], b"RIFF"),
        (["in/a.png", "-o", "-"], b"\x89PNG"),
    ):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        monkeypatch.chdir(folder)
        before = sorted(folder.rglob("*"))
        assert upscale(small_file, *words) == 0
        output = capsysbinary.readouterr().out
        assert output.startswith(first) and files.read_array(files.ImageBytes(data=output, name="-")).shape == (
            36,
            56,
            3,
        )
        assert sorted(folder.rglob("*")) == before
    for words in (["-", "in/a.png"], ["in", "-o", "-"], ["in/*.png", "-o", "-"], ["in/z*.png", "-o", "-"]):
        assert upscale(small_file, *words) == 2
        assert b"one image" in capsysbinary.readouterr().err
    assert upscale(small_file, "in/z.png", "-o", "-") == 2 and capsysbinary.readouterr().out == b""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"no image")))
    assert upscale(small_file, "-") == upscale(small_file, "in/c.png", "-o", "-", "--format", "jpg") == 2
    errors = [line for line in capsysbinary.readouterr().err.decode().splitlines() if "error" in line]
    assert errors[0].startswith("srgan: error: stdin is no image")
    assert errors[1].startswith("srgan: error: stdout.jpg: the image has transparency")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data[:-12])))
    assert upscale(small_file, "-") == 0
    assert capsysbinary.readouterr().err == b"srgan: stdin ends without its end mark; the file may be cut.\n"
    monkeypatch.setattr("sys.__stdout__", None)  # as after `>&-`
    assert upscale(small_file, "in/a.png", "-o", "-") == 2
    assert capsysbinary.readouterr().err.splitlines()[-1].startswith(b"srgan: error: - is stdout, which is closed;")
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    shards = [upscale(small_file, "in/a.png", "-o", "-", "--shard", shard) for shard in ("1/2", "2/2")]
    assert shards == [0, 0] and capsysbinary.readouterr().out.count(b"\x89PNG") == 1


def test_output_below_home(folder, small_file, monkeypatch, capsys):
    """A shell leaves the ~ of --output=~/a.png and of "~/*.png" as it is."""
    monkeypatch.setenv("HOME", str(folder))
    assert upscale(small_file, "~/in/a.p*", "--output=~/home.png") == 0
    assert main(["export", str(small_file), "--output=~/home.onnx"]) == 0
    assert (folder / "home.png").exists() and (folder / "home.onnx").exists()


def test_long_name(folder, small_file, capsys):
    """Its result's name does not fit; one sentence, and the others are done."""
    name = "n" * 250 + ".png"
    (folder / "in/c.png").rename(folder / "in" / name)
    assert upscale(small_file, folder / "in" / name) == 2
    assert "File name too long" in capsys.readouterr().err
    (folder / "in/z.png").unlink()
    assert upscale(small_file, folder / "in") == 2
    assert (folder / "in/a_x4.png").exists() and "1 of 3 images failed" in capsys.readouterr().err


def test_api_writes_the_same_file(folder, small_file):
    assert upscale(small_file, folder / "in/c.png") == 0
    Upscaler(small_file).upscale_file(folder / "in/c.png", folder / "api.png")
    assert (folder / "api.png").read_bytes() == (folder / "in/c_x4.png").read_bytes()


def test_quiet(folder, small_file, capsys):
    assert upscale(small_file, folder / "in/a.png", "--quiet") == 0
    output = capsys.readouterr()
    assert output.out == output.err == ""


def test_paths_stand_above_a_bar_of_the_same_terminal(folder, small_file, capsys, monkeypatch):
    above: list[str] = []
    monkeypatch.setattr(MessageHandler, "console", SimpleNamespace(print=lambda line, **_: above.append(line)))
    for is_terminal in (False, True):
        monkeypatch.setattr(sys.stdout, "isatty", lambda answer=is_terminal: answer)
        assert upscale(small_file, folder / "in/a.png", "--overwrite") == 0
    path = f"{folder}/in/a_x4.png"
    assert capsys.readouterr().out == f"{path}\n" and above[-1] == path
    assert upscale(small_file, folder / "in/a.png", "-o", folder / "\x1b[31m.png") == 0
    assert above[-1] == f"{folder}/\\x1b[31m.png"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.png"], "nowhere.png"),
        ([], "at least one image"),
        (["in/a.png", "--texture", "0.5"], "leave out the model"),
        (["in/a.png", "--restore", "2"], "leave out the model"),
        (["in/a.png", "-o", "out.bmp"], "suffix must be one of"),
        (["in/a.png", "-o", "in/c.png/x.png"], "in/c.png is a file, not a folder"),
        (["in/c.png", "-o", "out.jpg"], "transparency"),
        (["in/a.png", "-o", "in/a.png", "--overwrite"], "the input itself"),
        (["in/a.png", "--memory", "1KB"], "too little"),
        (["in/a.png", "--quality", "400", "-o", "b.jpg"], "quality is 400"),
        (["in/z.png"], "is no image"),
        (["in/a.png", "--quality", "90", "--lossless"], "give one of them"),
        (["in/a.png", "--lossless", "-o", "b.jpg"], "jpg always loses something"),
    ],
)
def test_mistakes_are_sentences(folder, small_file, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert upscale(small_file, *arguments) == 2
    output = capsys.readouterr()
    assert message in output.err and "Traceback" not in output.err and output.out == ""
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("step", ["compute", "finish", "open"])
def test_ctrl_c_at_each_step(folder, small_file, monkeypatch, step):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    (folder / "in/z.png").unlink()
    if step == "compute":
        monkeypatch.setattr(Upscaler, "upscale_into", interrupted)
    else:
        monkeypatch.setattr(batch.FileTask, step, interrupted)
    assert upscale(small_file, folder / "in", "-o", folder / "out") == 130
    assert not [path for path in (folder / "out").rglob("*") if path.is_file()]


@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_signals_leave_nothing_behind(folder, small_file, number, code):
    """A signal in the middle of an image, in a process of its own."""
    files.write_array(folder / "in/a.png", np.zeros((700, 700, 3), np.uint8))
    words = [folder / "in", "-o", folder / "out", "--model", small_file, "--memory", "2MB", "--self-ensemble"]
    process = subprocess.Popen(
        [sys.executable, "-m", "srgan", "upscale", *map(str, words)], stderr=subprocess.PIPE, text=True
    )
    while not list(folder.glob("out/.*")) and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(getattr(signal, number))
    _, error = process.communicate(timeout=120)
    assert process.returncode == code and "stopped by" in error and "Traceback" not in error
    assert not [path for path in (folder / "out").rglob("*") if path.is_file()]


def test_failed_write_stops_no_other(folder, small_file, monkeypatch, capsys):
    real = batch.FileTask.finish

    def finish(self: batch.FileTask) -> None:
        if self.source.name == "a.png":
            self.close()
            raise OSError(28, "No space left on device")
        real(self)

    monkeypatch.setattr(batch.FileTask, "finish", finish)
    assert upscale(small_file, folder / "in", "-o", folder / "out") == 2
    assert "No space left" in capsys.readouterr().err
    assert (folder / "out/sub/b.png").exists() and not (folder / "out/a.png").exists()


def test_provenance(folder, small, small_file, capsys):
    assert upscale(small_file, folder / "in/a.png", "-o", folder / "a.jpg", "--scale", "3") == 0
    capsys.readouterr()
    assert main(["info", str(folder / "a.jpg"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["sha256"] == small.sha256 and facts["scale"] == "3" and facts["tiles"] == "1x1"
    assert facts["made_by_srgan"] == "yes" and facts["width"] == "42"
    assert not any(str(folder) in value for name, value in facts.items() if name != "file")
    assert upscale(small_file, folder / "in/a.png", "-o", folder / "b.jpg", "--no-provenance") == 0
    assert files.read_provenance(folder / "b.jpg") is None


def test_info_of_weights(small, small_file, capsys):
    assert main(["info", str(small_file)]) == 0
    output = capsys.readouterr().out
    assert small.sha256 in output and "receptive_field" in output and "10 pixels" in output and "recipe" in output
    assert main(["info", "nonesuch"]) == 2
    shutil.copy(small_file, small_file.with_name("a.checkpoint"))
    assert main(["info", str(small_file.with_name("a.checkpoint"))]) == 0


def test_tiled_file(folder, small_file):
    """Tiles change no byte of the file but the provenance."""
    files.write_array(folder / "l.png", np.random.default_rng(1).integers(0, 256, (120, 90, 3), np.uint8))
    for name, memory in (("one.png", "1GB"), ("many.png", "2MB")):
        assert upscale(small_file, folder / "l.png", "-o", folder / name, "--memory", memory, "--no-provenance") == 0
    one, many = (files.read_image(folder / name).pixels.astype(int) for name in ("one.png", "many.png"))
    assert np.abs(one - many).max() <= 1 and (one != many).mean() <= 1e-4
