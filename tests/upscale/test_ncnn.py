"""The engine ncnn on a Vulkan device (a software one will do), and which devices are trusted."""

import re
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from srgan import Upscaler
from srgan.cli import main as run
from srgan.commands import info
from srgan.errors import GpuLost, UsageError
from srgan.image import files
from srgan.model.weights import Weights
from srgan.upscale import choose, ncnn
from srgan.upscale.engine import DeviceLost, Nchw, OutOfMemory, Precision
from srgan.upscale.openvino import OpenVinoEngine
from srgan.upscale.tiled import ArrayRegions, write_to_array

needs_vulkan = pytest.mark.skipif(not ncnn.devices(), reason="no Vulkan driver")
LR = np.random.default_rng(1).integers(0, 256, (50, 44, 3), np.uint8)


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test tries the devices anew."""
    monkeypatch.setattr(choose, "_faults", {})
    monkeypatch.setattr(choose, "_faster", {})
    choose._log_device.cache_clear()
    ncnn._stores_half.cache_clear()


@needs_vulkan
@pytest.mark.parametrize(("precision", "levels"), [("fp32", 1), ("fp16", 3)])
def test_image_is_that_of_the_cpu(small, precision, levels):
    sr = Upscaler(small, engine="ncnn", precision=precision).upscale(LR).astype(int)
    assert np.abs(sr - Upscaler(small, engine="openvino").upscale(LR)).max() <= levels


@needs_vulkan
def test_tiles_equal_the_whole(small):
    sr = np.empty((200, 176, 3), np.uint8)
    tiled = Upscaler(small, engine="ncnn", precision="fp32", memory="2MB")
    provenance = tiled.upscale_into(ArrayRegions(LR), write_to_array(sr))
    assert provenance["tiles"] != "1x1" and provenance["engine"] == "ncnn"
    assert provenance["device"] == ncnn.devices()[0].name
    assert np.abs(sr.astype(int) - Upscaler(small, engine="ncnn", precision="fp32").upscale(LR)).max() <= 1


@needs_vulkan
def test_part_of_an_array_is_read_right(small):
    """A temporary copy of it was once freed before ncnn read it."""
    features = np.random.default_rng(0).random((1, 8, 60, 60), np.float32)
    engine = ncnn.NcnnEngine(small, "fp32")
    for left in range(8):
        part = features[..., left : left + 38, 5:43]
        np.testing.assert_array_equal(engine.tail(part), engine.tail(part.copy()))


@needs_vulkan
def test_overflow_falls_back_to_fp32(loud, caplog):
    lr_unit = np.random.default_rng(0).random((1, 3, 9, 9), np.float32)
    engine = ncnn.NcnnEngine(loud, "fp16")
    np.testing.assert_allclose(engine.run(lr_unit), OpenVinoEngine(loud).run(lr_unit), rtol=1e-3, atol=1)
    assert engine.precision == "fp32" and "computing in fp32" in caplog.text


@needs_vulkan
def test_process_ends_well(small_file):
    script = f"from srgan import Upscaler; import numpy as np; u = Upscaler({str(small_file)!r}, engine='ncnn')"
    run = subprocess.run(
        [sys.executable, "-c", f"{script}; u.upscale(np.zeros((9, 9, 3), np.uint8))"], capture_output=True
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")


@needs_vulkan
def test_info_lists_the_devices(capsys):
    assert info.main(["--devices"]) == 0
    assert capsys.readouterr().out.startswith(f"0  {ncnn.devices()[0].name}, ")


def test_wrong_choices(small, monkeypatch):
    for arguments, message in (
        ({"engine": "ncnn", "device": 99}, "there is no device 99|no GPU with Vulkan"),
        ({"engine": "ncnn", "precision": "int8"}, "ncnn has fp32 and fp16"),
        ({"engine": "openvino", "device": 0}, "device is the number of a GPU"),
        ({"device": -1}, "device is a whole number from 0"),
    ):
        with pytest.raises(UsageError, match=message):
            Upscaler(small, **arguments)
    monkeypatch.setattr(ncnn, "devices", lambda: ())
    with pytest.raises(UsageError, match="no GPU with Vulkan"):
        Upscaler(small, engine="ncnn")
    with pytest.raises(UsageError, match="no GPU with Vulkan"):
        info.main(["--devices"])


class Stub:
    """A GPU that computes as OpenVINO does, after `change`, which may raise."""

    change: Callable[[Nchw], Nchw] = staticmethod(lambda sr: sr)

    def __init__(self, weights: Weights, precision: Precision, device: int | None) -> None:
        self._inner = OpenVinoEngine(weights)
        self.device = DEVICES[device or 0]
        self.name, self.precision, self.config = "ncnn", "fp16", weights.config
        self.device_name, self.device_memory = self.device.name, 1 << 30
        self.body_bytes, self.tail_bytes = self._inner.body_bytes, self._inner.tail_bytes

    def run(self, lr_unit: Nchw) -> Nchw:
        return Stub.change(self._inner.run(lr_unit))

    def body(self, lr_unit: Nchw) -> Nchw:
        return self._inner.body(lr_unit)

    def tail(self, features: Nchw) -> Nchw:
        return Stub.change(self._inner.tail(features))

    def release(self) -> None:
        self._inner.release()


DEVICES = tuple(
    ncnn.Device(index=index, name=name, kind=kind, memory=1 << 30, driver="1.0.0")
    for index, (name, kind) in enumerate([("llvmpipe", "software"), ("Radeon", "discrete GPU")])
)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes the stub the GPU of this machine: `gpu(faster=..., change=...)`."""

    def install(*, faster: bool = True, change: Callable[[Nchw], Nchw] = lambda sr: sr) -> None:
        monkeypatch.setattr(Stub, "change", staticmethod(change))
        monkeypatch.setattr(ncnn, "devices", lambda: DEVICES)
        monkeypatch.setattr(ncnn, "NcnnEngine", Stub)
        monkeypatch.setattr(ncnn, "seconds_of", lambda engine: 1.0 if isinstance(engine, Stub) == faster else 2.0)
        monkeypatch.setattr(choose, "_may_have_vulkan", lambda: True)
        monkeypatch.setattr(choose, "_sees_gpu", lambda: False)

    return install


