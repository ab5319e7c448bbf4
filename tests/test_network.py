"""No entry point opens a socket or writes into HOME unasked: the README and SECURITY promise it."""

import os
import subprocess
import sys

import numpy as np
import pytest

from srgan.image import files

BLOCKED = """
import os, socket, sys
def refused(*arguments, **named):
    os.write(2, b"NETWORK CALL\\n")
    raise OSError("the test refuses network calls")
socket.getaddrinfo = socket.create_connection = socket.socket.connect = socket.socket.sendto = refused
"""
PROGRAMS = {
    "Upscaler": "from srgan import Upscaler; Upscaler()",
    "upscale": "from srgan.cli import main; sys.exit(main(['upscale', 'a.png']))",
    "evaluate": "from srgan.cli import main; sys.exit(main(['evaluate', '--model', 'srresnet', '--data', '.', '--sets', 'Tiny']))",
    "info": "from srgan.cli import main; sys.exit(main(['info', 'a.png']))",
    "export": "from srgan.export import formats; import srgan.upscale.openvino",
    "serve": "import srgan.serve.app, srgan.serve.models, srgan.upscale.openvino",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_network_call_and_nothing_in_home(name, tmp_path):
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    (work / "Tiny").mkdir(parents=True)
    files.write_image(work / "a.png", files.Image(pixels=pixels))
    files.write_image(work / "Tiny" / "a_HR.png", files.Image(pixels=pixels))
    environment = os.environ | {"HOME": str(home), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED + PROGRAMS[name]], cwd=work, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "NETWORK CALL" not in done.stderr
    assert not [path for path in home.rglob("*") if path.is_file()]


def test_the_block_notices_a_call(tmp_path):
    code = BLOCKED + "import urllib.request; urllib.request.urlopen('http://localhost:9')"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert "NETWORK CALL" in done.stderr
