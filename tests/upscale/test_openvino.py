"""Both engines compute the trained network's function; a kernel may move before a shuffle; compiled graphs are kept."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from srgan import Upscaler
from srgan.model.config import GeneratorConfig
from srgan.model.weights import read
from srgan.upscale import openvino
from srgan.upscale.engine import OutOfMemory
from srgan.upscale.int8 import ranges_for
from srgan.upscale.openvino import OpenVinoEngine, kernel_before_shuffle, out_of_memory_named
from tests.model.numpy_networks import convolution, shuffled
from tests.support import random_weights

CONFIGS = [
    GeneratorConfig(blocks=2, width=8),
    GeneratorConfig(blocks=1, width=4, slopes="layer"),
    GeneratorConfig(blocks=1, width=4, scale=2),
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("size", [(1, 1), (5, 9), (24, 17)], ids=str)
def test_engines_agree_with_trained_network(config, size):
    torch = pytest.importorskip("torch")
    from srgan.model.generator import generator_from_weights
    from srgan.upscale.pytorch import PyTorchEngine

    weights = random_weights(config, seed=1)
    lr_unit = np.random.default_rng(2).random((1, 3, *size), np.float32)
    with torch.no_grad():
        expected = generator_from_weights(weights).eval()(torch.tensor(lr_unit)).numpy()
    for engine in (OpenVinoEngine(weights), PyTorchEngine(weights, "fp32", device=torch.device("cpu"))):
        output = engine.run(lr_unit)
        assert output.shape == (1, 3, config.scale * size[0], config.scale * size[1])
        np.testing.assert_allclose(output, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
        np.testing.assert_allclose(engine.tail(engine.body(lr_unit)), output, rtol=0, atol=1e-6 * np.abs(output).max())


@pytest.mark.parametrize("size", [1, 3, 5, 9])
def test_kernel_before_shuffle(size):
    random = np.random.default_rng(size)
    kernel = random.standard_normal((2, 3, size, size)).astype(np.float32)
    maps = random.standard_normal((12, 6, 7)).astype(np.float32)
    after = convolution(shuffled(maps), kernel)
    before = shuffled(convolution(maps, kernel_before_shuffle(kernel)))
    np.testing.assert_allclose(before, after, rtol=0, atol=1e-6 * np.abs(after).max())


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError("no room"), "no room"),
        (RuntimeError("Exception from core.cpp:1:\nnode with name 'Convolution_1' can't alloc"), "can't alloc"),
        (RuntimeError("std::bad_alloc"), "bad_alloc"),
        (RuntimeError("Exception from plugin.cpp:5:\nResource temporarily unavailable"), "Resource temporarily"),
    ],
)
def test_every_way_to_run_out_of_memory_is_known(error, reason):
    with pytest.raises(OutOfMemory, match=reason), out_of_memory_named():
        raise error
    with pytest.raises(RuntimeError, match="shape"), out_of_memory_named():
        raise RuntimeError("wrong shape")


def test_a_signal_after_engines_are_freed():
    """Two Cores of OpenVINO, freed in their order of creation, leave a thread without a stack for signal handlers."""
    program = """
import numpy as np, os, signal
from srgan.upscale.int8 import ranges_for
from srgan.upscale.openvino import OpenVinoEngine
from tests.support import random_weights
engines = [OpenVinoEngine(random_weights(), threads=1) for _ in range(2)]
for engine in engines:
    engine.run(np.zeros((1, 3, 8, 8), np.float32))
del engine
while engines:
    engines.pop(0)
signal.signal(signal.SIGTERM, lambda number, frame: print("handled", flush=True))
os.kill(os.getpid(), signal.SIGTERM)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr


LR = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def files(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.is_file()]


def test_same_bits_from_one_file(cache):
    first, second = (Upscaler(engine="openvino").upscale(LR) for _ in range(2))
    assert np.array_equal(first, second)
    assert len(files(cache)) == 1


def test_networks_share_no_file(cache):
    """OpenVINO 2025.4 takes one network's graph for another's of the same shapes."""
    srresnet, photo = read("srresnet"), read("photo")
    ranges = ranges_for(photo)
    assert ranges is not None
    wider = dataclasses.replace(ranges, tensors={name: 2 * tensor for name, tensor in ranges.tensors.items()})
    planes = np.random.default_rng(1).random((1, 3, 16, 16), np.float32)
    networks = [(srresnet, None), (photo, None), (photo, ranges), (photo, wider)]
    for network in networks:
        kept, alone = (OpenVinoEngine(*network, cache=kept).run(planes) for kept in (True, False))
        assert np.array_equal(kept, alone)
    assert len(files(cache)) == len(networks)


def test_cut_file_is_made_again(cache):
    expected = Upscaler(engine="openvino").upscale(LR)
    (file,) = files(cache)
    size = file.stat().st_size
    file.chmod(0o600)
    file.write_bytes(file.read_bytes()[:1000])
    assert np.array_equal(Upscaler(engine="openvino").upscale(LR), expected)
    assert file.stat().st_size == pytest.approx(size, rel=0.01)  # OpenVINO 2025.4 writes some bytes more or fewer


def test_only_mixtures_that_auto_chooses_are_kept(cache):
    Upscaler(engine="openvino", restore=0.3).upscale(LR)
    assert not files(cache)
    Upscaler(engine="openvino", restore=1.0).upscale(LR)
    assert len(files(cache)) == 1


def test_no_folder_where_nothing_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert openvino.cache_folder() is None
    Upscaler(engine="openvino").upscale(LR)