def test_auto_takes_a_faster_gpu_and_no_software(small, gpu, caplog):
    caplog.set_level("INFO")
    gpu()
    for _ in range(2):
        assert Upscaler(small).describe()["device"] == "Radeon"
    assert Upscaler(small, precision="fp32").describe()["engine"] == "ncnn"
    assert caplog.messages == ["computing on Radeon (ncnn, fp16)."]


def test_auto_leaves_a_slower_gpu(small, gpu, caplog):
    caplog.set_level("INFO")
    gpu(faster=False)
    for _ in range(2):
        assert Upscaler(small).describe()["engine"] == "openvino"
    assert caplog.messages == ["Radeon is slower than the CPU on a small tile and is not used."]


def test_a_gpu_without_a_render_node_is_looked_for(monkeypatch):
    """In a container, NVIDIA's driver has files of its own alone."""
    monkeypatch.setattr(choose, "_may_have_gpu", lambda: True)
    assert choose._may_have_vulkan()


class Refused:
    """ncnn's `Net` where it finds that the device cannot be used, or only in fp32: it says nothing."""

    def __init__(self) -> None:
        self.opt = SimpleNamespace()

    def set_vulkan_device(self, index: int) -> None:
        pass

    def load_param(self, path: str) -> int:
        self.opt.use_vulkan_compute = Refused.vulkan
        self.opt.use_fp16_packed = self.opt.use_fp16_storage = False
        return 0

    def load_model(self, path: str) -> int:
        return 0

    vulkan = False


def test_what_ncnn_switches_off_is_noticed(monkeypatch):
    monkeypatch.setitem(sys.modules, "ncnn", SimpleNamespace(Net=Refused))
    with pytest.raises(DeviceLost, match="switched Vulkan off"):
        ncnn.Network(ncnn.Graph("", b""), device=0, half=True)
    monkeypatch.setattr(Refused, "vulkan", True)
    assert not ncnn.Network(ncnn.Graph("", b""), device=0, half=True).half


def test_version_of_a_driver():
    assert ncnn._version((23 << 22) | (1 << 12) | 9, 0x1002) == "23.1.9"
    assert ncnn._version((535 << 22) | (154 << 14) | (5 << 6), 0x10DE) == "535.154.5"


def black(sr: Nchw) -> Nchw:
    return np.full_like(sr, -1)


def not_numbers(sr: Nchw) -> Nchw:
    return np.where(np.arange(sr.shape[3]) == 7, np.nan, sr).astype(np.float32)


def lost(sr: Nchw) -> Nchw:
    raise DeviceLost("ncnn stopped with -4")


