from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from srgan.data import unpack as module
from srgan.data.unpack import unpack
from srgan.errors import DataError


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return path


def tarred(path: Path, *members: tarfile.TarInfo, body: bytes = b"x") -> Path:
    with tarfile.open(path, "w") as archive:
        for member in members:
            member.size = len(body) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(body))
    return path


def tarinfo(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def test_only_the_wanted_pictures_come_out(tmp_path: Path) -> None:
    archive = zipped(
        tmp_path / "a.zip",
        **{"HR/1.png": b"one", "HR/2.png": b"two", "HR/deep/3.png": b"", "LR/4.png": b"", "HR/x.txt": b""},
        **{"__MACOSX/HR/._1.png": b"", "HR/.5.png": b""},
    )
    calls: list[tuple[int, int]] = []
    assert unpack(archive, "HR", tmp_path / "out", progress=lambda *args: calls.append(args)) == 2
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == {
        "1.png": b"one",
        "2.png": b"two",
    }
    assert calls == [(1, 2), (2, 2)]


def test_tar_with_leading_dot(tmp_path: Path) -> None:
    archive = tarred(tmp_path / "a.tar", tarinfo("./b/Set5/HR/baby.png"))
    assert unpack(archive, "b/Set5/HR", tmp_path / "out") == 1


@pytest.mark.parametrize("name", ["../evil.png", "HR/../../evil.png", "/evil.png", "HR\\..\\evil.png", "C:evil.png"])
def test_ways_out_are_refused(tmp_path: Path, name: str) -> None:
    for archive in (zipped(tmp_path / "a.zip", **{name: b"x"}), tarred(tmp_path / "a.tar", tarinfo(name))):
        with pytest.raises(DataError, match="leads out"):
            unpack(archive, "HR", tmp_path / "in" / "out")
    assert not list(tmp_path.rglob("evil.png"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    archive = tarred(tmp_path / "a.tar", tarinfo("HR/1.png", kind, "/etc/passwd"))
    with pytest.raises(DataError, match="link or a device"):
        unpack(archive, "HR", tmp_path / "out")


def test_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("HR/1.png")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="link or a device"):
        unpack(tmp_path / "a.zip", "HR", tmp_path / "out")


def test_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LARGEST_PICTURE", 1000)
    monkeypatch.setattr(module, "_MOST_PICTURES", 3)
    with pytest.raises(DataError, match="5,000 bytes is not a picture"):
        unpack(zipped(tmp_path / "a.zip", **{"HR/1.png": bytes(5000)}), "HR", tmp_path / "out")
    with pytest.raises(DataError, match="holds 4 pictures"):
        unpack(zipped(tmp_path / "b.zip", **{f"HR/{n}.png": b"" for n in range(4)}), "HR", tmp_path / "out")


def test_zip_that_lies_about_a_length_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zipped(tmp_path / "a.zip", **{"HR/1.png": bytes(5000)})
    raw = archive.read_bytes()
    archive.write_bytes(raw.replace((5000).to_bytes(4, "little"), (50).to_bytes(4, "little")))
    monkeypatch.setattr(module, "_LARGEST_PICTURE", 1000)
    with pytest.raises(DataError, match=r"damaged|unpacks to more"):
        unpack(archive, "HR", tmp_path / "out")


@pytest.mark.parametrize("keep", [0, 10, 60])
def test_damaged_archives(tmp_path: Path, keep: int) -> None:
    archive = zipped(tmp_path / "a.zip", **{"HR/1.png": bytes(100)})
    archive.write_bytes(archive.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"neither a zip nor a tar|damaged"):
        unpack(archive, "HR", tmp_path / "out")


def test_flipped_byte_in_a_picture(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", **{"HR/1.png": b"0123456789"})
    archive.write_bytes(archive.read_bytes().replace(b"0123456789", b"0123456780"))
    with pytest.raises(DataError, match=r"damaged.*fetch again"):
        unpack(archive, "HR", tmp_path / "out")
