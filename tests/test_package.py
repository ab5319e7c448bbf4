"""The wheel, as others get it: built, installed into an empty environment, used without a network."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from srgan import __version__
from srgan.image import files

ROOT = Path(__file__).parents[1]
MODELS = ("srgan/pretrained/srgan.safetensors", "srgan/pretrained/srresnet.safetensors")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    subprocess.run(["uv", "build", "--quiet", "--wheel", "--out-dir", str(target), str(ROOT)], check=True)
    (made,) = target.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment with the wheel and what it asks for, by pip."""
    home = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    subprocess.run([home / "bin/pip", "install", "--quiet", str(wheel)], check=True, env=alone())
    return home


def alone(**more: str) -> dict[str, str]:
    """This environment without a trace of the checkout's."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV", "UV_"))
    } | more


def offline(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run with the network off: in a namespace without one where that is allowed, and with dead proxies anyway."""
    unshare = [shutil.which("unshare") or "", "--net", "--map-root-user"]
    if not unshare[0] or subprocess.run([*unshare, "true"], capture_output=True).returncode:
        unshare = []
    dead = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    return subprocess.run([*unshare, *command], cwd=folder, env=alone(**dead), capture_output=True, text=True)


def test_the_wheel_holds_the_whole_package(wheel):
    """Every file below src/srgan, so that no line of .gitignore hides one; nothing else."""
    source = ROOT / "src"
    ours = {
        path.relative_to(source).as_posix()
        for path in (source / "srgan").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert inside == ours
    assert {"srgan/py.typed", "srgan/serve/static/page.html", "srgan/report/report.html.j2", *MODELS} <= inside


def test_the_core_asks_for_no_pytorch(wheel):
    archive = zipfile.ZipFile(wheel)
    (metadata,) = (archive.read(name).decode() for name in archive.namelist() if name.endswith("/METADATA"))
    needs = [line.removeprefix("Requires-Dist: ") for line in metadata.splitlines() if line.startswith("Requires-Dist")]
    core = [need for need in needs if "extra ==" not in need]
    assert core and not [need for need in core if need.startswith(("torch", "gradio", "onnx"))]
    assert any(need.startswith("torch>=") and "extra == 'train'" in need for need in needs)
    assert f"\nVersion: {__version__}\n" in metadata and "\nLicense-Expression: MIT\n" in metadata


def test_pip_installs_no_pytorch(environment):
    listed = subprocess.run([environment / "bin/pip", "list"], check=True, capture_output=True, text=True, env=alone())
    names = {line.split()[0].lower() for line in listed.stdout.splitlines()[2:]}
    assert {"srgan", "openvino", "pyvips"} <= names
    assert not names & {"torch", "torchvision", "gradio", "onnx", "pytest"}


@pytest.mark.parametrize("model", ["srgan", "srresnet"])
def test_it_upscales_with_the_network_off(model, environment, tmp_path):
    y, x = np.mgrid[0:24, 0:32]
    pixels = np.stack([10 * y, 8 * x, 255 - 4 * (x + y)], axis=2).astype(np.uint8)
    files.write_array(tmp_path / "small.png", pixels)
    done = offline([str(environment / "bin/srgan"), "upscale", "small.png", "--model", model], tmp_path)
    assert done.returncode == 0, done.stderr
    assert files.size(tmp_path / "small_x4.png") == (96, 128)
    provenance = files.read_provenance(tmp_path / "small_x4.png")
    assert provenance is not None and provenance["model"] == model and provenance["version"] == __version__
    larger = files.read_array(tmp_path / "small_x4.png").astype(float)
    means = larger.reshape(24, 4, 32, 4, 3).mean(axis=(1, 3))
    assert np.corrcoef(means.ravel(), pixels.ravel())[0, 1] > 0.95, "the picture is not that picture, larger"


def test_what_the_core_lacks_is_named(environment, tmp_path):
    done = offline([str(environment / "bin/srgan"), "train", "--recipe", "quick"], tmp_path)
    assert done.returncode == 2 and 'pip install "srgan[train]"' in done.stderr
    done = offline([str(environment / "bin/python"), "-m", "srgan", "serve"], tmp_path)
    assert done.returncode == 2 and 'pip install "srgan[web]"' in done.stderr


def test_its_types_are_seen(environment, tmp_path):
    (tmp_path / "use.py").write_text("from srgan import Upscaler\nreveal_type(Upscaler().describe())\n")
    seen = subprocess.run(
        [sys.executable, "-m", "mypy", "--python-executable", str(environment / "bin/python"), "use.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=alone(),
    )
    assert re.search(r'Revealed type is "(builtins\.)?dict\[', seen.stdout), seen.stdout