def lost_after_the_first() -> Callable[[Nchw], Nchw]:
    """A GPU that upscales the test tile and one image."""
    images = iter([False, False])
    return lambda sr: lost(sr) if next(images, True) else sr


def no_memory(sr: Nchw) -> Nchw:
    raise OutOfMemory("ncnn has no memory left")


@pytest.mark.parametrize(
    ("change", "words"), [(black, "levels off"), (not_numbers, "not finite"), (lost, "stopped with -4")]
)
def test_faulty_gpu_is_named_and_not_used(small, gpu, change, words, caplog):
    gpu(change=change)
    for _ in range(2):
        assert Upscaler(small).describe()["engine"] == "openvino"
    assert len(caplog.messages) == 1 and "Radeon cannot be used" in caplog.text and words in caplog.text
    with pytest.raises(UsageError, match=words):
        Upscaler(small, engine="ncnn", device=1)


@pytest.mark.parametrize(
    ("change", "reason"),
    [(lost, "ncnn stopped with -4"), (no_memory, r"it has no memory left, even for a tile of \d+ x \d+ pixels")],
)
def test_gpu_lost_in_the_middle(small, gpu, caplog, change, reason):
    """The image at hand and all later ones are computed on the CPU, fp16 as fp32; a GPU asked for by name is an error."""
    gpu()
    upscaler, named = Upscaler(small, memory="2MB", precision="fp16"), Upscaler(small, engine="ncnn", device=1)
    gpu(change=change)
    expected = Upscaler(small, engine="openvino", memory="2MB").upscale(LR)
    for _ in range(2):
        assert np.array_equal(upscaler.upscale(LR), expected)
    assert upscaler.describe()["engine"] == "openvino"
    sentence = re.compile(rf"the GPU stopped \({reason}\): computing on the CPU from here on\.")
    assert len([message for message in caplog.messages if sentence.fullmatch(message)]) == 1
    upscaler._leave_gpu(DeviceLost("it stopped"))  # of another thread's image
    assert np.array_equal(upscaler.upscale(LR), expected)
    with pytest.raises(GpuLost, match="the engine openvino"):
        named.upscale(LR)


def test_loss_of_the_named_gpu_ends_a_folder(small_file, gpu, tmp_path, capsys):
    """With one sentence; what was done stays, and nothing is left half-written."""
    (tmp_path / "in").mkdir()
    for name in "abc":
        files.write_array(tmp_path / "in" / f"{name}.png", LR)
    gpu(change=lost_after_the_first())
    words = ["upscale", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--model", str(small_file), "--device", "1"]
    assert run([*words, "--engine", "ncnn"]) == 2
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]
    stderr = capsys.readouterr().err
    assert stderr.count("the GPU stopped (ncnn stopped with -4); the engine openvino computes on the CPU.") == 1


def test_a_gpu_lost_while_it_is_timed_is_not_used(small, gpu, monkeypatch, caplog):
    gpu()
    monkeypatch.setattr(ncnn, "seconds_of", lost)
    assert Upscaler(small).describe()["engine"] == "openvino"
    assert caplog.messages == ["Radeon cannot be used: ncnn stopped with -4."]


def test_provenance_is_of_what_computed(small, gpu, monkeypatch):
    """After a result in fp16 that was not finite, that is fp32."""

    def falls_back(self: Stub, lr_unit: Nchw) -> Nchw:
        self.precision = "fp32"
        return self._inner.run(lr_unit)

    gpu()
    upscaler = Upscaler(small)
    monkeypatch.setattr(Stub, "run", falls_back)
    monkeypatch.setattr(Stub, "tail", falls_back)
    sr = np.empty((200, 176, 3), np.uint8)
    assert upscaler.upscale_into(ArrayRegions(LR), write_to_array(sr))["precision"] == "fp32"


def test_animation_is_done_again_where_the_gpu_is_lost(small, gpu, tmp_path):
    """So that all its frames, and its provenance, are of one engine."""
    frames = [Image.fromarray(np.roll(LR, shift, 1)) for shift in range(3)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    gpu(change=lost_after_the_first())
    Upscaler(small).upscale_file(tmp_path / "a.png", tmp_path / "lost.webp")
    Upscaler(small, engine="openvino").upscale_file(tmp_path / "a.png", tmp_path / "cpu.webp")
    assert (tmp_path / "lost.webp").read_bytes() == (tmp_path / "cpu.webp").read_bytes()
