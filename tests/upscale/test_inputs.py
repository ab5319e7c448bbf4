"""Which images are upscaled and where each result goes, as interface.md has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from srgan.errors import UsageError
from srgan.upscale.inputs import find_inputs, in_shard


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def targets(*paths: Path, output: Path | None = None, scale: int = 4, format: str | None = None) -> list[str]:
    inputs = find_inputs(paths, output, scale=scale, format=format, shard=None)
    return [task.target.as_posix() for task in inputs.tasks]


def test_beside_the_input(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.gif")
    assert targets(tmp_path / "a.jpg") == [f"{tmp_path}/a_x4.jpg"]
    assert targets(tmp_path / "a.jpg", scale=2, format="tiff") == [f"{tmp_path}/a_x2.tif"]
    assert targets(tmp_path / "b.gif") == [f"{tmp_path}/b_x4.png"]  # GIF is read, not written


def test_named_file(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    assert targets(tmp_path / "a.jpg", output=Path("new.webp")) == ["new.webp"]
    with pytest.raises(UsageError, match=r"new.webp names one file for 2 images"):
        targets(tmp_path / "a.jpg", tmp_path / "b.jpg", output=Path("new.webp"))
    with pytest.raises(UsageError, match="contradicts the ending"):
        targets(tmp_path / "a.jpg", output=Path("new.webp"), format="png")
    assert targets(tmp_path / "a.jpg", output=Path("new.jpeg"), format="jpg") == ["new.jpeg"]


def test_folder_keeps_names(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    assert targets(tmp_path / "a.jpg", output=tmp_path / "out") == [f"{tmp_path}/out/a.jpg"]
    (tmp_path / "v1.5").mkdir()  # existing, though it looks like a name with an ending
    assert targets(tmp_path / "a.jpg", output=tmp_path / "v1.5") == [f"{tmp_path}/v1.5/a.jpg"]


def test_folders_are_mirrored(tmp_path: Path) -> None:
    touch(tmp_path, "in/b.png", "in/sub/a.JPG", "in/sub/notes.txt", "in/.hidden.png", "in/.git/c.png")
    names = targets(tmp_path / "in", output=tmp_path / "out", format="png")
    assert names == [f"{tmp_path}/out/b.png", f"{tmp_path}/out/sub/a.png"]


def test_output_folder_is_not_input(tmp_path: Path) -> None:
    touch(tmp_path, "in/b.png", "in/out/b.png")
    assert targets(tmp_path / "in", output=tmp_path / "in/out") == [f"{tmp_path}/in/out/b.png"]
    with pytest.raises(UsageError, match="is the input folder itself"):
        targets(tmp_path / "in", output=tmp_path / "in")


def test_earlier_results_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "a_x4.jpg", "b_x4.png", "c.gif", "c_x2.png")
    assert targets(tmp_path) == [f"{tmp_path}/{name}" for name in ("a_x4.jpg", "b_x4_x4.png", "c_x4.png")]
    assert targets(tmp_path / "a_x4.jpg") == [f"{tmp_path}/a_x4_x4.jpg"]  # but not when it is named


def test_globs(tmp_path: Path) -> None:
    touch(tmp_path, "in/a/1.png", "in/b/2.png", "in/b/c/3.png", "in/b/no.txt")
    assert targets(tmp_path / "in/*/*.png", output=tmp_path / "o") == [
        f"{tmp_path}/o/a/1.png",
        f"{tmp_path}/o/b/2.png",
    ]
    assert len(targets(tmp_path / "in/**/*.png")) == 3
    with pytest.raises(UsageError, match="no image matches"):
        targets(tmp_path / "in/*.txt")


def test_existing_name_with_brackets(tmp_path: Path) -> None:
    touch(tmp_path, "a[1].png")
    assert targets(tmp_path / "a[1].png") == [f"{tmp_path}/a[1]_x4.png"]


def test_two_images_never_become_one_file(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.png", "in/a.jpg")
    with pytest.raises(UsageError, match=r"a.jpg and .*a.png would both become"):
        targets(tmp_path / "in", output=tmp_path / "out", format="webp")


def test_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no image"):
        targets(tmp_path)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_shards_split_without_loss_or_overlap(count: int) -> None:
    keys = [f"folder/{index}.png" for index in range(200)]
    shards = [[key for key in keys if in_shard(key, f"{i}/{count}")] for i in range(1, count + 1)]
    assert sorted(key for shard in shards for key in shard) == sorted(keys)
    assert min(map(len, shards)) > 200 / count / 2


def test_shard_does_not_depend_on_other_files(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{index}.png" for index in range(20)))
    before = find_inputs([tmp_path], None, scale=4, format=None, shard="1/3").tasks
    touch(tmp_path, *(f"{index}_x4.png" for index in range(5)), "new.png")
    after = find_inputs([tmp_path], None, scale=4, format=None, shard="1/3").tasks
    assert set(before) <= set(after) and len(after) <= len(before) + 1


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2"])
def test_wrong_shards_are_refused(shard: str) -> None:
    with pytest.raises(UsageError, match="I from 1 to N"):
        in_shard("a", shard)
