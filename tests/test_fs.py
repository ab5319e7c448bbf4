"""Atomic files, locks between processes, printable text, free space."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from srgan.errors import DataError, SrganError
from srgan.fs import atomic_path, atomic_write, atomic_write_all, check_free_space, file_lock, may_replace, printable

HOLD = """
import sys, pathlib
from srgan.fs import file_lock
with file_lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_atomic_write_replaces_and_leaves_nothing(tmp_path):
    target = tmp_path / ("x" * 251 + ".yml")  # 255 bytes, the longest name
    atomic_write(target, b"old")
    atomic_write(target, b"new")
    assert target.read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_atomic_path_that_fails_keeps_the_old_file(tmp_path):
    target = tmp_path / "a"
    target.write_bytes(b"old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        assert temporary.match(".*.tmp")
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert target.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_device_or_pipe_is_written_to_and_stays(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    atomic_write(pipe, b"content")
    assert os.read(reader, 100) == b"content" and pipe.is_fifo()
    with pytest.raises(FileExistsError, match="device or a pipe"), atomic_path(pipe):
        pass
    os.close(reader)
    atomic_write(Path("/dev/null"), b"content")
    assert not Path("/dev/null").is_file()


def test_files_that_belong_together_are_written_all_or_none(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    b.mkdir()
    with pytest.raises(IsADirectoryError):
        atomic_write_all({a: b"1", b: b"2"})
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    b.rmdir()
    atomic_write_all({a: b"1", b: b"2"})
    assert a.read_bytes() + b.read_bytes() == b"12" and len(list(tmp_path.iterdir())) == 2


def test_only_a_file_of_the_same_kind_may_be_replaced(tmp_path):
    target = tmp_path / "a"
    for content, expected in ((None, True), (b"", True), (b"{}", True), (b"\x89PNG", False)):
        if content is not None:
            target.write_bytes(content)
        assert may_replace(target, b"{") == expected


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_flush_or_rename_that_fails_keeps_the_old_file(step, fault, tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise type(fault)(*fault.args)

    atomic_write(tmp_path / "a", b"old")
    monkeypatch.setattr(os if step == "fsync" else Path, step, fail)
    with pytest.raises(type(fault)) as raised:
        atomic_write(tmp_path / "a", b"new")
    assert getattr(raised.value, "filename", str(tmp_path / "a")) == str(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_lock_held_by_another_process(tmp_path):
    lock = tmp_path / "new" / ".lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout and holder.stdout.readline() == "held\n"
    with pytest.raises(DataError, match=r"^in use\.$"), file_lock(lock, busy="in use.", error=DataError):
        pass
    holder.kill()  # the lock goes with its process
    holder.wait()
    with file_lock(lock, busy="in use."):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL])
def test_disk_without_locks_gives_one_warning(number, tmp_path, monkeypatch, caplog):
    def flock(*_: object) -> None:
        raise OSError(number, "no locks here")

    monkeypatch.setattr(fcntl, "flock", flock)
    with file_lock(tmp_path / "lock", busy="in use."):
        pass
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "has no file locks" in caplog.text


def test_lock_in_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", Path("/proc")):
        with pytest.raises(SrganError, match="cannot be written"), file_lock(folder / "lock"):
            pass


def test_printable():
    assert printable("a\x1b[1m\nb\udcff\u202e") == r"a\x1b[1m\nb\udcff\u202e"
    assert printable("x" * 201) == "x" * 200 + "..."
    assert printable(Path("d" * 300) / "name.png").endswith("/name.png")


def test_free_space(tmp_path):
    check_free_space(tmp_path / "not" / "yet", 1, "The pack")
    with pytest.raises(DataError, match=r"^The pack needs 1000000000\.00 GB in .*, where .* are free\.$"):
        check_free_space(tmp_path, 10**18, "The pack", error=DataError)
