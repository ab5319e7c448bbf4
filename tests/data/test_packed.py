"""Packed images: exact pixels, what a kill leaves, changed sources, other people's files."""

import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from srgan.data import packed as module
from srgan.data.folders import training_pairs
from srgan.data.packed import PackedImages, pack_images
from srgan.errors import DataError
from srgan.image import files, resize


def image(seed: int, height: int = 100, width: int = 132, channels: int = 3) -> NDArray[np.uint8]:
    """Smooth noise, another one for each seed."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, channels), dtype=np.uint8)
    return resize.bicubic(small, height, width).astype(np.uint8)


def write(path: Path, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_array(path, pixels)
    return pixels


def pack(root: Path, target: Path, *, min_side: int = 96, workers: int | None = None) -> PackedImages:
    return pack_images(training_pairs(root), target, min_side=min_side, workers=workers)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed in range(5):
        write(tmp_path / "images" / f"{seed}.png", image(seed, 100 + 4 * seed))
    return tmp_path / "images"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the images that are decoded."""
    names: list[str] = []
    decode = module._decode

    def recorded(pair, min_side):
        names.append(pair.name)
        return decode(pair, min_side)

    monkeypatch.setattr(module, "_decode", recorded)
    return names


def test_every_image_and_its_exact_bicubic(root, tmp_path):
    packed = pack(root, tmp_path / "p.pack")
    assert packed.names == tuple(f"{n}.png" for n in range(5)) and packed.skipped == ()
    assert not packed.pixels.flags.writeable and packed.pixels.dtype == np.uint8
    for index in range(5):
        hr = image(index, 100 + 4 * index)
        at = packed.hr_offsets[index]
        assert at % 64 == 0
        assert np.array_equal(packed.pixels[at : at + hr.size].reshape(hr.shape), hr)
        assert np.array_equal(packed.hr(index), hr)
        assert np.array_equal(packed.lr(index), resize.downscaled(hr))


def test_images_of_all_kinds(tmp_path):
    root = tmp_path / "images"
    odd = write(root / "odd.png", image(1, 103, 133))
    grey = write(root / "grey.png", image(2, channels=1)[..., 0])
    write(root / "small.png", image(3, 8, 8))
    write(root / "low.png", image(3, 99, 400))
    (root / "text.png").write_text("no image")
    (root / "cut.png").write_bytes((root / "odd.png").read_bytes()[:3000])
    (root / "link.png").symlink_to(root / "nowhere")
    packed = pack(root, tmp_path / "p.pack", min_side=100)
    assert packed.names == ("grey.png", "odd.png")
    assert np.array_equal(packed.hr(0), np.repeat(grey[..., None], 3, axis=2))
    assert np.array_equal(packed.hr(1), odd[:100, :132])
    assert len(packed.skipped) == 5
    for name in ("small.png is 8x8", "low.png is 400x99", "text.png", "cut.png", "link.png"):
        assert sum(name in sentence for sentence in packed.skipped) == 1


def test_no_usable_image(tmp_path):
    write(tmp_path / "d/a.png", image(1, 8, 8))
    with pytest.raises(DataError, match=r"No training image \(of 1\) can be used; the first: .*a\.png is 8x8"):
        pack(tmp_path / "d", tmp_path / "p.pack")
    assert not list(tmp_path.glob("p.pack")) and not list(tmp_path.glob("p.pack.json"))


def test_lr_files_are_taken_as_they_are_if_they_fit(tmp_path):
    write(tmp_path / "HR/a.png", image(1))
    lr = write(tmp_path / "LR/a.png", image(2, 25, 33))
    assert np.array_equal(pack(tmp_path, tmp_path / "p.pack").lr(0), lr)
    write(tmp_path / "LR/a.png", image(1, 25, 32))
    with pytest.raises(DataError, match=r"LR.a\.png is 32x25, but .*HR.a\.png / 4 is 33x25"):
        pack(tmp_path, tmp_path / "p.pack")


