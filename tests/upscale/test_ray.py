"""`srgan upscale --ray`: resources of each actor, what an actor does, and the same bytes from two of them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srgan.cli import main
from srgan.errors import ImageError, SrganError
from srgan.image import files
from srgan.model import weights
from srgan.upscale.batch import FileOptions
from srgan.upscale.inputs import UpscaleTask
from srgan.upscale.openvino import OpenVinoEngine
from srgan.upscale.ray import Actor, actors_and_resources
from srgan.upscale.upscaler import Upscaler

QUICK = {"engine": "openvino", "precision": "fp32", "threads": 1}


@pytest.mark.parametrize(
    ("nodes", "actors", "gpu", "expected"),
    [
        ([{"CPU": 2}], None, False, (1, {"num_cpus": 2})),
        ([{"CPU": 2}], 2, False, (2, {"num_cpus": 1})),
        ([{"CPU": 2}], 5, False, (5, {"num_cpus": 1})),
        ([{"CPU": 16}, {"CPU": 6}, {}], None, False, (5, {"num_cpus": 4})),
        ([{"CPU": 16}, {"CPU": 6}], 3, False, (3, {"num_cpus": 6})),  # 2 + 1; with 7 CPUs each there would be 2
        ([{}], None, False, (1, {"num_cpus": 1})),  # a cluster that is still to grow
        ([{"CPU": 8, "GPU": 2}, {"CPU": 64}], None, True, (2, {"num_gpus": 1})),
        ([{"CPU": 8, "GPU": 2}], 5, True, (5, {"num_gpus": 1 / 3})),
        ([{"CPU": 8, "GPU": 2}], None, False, (2, {"num_cpus": 4})),
    ],
)
def test_actors_and_resources(nodes, actors, gpu, expected):
    assert actors_and_resources(nodes, actors, gpu=gpu) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ray", "nonsense"], "--ray is local, auto or HOST:PORT; got 'nonsense'"),
        (["--ray"], "--ray is local, auto or HOST:PORT; got '/"),
        (["--ray", "ray://head:10001"], "give --ray auto"),
        (["--ray", "127.0.0.1:1"], "no Ray answers at 127.0.0.1:1: Connection refused"),
        (["--ray-actors", "2"], "it needs --ray"),
        (["--ray", "local", "--ray-actors", "0"], "1 or more"),
    ],
)
def test_mistakes_are_sentences(folder, capsys, arguments, message):
    assert main(["upscale", *arguments, str(folder / "in")]) == 2
    assert message in capsys.readouterr().err


def test_missing_extra_is_named(folder, small_file, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["upscale", "--ray", "local", str(folder / "in"), "--model", str(small_file)]) == 2
    shown = capsys.readouterr()
    assert "needs the extra 'cluster'" in shown.err and "Traceback" not in shown.err


def test_plain_command_loads_no_ray(folder, small_file):
    code = (
        "import sys; from srgan.cli import main\n"
        f"assert main(['upscale', {str(folder / 'in/a.png')!r}, '--model', {str(small_file)!r}]) == 0\n"
        "assert not {'ray', 'torch', 'srgan.upscale.ray'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.fixture
def tasks(folder: Path) -> list[UpscaleTask]:
    return [
        UpscaleTask(source=folder / "in" / name, target=folder / "out" / name)
        for name in ("a.png", "sub/b.png", "z.png")
    ]


def actor(model: Path, folder: Path, **arguments: Any) -> Actor:
    return Actor({"model": str(model), **QUICK, **arguments}, FileOptions(), folder)


def test_actor_returns_failures(tasks, small_file, folder, monkeypatch):
    monkeypatch.chdir(folder)
    errors, _ = actor(small_file, folder).upscale(tasks)
    assert [type(error) for error in errors] == [type(None), type(None), ImageError]
    assert files.size(folder / "out/a.png") == (36, 56)


def test_threads_of_the_engine(small_file):
    engine = OpenVinoEngine(weights.read(small_file), threads=1)
    engine.run(np.zeros((1, 3, 4, 4), np.float32))
    assert engine._requests["whole"].get_compiled_model().get_property("INFERENCE_NUM_THREADS") == 1


def test_finished_images_are_not_repeated(tasks, small_file, folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "out").mkdir()
    tasks[0].target.write_text("done")
    assert actor(small_file, folder).upscale(tasks[:2]) == ([None, None], [])
    assert tasks[0].target.read_text() == "done" and tasks[1].target.exists()


def test_actor_that_cannot_start(tasks, small_file, folder, monkeypatch):
    monkeypatch.chdir(folder)
    for wrong, message in (
        (actor(folder / "nonesuch.safetensors", folder), "nonesuch"),
        (actor(small_file, folder / "nowhere"), "start in a folder that all nodes share"),
        (actor(small_file, folder, precision="int8"), "no int8 ranges"),
    ):
        with pytest.raises(SrganError, match=message):
            wrong.upscale([])


def test_stopped_actor_leaves_nothing_behind(tasks, small_file, folder, monkeypatch):
    def stopping(self: Upscaler, *_: object, progress: Any, **__: object) -> None:
        working.stop()
        progress(1, 2)
        raise AssertionError("not reached")

    monkeypatch.chdir(folder)
    monkeypatch.setattr(Upscaler, "upscale_into", stopping)
    working = actor(small_file, folder)
    working.upscale(tasks)
    working.upscale(tasks)
    assert not [path for path in (folder / "out").rglob("*") if path.is_file()]


def command(*arguments: object) -> subprocess.Popen[str]:
    """`srgan upscale --ray local` with two actors, in a process group of its own; Ray's processes may keep their bytecode."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.Popen(
        [sys.executable, "-m", "srgan", "upscale", "--ray", "local", *map(str, arguments), "--ray-actors", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_two_actors_give_the_same_bytes(folder, precision, capsys):
    random = np.random.default_rng(1)
    for number in range(6):
        pixels = random.integers(0, 256, (30 + number, 40, 3), np.uint8)
        files.write_array(folder / f"in/{number}.jpg", pixels)
    arguments = ("--precision", precision)
    code = main(["upscale", str(folder / "in"), "-o", str(folder / "plain"), *arguments])
    plain = capsys.readouterr()
    process = command(folder / "in", "-o", folder / "ray", *arguments)
    out, err = process.communicate(timeout=900)
    assert process.returncode == code == 2, err
    results = [path for path in (folder / "ray").rglob("*") if path.is_file()]
    assert sorted(out.splitlines()) == sorted(map(str, results))
    assert sorted(out.splitlines()) == sorted(plain.out.replace("/plain/", "/ray/").splitlines())
    assert plain.err.splitlines()[-2:] == err.splitlines()[-2:]  # z.png, and that it was one of 10
    for path in results:
        assert path.read_bytes() == (folder / "plain" / path.relative_to(folder / "ray")).read_bytes()


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_behind(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(8):
        pixels = np.random.default_rng(number).integers(0, 256, (620, 620, 3), np.uint8)
        files.write_array(tmp_path / f"in/{number}.png", pixels)
    process = command(tmp_path / "in", "-o", tmp_path / "out", "--precision", "fp32", "--memory", "40MB")
    end = time.monotonic() + 900
    while not list(tmp_path.glob("out/.*.tmp")) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    assert "stopped by Ctrl-C" in err and "Traceback" not in err
    assert not list(tmp_path.glob("out/.*"))
    assert all(files.size(path) == (2480, 2480) for path in tmp_path.glob("out/*"))
