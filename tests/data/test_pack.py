from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from srgan.data.pack import open_pack, pack
from srgan.errors import DataError
from srgan.image import files, resize


def picture(seed: int, height: int = 100, width: int = 132, channels: int = 3) -> NDArray[np.uint8]:
    """Smooth noise, unlike for every seed."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, channels), dtype=np.uint8)
    return resize.bicubic(small, height, width).astype(np.uint8)


def write(path: Path, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_array(path, pixels)
    return pixels


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for seed in range(5):
        write(tmp_path / "pictures" / f"{seed}.png", picture(seed, 100 + 4 * seed))
    return tmp_path / "pictures"


def test_pack_holds_every_picture_and_its_exact_bicubic(root: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    packed = pack(root, tmp_path / "p.pack", progress=lambda done, of: calls.append((done, of)))
    assert calls == [(n, 5) for n in range(1, 6)]
    assert packed.names == tuple(f"{n}.png" for n in range(5)) and packed.left_out == ()
    assert not packed.pixels.flags.writeable and packed.pixels.dtype == np.uint8
    for index in range(5):
        hr = picture(index, 100 + 4 * index)
        at = packed.hr_offsets[index]
        assert at % 64 == 0
        assert np.array_equal(packed.pixels[at : at + hr.size].reshape(hr.shape), hr)
        assert np.array_equal(packed.hr(index), hr)
        assert np.array_equal(packed.lr(index), resize.downscaled(hr))
    assert sorted(p.name for p in tmp_path.iterdir()) == [".p.pack.lock", "p.pack", "pictures"]


def test_given_lr_is_taken_as_it_is(tmp_path: Path) -> None:
    write(tmp_path / "HR/a.png", picture(1))
    given = write(tmp_path / "LR/a.png", picture(2, 25, 33))
    packed = pack(tmp_path, tmp_path / "p.pack")
    assert np.array_equal(packed.lr(0), given)


def test_pictures_of_all_kinds(tmp_path: Path) -> None:
    root = tmp_path / "pictures"
    odd = write(root / "odd.png", picture(1, 103, 133))
    grey = write(root / "grey.png", picture(2, channels=1)[..., 0])
    write(root / "small.png", picture(3, 8, 8))
    write(root / "low.png", picture(3, 99, 400))
    (root / "text.png").write_text("no picture")
    (root / "cut.png").write_bytes((root / "odd.png").read_bytes()[:3000])
    packed = pack(root, tmp_path / "p.pack", minimum=100)
    assert packed.names == ("grey.png", "odd.png")
    assert np.array_equal(packed.hr(0), np.repeat(grey[..., None], 3, axis=2))
    assert np.array_equal(packed.hr(1), odd[:100, :132])
    assert len(packed.left_out) == 4
    for name in ("small.png is 8x8", "low.png is 400x99", "text.png", "cut.png"):
        assert sum(name in sentence for sentence in packed.left_out) == 1


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    write(tmp_path / "d/a.png", picture(1, 8, 8))
    with pytest.raises(DataError, match=r"None of the 1 pictures can be used; the first: .*a\.png is 8x8"):
        pack(tmp_path / "d", tmp_path / "p.pack")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".p.pack.lock", "d"]


def test_mismatched_pair_names_both_files_and_sizes(tmp_path: Path) -> None:
    write(tmp_path / "HR/a.png", picture(1))
    write(tmp_path / "LR/a.png", picture(1, 25, 32))
    with pytest.raises(DataError, match=r"LR.a\.png is 32x25, but .*HR.a\.png / 4 is 33x25"):
        pack(tmp_path, tmp_path / "p.pack")


def test_pack_of_unchanged_pictures_is_only_opened(root: Path, tmp_path: Path) -> None:
    first = pack(root, tmp_path / "p.pack")
    stamp = (tmp_path / "p.pack").stat().st_mtime_ns
    again = pack(root, tmp_path / "p.pack", progress=lambda *_: pytest.fail("packed again"))
    assert (tmp_path / "p.pack").stat().st_mtime_ns == stamp
    assert again.fingerprint == first.fingerprint


def test_changed_sources_are_packed_anew_and_said(root: Path, tmp_path: Path) -> None:
    said: list[str] = []
    first = pack(root, tmp_path / "p.pack", say=said.append)
    write(root / "2.png", picture(99))
    write(root / "7.png", picture(7))
    (root / "0.png").unlink()
    second = pack(root, tmp_path / "p.pack", say=said.append)
    assert len(said) == 1 and "1 new, 1 changed, 1 gone" in said[0]
    assert second.names == ("1.png", "2.png", "3.png", "4.png", "7.png")
    assert np.array_equal(second.hr(1), picture(99)) and second.fingerprint != first.fingerprint
    assert np.array_equal(first.hr(0), picture(0)), "a pack in use keeps its pixels"


def test_fingerprint_is_of_content_not_of_place_or_time(root: Path, tmp_path: Path) -> None:
    first = pack(root, tmp_path / "p.pack", workers=1)
    for path in root.iterdir():
        os.utime(path, (1, 1))
    moved = root.rename(tmp_path / "elsewhere")
    assert pack(moved, tmp_path / "q.pack", workers=4).fingerprint == first.fingerprint


_PACK = """
import pathlib, sys, time
from srgan.data import pack
pack._SYNC_BYTES = 1
root, target, stop = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), int(sys.argv[3])
pack.pack(root, target, workers=1, progress=lambda done, of: time.sleep(60) if done == stop else None)
"""


def packing(root: Path, target: Path, *, stop: int = 0) -> subprocess.Popen[bytes]:
    """A process that packs, and that hangs after `stop` pictures."""
    return subprocess.Popen([sys.executable, "-c", _PACK, str(root), str(target), str(stop)])


def test_killed_packing_goes_on_where_it_was(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "p.pack"
    process = packing(root, target, stop=3)
    index = tmp_path / "p.pack.part.index"
    while not index.exists() or len(index.read_text().splitlines()) < 4:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    with index.open("a") as log:
        log.write('{"name": "3.png", "sour')  # the line that the kill cut
    done: list[int] = []
    said: list[str] = []
    packed = pack(root, target, progress=lambda n, of: done.append(n), say=said.append)
    assert done == [4, 5] and "3 of 5" in said[0]
    whole = pack(root, tmp_path / "q.pack")
    assert packed.fingerprint == whole.fingerprint and np.array_equal(packed.pixels, whole.pixels)
    assert not (tmp_path / "p.pack.part").exists() and not index.exists()


def test_damaged_or_outdated_part_is_not_gone_on_with(root: Path, tmp_path: Path) -> None:
    def stop(done: int, of: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    target = tmp_path / "p.pack"
    with pytest.raises(KeyboardInterrupt):
        pack(root, target, progress=stop)
    with (tmp_path / "p.pack.part").open("r+b") as part:  # inside the second picture
        part.seek(60_000)
        part.write(b"damage")
    done: list[int] = []
    packed = pack(root, target, progress=lambda n, of: done.append(n))
    assert done == [2, 3, 4, 5]
    assert all(np.array_equal(packed.hr(n), picture(n, 100 + 4 * n)) for n in range(5))


def test_another_file_is_never_replaced(root: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("dear")
    with pytest.raises(DataError, match=r"mine\.txt exists and is not a pack"):
        pack(root, tmp_path / "mine.txt")
    assert (tmp_path / "mine.txt").read_text() == "dear"


def test_two_processes_make_one_pack(root: Path, tmp_path: Path) -> None:
    both = [packing(root, tmp_path / "p.pack") for _ in range(2)]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    assert len(open_pack(tmp_path / "p.pack")) == 5
    assert sorted(p.name for p in tmp_path.iterdir()) == [".p.pack.lock", "p.pack", "pictures"]


@pytest.mark.parametrize("keep", [0, 7, 40, 64, 1000, -1])
def test_cut_pack_is_refused(root: Path, tmp_path: Path, keep: int) -> None:
    pack(root, tmp_path / "p.pack")
    (tmp_path / "p.pack").write_bytes((tmp_path / "p.pack").read_bytes()[:keep])
    with pytest.raises(DataError, match=r"p\.pack"):
        open_pack(tmp_path / "p.pack")


def test_missing_pack(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Cannot read the pack"):
        open_pack(tmp_path / "p.pack")


def test_full_disk_is_said_first(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage)
    with pytest.raises(DataError, match=r"needs 0\.0 GB, but .* has 0\.0 GB free"):
        pack(root, tmp_path / "p.pack")
    assert not (tmp_path / "p.pack.part").exists()


def test_the_shared_test_pairs(data: Path, tmp_path: Path) -> None:
    for kind in ("HR", "LR"):
        for n in (1, 2, 3):
            source = data / "Set14/image_SRF_4" / f"img_00{n}_SRF_4_{kind}.png"
            (tmp_path / kind).mkdir(exist_ok=True)
            (tmp_path / kind / f"{n}.png").symlink_to(source)
    given = pack(tmp_path, tmp_path / "given.pack")
    made = pack(tmp_path / "HR", tmp_path / "made.pack")
    assert given.fingerprint == made.fingerprint, "LR files are the exact bicubic; picture 3 is grey"