def test_images_are_packed_again_when_they_change(root, tmp_path, caplog, decoded):
    caplog.set_level("INFO", "srgan")
    first = pack(root, tmp_path / "p.pack")
    assert pack(root, tmp_path / "p.pack").fingerprint == first.fingerprint and len(decoded) == 5
    write(root / "2.png", image(99))
    new = os.fsdecode(b"7\xff.png")  # not UTF-8
    write(root / "7.png", image(7))
    (root / "7.png").rename(root / new)
    (root / "0.png").unlink()
    second = pack(root, tmp_path / "p.pack")
    assert [r.message for r in caplog.records if "3 are new, changed or gone; rebuilding" in r.message]
    assert second.names == ("1.png", "2.png", "3.png", "4.png", new)
    assert np.array_equal(second.hr(1), image(99)) and second.fingerprint != first.fingerprint
    assert pack(root, tmp_path / "p.pack").fingerprint == second.fingerprint
    assert np.array_equal(first.hr(0), image(0)), "a file that is open keeps its pixels"


def test_fingerprint_of_srgan_1_depends_on_content_alone(tmp_path):
    """Recorded with commit fe23f6d, elsewhere and at another time: checkpoints hold it."""
    y, x = np.mgrid[0:101, 0:98]
    a = np.stack([x * 2, y * 2, (x * y) % 256], 2).astype(np.uint8)
    for name, pixels in (("a.png", a), ("b.png", a[::-1, :, 0].copy()), ("small.png", a[:50].copy())):
        write(tmp_path / "d" / name, pixels)
    packed = pack(tmp_path / "d", tmp_path / "p.pack")
    assert packed.fingerprint == "f87f9c383b28ca619127775c691dfe7c47111a25028a9513dd80cba04e43728d"


_PACK = """
import pathlib, sys, time
from srgan.data import folders, packed
decode = packed._decode
def slow(pair, min_side):
    if pair.name == sys.argv[3]:
        time.sleep(60)
    return decode(pair, min_side)
packed._decode = slow
packed.pack_images(folders.training_pairs(pathlib.Path(sys.argv[1])), pathlib.Path(sys.argv[2]), workers=1)
"""


def packing(root: Path, target: Path, stop_at: str = "") -> subprocess.Popen[bytes]:
    """A process that packs; it hangs at the image `stop_at`."""
    return subprocess.Popen([sys.executable, "-c", _PACK, str(root), str(target), stop_at])


def test_after_a_kill_all_is_packed_again(root, tmp_path):
    target = tmp_path / "p.pack"
    process = packing(root, target, stop_at="3.png")
    while not target.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    with pytest.raises(DataError, match="is not complete"):
        PackedImages(target)
    packed, whole = pack(root, target), pack(root, tmp_path / "q.pack")
    assert packed.fingerprint == whole.fingerprint and np.array_equal(packed.pixels, whole.pixels)


def test_a_pack_of_srgan_1_is_rebuilt(root, tmp_path):
    (tmp_path / "data.pack").write_bytes(b"SRGANPK1" + bytes(500))
    with pytest.raises(DataError, match=r"There is no .*data\.pack\.json"):
        PackedImages(tmp_path / "data.pack")
    assert len(pack(root, tmp_path / "data.pack")) == 5


def test_another_file_is_never_replaced(root, tmp_path):
    (tmp_path / "mine.txt").write_text("dear")
    with pytest.raises(DataError, match=r"mine\.txt exists and holds no packed images"):
        pack(root, tmp_path / "mine.txt")
    (tmp_path / "p.pack.json").write_text('{"mine": 1}')
    with pytest.raises(DataError, match=r"p\.pack\.json exists and is not an index"):
        pack(root, tmp_path / "p.pack")
    assert (tmp_path / "mine.txt").read_text() == "dear" and "mine" in (tmp_path / "p.pack.json").read_text()


def test_two_processes_pack_once(root, tmp_path):
    both = [packing(root, tmp_path / "p.pack") for _ in range(2)]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    assert len(PackedImages(tmp_path / "p.pack")) == 5


@pytest.mark.parametrize("keep", [0, 7, 1000, -100])
def test_a_cut_file_is_refused(root, tmp_path, keep):
    pack(root, tmp_path / "p.pack")
    (tmp_path / "p.pack").write_bytes((tmp_path / "p.pack").read_bytes()[:keep])
    with pytest.raises(DataError, match="cut off"):
        PackedImages(tmp_path / "p.pack")


def test_full_disk_and_missing_file(root, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(DataError, match="free"):
        pack(root, tmp_path / "p.pack")
    with pytest.raises(DataError, match=r"There is no .*p\.pack"):
        PackedImages(tmp_path / "p.pack")
