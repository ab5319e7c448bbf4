"""Which images are upscaled and where each result goes, as interface.md has it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srgan.errors import UsageError
from srgan.image.files import Image, write_image
from srgan.upscale.inputs import Inputs, find_inputs, in_shard


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def found(*paths: Path | str, output: Path | str | None = None, **options: Any) -> Inputs:
    return find_inputs(paths, output, **({"scale": 4, "format": None, "shard": None} | options))


def targets(*paths: Path | str, output: Path | str | None = None, **options: Any) -> list[str]:
    return [task.target.as_posix() for task in found(*paths, output=output, **options).tasks]


TREE = "in/a/1.png in/b/2.png in/b/c/3.png in/b/no.txt"


@pytest.mark.parametrize(
    ("files", "paths", "output", "options", "expected"),
    [
        # Beside the input.
        ("a.jpg", "a.jpg", None, {}, "a_x4.jpg"),
        ("a.jpg", "a.jpg", None, {"scale": 2, "format": "tiff"}, "a_x2.tif"),
        ("b.gif", "b.gif", None, {}, "b_x4.png"),  # GIF is read, not written
        # A file.
        ("a.jpg", "a.jpg", "new.webp", {}, "new.webp"),
        ("a.jpg", "a.jpg", "new.jpeg", {"format": "jpg"}, "new.jpeg"),
        # A folder: it ends in a slash, exists, or has no ending.
        ("a.jpg", "a.jpg", "out", {}, "out/a.jpg"),
        ("a.jpg v1.5/there", "a.jpg", "v1.5", {}, "v1.5/a.jpg"),
        ("a.png", "a.png", "out.png/", {}, "out.png/a.png"),
        ("a.png b.png", "a.png b.png", "2024.08.trip/", {}, "2024.08.trip/a.png 2024.08.trip/b.png"),
        ("a.png b.png", "a.png b.png", "v1.2", {}, "v1.2/a.png v1.2/b.png"),
        ("a.png b.png", "a.png b.png", "old.photos", {}, "old.photos/a.png old.photos/b.png"),
        # A folder's images, without hidden ones and results.
        (
            "in/b.png in/sub/a.JPG in/sub/notes.txt in/.hidden.png in/.git/c.png",
            "in",
            "out",
            {"format": "png"},
            "out/b.png out/sub/a.png",
        ),
        ("in/b.png in/out/b.png", "in", "in/out", {}, "in/out/b.png"),
        # Patterns.
        (TREE, "in/*/*.png", "o", {}, "o/a/1.png o/b/2.png"),
        (TREE, "in/**/*.png", None, {}, "in/a/1_x4.png in/b/2_x4.png in/b/c/3_x4.png"),
        ("a.png out/a.png", "**/*.png", "out", {}, "out/a.png"),
        ("a[1].png", "a[1].png", None, {}, "a[1]_x4.png"),
        ("trip[2024]/b.png", "trip[2024]/*.png", "o", {}, "o/b.png"),
    ],
)
def test_where_each_result_goes(tmp_path, monkeypatch, files, paths, output, options, expected):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, *files.split())
    assert targets(*paths.split(), output=output, **options) == expected.split()


@pytest.mark.parametrize(
    ("paths", "output", "options", "said"),
    [
        (["http://example.com/a.png"], None, {}, r"http://example\.com/a\.png is an address"),
        ([""], None, {}, "name is empty"),
        (["in/*.txt"], None, {}, "no image matches"),
        (["a.png", "b.png"], "new.webp", {}, "new.webp names one file for 2 images"),
        (["a.png"], "new.webp", {"format": "png"}, "contradicts the ending"),
        (["in"], "in", {}, "is the input folder itself"),
        (["a.png"], "notes", {}, "notes is a file"),
        (["a.png"], "notes/", {}, "notes is a file"),
        (["a.png"], "", {}, "after -o is empty"),  # not the current folder
    ],
)
def test_mistakes_are_sentences(tmp_path, monkeypatch, paths, output, options, said):
    monkeypatch.chdir(tmp_path)
    touch(tmp_path, "a.png", "b.png", "in/c.png", "in/c.txt", "notes")
    with pytest.raises(UsageError, match=said):
        found(*paths, output=output, **options)


def test_results_are_left_out_and_named(tmp_path, caplog):
    """By what srgan wrote into them, whatever their names; an original may be named like a result."""
    caplog.set_level("INFO", "srgan")
    touch(tmp_path, "a.jpg", "icon_x2.png", "icon.png", "d.cr2")
    result = Image(pixels=np.zeros((4, 4), np.uint8))
    for name in ("holiday.png", "a_x3.jpg", "b.webp"):
        write_image(tmp_path / name, result, provenance={"model": "srgan"})
    originals = [f"{tmp_path}/{name}" for name in ("a_x4.jpg", "icon_x4.png", "icon_x2_x4.png")]
    named = [path for path in sorted(tmp_path.iterdir()) if path.suffix != ".cr2"]
    assert targets(tmp_path) == targets(*named) == targets(tmp_path / "*") == originals
    assert "left out, results of srgan (3): a_x3.jpg, b.webp, holiday.png" in caplog.messages
    assert "left out, formats that srgan does not read (1): d.cr2" in caplog.messages
    assert targets(tmp_path / "a_x3.jpg") == [f"{tmp_path}/a_x3_x4.jpg"]  # but not when it alone is named
    assert targets(tmp_path, scale=2) == [f"{tmp_path}/{name}" for name in ("a_x2.jpg", "icon_x2.png")]
    assert "left out, named as the result of another image (1): icon_x2.png" in caplog.messages


def test_an_image_counts_once(tmp_path):
    touch(tmp_path, "d/a.png")
    (tmp_path / "d/again").symlink_to(".")
    assert targets(tmp_path / "d/a.png", tmp_path / "d/../d/a.png", tmp_path / "d", output=tmp_path / "o") == [
        f"{tmp_path}/o/a.png"
    ]


def test_names_that_hold_no_image_stop_no_other(tmp_path):
    touch(tmp_path, "a.png", "empty/no.txt")
    inputs = found(tmp_path / "empty", tmp_path / "*.gif", "", tmp_path / "a.png", "n" * 300)
    assert [task.source.name for task in inputs.tasks] == ["a.png", "n" * 300] and not inputs.single
    for error, words in zip(inputs.failures, ("holds no image", "no image matches", "name is empty"), strict=True):
        assert words in str(error)


def test_two_images_never_become_one_file(tmp_path):
    touch(tmp_path, "in/a.png", "in/a.jpg", "in/b.png")
    inputs = found(tmp_path / "in", output=tmp_path / "out", format="webp")
    assert [task.source.name for task in inputs.tasks] == ["b.png"]
    assert len(inputs.failures) == 1 and inputs.failed == 2 and "a.jpg and" in str(inputs.failures[0])
    assert "a.png would both become" in str(inputs.failures[0])
    here = [tmp_path / "in/a.png", tmp_path / "in/a.jpg"]  # no image that is named is replaced by another one's result
    inputs = found(*here, output=tmp_path / "in", format="png")
    assert not inputs.tasks and len(inputs.failures) == 1
    inputs = found(*here, output=tmp_path / "out/../in")
    assert not inputs.tasks and [str(error).split("/in/")[1] for error in inputs.failures] == [
        f"a.{suffix} is the input itself; give another name." for suffix in ("png", "jpg")
    ]


@pytest.mark.parametrize("count", [1, 2, 7])
def test_shards_split_without_loss_or_overlap(count):
    names = [Path(f"folder/{index}.png") for index in range(200)]
    shards = [[name for name in names if in_shard(name, f"{i}/{count}")] for i in range(1, count + 1)]
    assert sorted(name for shard in shards for name in shard) == sorted(names)
    assert min(map(len, shards)) > 200 / count / 2


def test_a_shard_says_how_many_images_are_its_own(tmp_path, caplog):
    touch(tmp_path, "a.png")
    caplog.set_level("INFO", "srgan")
    for shard in ("1/2", "2/2"):
        found(tmp_path, format="png", shard=shard)
    assert sorted(caplog.messages) == ["shard 1/2: 0 of 1 images", "shard 2/2: 1 of 1 images"]


def test_only_files_of_the_shard_are_opened(tmp_path, monkeypatch):
    """Each machine of a job array would otherwise read the headers of all images."""
    touch(tmp_path, *(f"{index}.png" for index in range(30)))
    opened: list[Path] = []
    monkeypatch.setattr("srgan.upscale.inputs.read_provenance", opened.append)
    tasks = found(tmp_path, format="png", shard="1/3").tasks
    assert 3 < len(opened) < 20 and [task.source for task in tasks] == opened


def test_images_of_one_result_are_in_one_shard(tmp_path):
    touch(tmp_path, *(f"in/{index}.{kind}" for index in range(12) for kind in ("png", "jpg")))
    for shard in ("1/3", "2/3", "3/3"):
        inputs = found(tmp_path / "in", output=tmp_path / "out", format="webp", shard=shard)
        assert not inputs.tasks and inputs.failures
    with pytest.raises(UsageError, match="names one file for 24 images"):
        found(tmp_path / "in/*", output=tmp_path / "out.webp", shard="1/24")


def test_shard_does_not_depend_on_other_files(tmp_path):
    touch(tmp_path, *(f"{index}.png" for index in range(20)))
    before = found(tmp_path, shard="1/3").tasks
    touch(tmp_path, *(f"{index}_x4.png" for index in range(5)), "new.png")
    after = found(tmp_path, shard="1/3").tasks
    assert set(before) <= set(after) and len(after) <= len(before) + 1


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2"])
def test_wrong_shards_are_refused(shard):
    with pytest.raises(UsageError, match="I from 1 to N"):
        in_shard(Path("a"), shard)
