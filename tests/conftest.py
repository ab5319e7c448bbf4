"""Fixtures shared by all tests: where the shared data lies, and what is made from it once."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("srgan", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("srgan")
# A background shell, as a CI's, has Ctrl-C ignored, and what it starts inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data() -> Path:
    """The data folder (Set5, Set14, BSD100, valid, train, vgg19, niqe), named by SRGAN_DATA."""
    named = os.environ.get("SRGAN_DATA")
    if not named:
        pytest.skip("SRGAN_DATA does not name the data folder")
    root = Path(named).resolve()
    if not (root / "Set14").is_dir():
        pytest.fail(f"SRGAN_DATA={named} holds no Set14")
    return root


@pytest.fixture(scope="session")
def vgg19_file(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VGG19's convolutions, unpacked to float32 (80 MB)."""
    target = tmp_path_factory.mktemp("vgg19") / "vgg19_caffe.safetensors"
    tool = data.parent / "tools" / "unpack_vgg19.py"
    subprocess.run([sys.executable, str(tool), str(target)], check=True, capture_output=True)
    return target
