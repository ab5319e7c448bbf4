"""Which images are upscaled and where each result goes, as interface.md has it."""

from pathlib import Path

import numpy as np
import pytest

from srgan.errors import UsageError
from srgan.image.files import Image, write_image
from srgan.upscale.inputs import find_inputs, in_shard


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def targets(*paths: Path, output: Path | None = None, scale: int = 4, format: str | None = None) -> list[str]:
    inputs = find_inputs(paths, output, scale=scale, format=format, shard=None)
    return [task.target.as_posix() for task in inputs.tasks]


def test_beside_the_input(tmp_path):
    touch(tmp_path, "a.jpg", "b.gif")
    assert targets(tmp_path / "a.jpg") == [f"{tmp_path}/a_x4.jpg"]
    assert targets(tmp_path / "a.jpg", scale=2, format="tiff") == [f"{tmp_path}/a_x2.tif"]
    assert targets(tmp_path / "b.gif") == [f"{tmp_path}/b_x4.png"]  # GIF is read, not written


def test_an_address_is_no_file():
    with pytest.raises(UsageError, match=r"http://example\.com/a\.png is an address"):
        find_inputs(["http://example.com/a.png"], None, scale=4, format=None, shard=None)


def test_named_file(tmp_path):
    touch(tmp_path, "a.jpg", "b.jpg")
    assert targets(tmp_path / "a.jpg", output=Path("new.webp")) == ["new.webp"]
    with pytest.raises(UsageError, match=r"new.webp names one file for 2 images"):
        targets(tmp_path / "a.jpg", tmp_path / "b.jpg", output=Path("new.webp"))
    with pytest.raises(UsageError, match="contradicts the ending"):
        targets(tmp_path / "a.jpg", output=Path("new.webp"), format="png")
    assert targets(tmp_path / "a.jpg", output=Path("new.jpeg"), format="jpg") == ["new.jpeg"]


def test_folder_keeps_names(tmp_path):
    touch(tmp_path, "a.jpg")
    assert targets(tmp_path / "a.jpg", output=tmp_path / "out") == [f"{tmp_path}/out/a.jpg"]
    (tmp_path / "v1.5").mkdir()  # existing, though it looks like a name with an ending
    assert targets(tmp_path / "a.jpg", output=tmp_path / "v1.5") == [f"{tmp_path}/v1.5/a.jpg"]


def test_folders_are_mirrored(tmp_path):
    touch(tmp_path, "in/b.png", "in/sub/a.JPG", "in/sub/notes.txt", "in/.hidden.png", "in/.git/c.png")
    names = targets(tmp_path / "in", output=tmp_path / "out", format="png")
    assert names == [f"{tmp_path}/out/b.png", f"{tmp_path}/out/sub/a.png"]


def test_output_folder_is_not_input(tmp_path):
    touch(tmp_path, "in/b.png", "in/out/b.png")
    assert targets(tmp_path / "in", output=tmp_path / "in/out") == [f"{tmp_path}/in/out/b.png"]
    with pytest.raises(UsageError, match="is the input folder itself"):
        targets(tmp_path / "in", output=tmp_path / "in")


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


def test_output_folder_of_a_pattern_is_not_input(tmp_path, monkeypatch):
    touch(tmp_path, "a.png", "out/a.png")
    monkeypatch.chdir(tmp_path)
    assert targets(Path("**/*.png"), output=Path("out")) == ["out/a.png"]


def test_an_image_counts_once(tmp_path):
    touch(tmp_path, "d/a.png")
    (tmp_path / "d/again").symlink_to(".")
    assert targets(tmp_path / "d/a.png", tmp_path / "d/../d/a.png", tmp_path / "d", output=tmp_path / "o") == [
        f"{tmp_path}/o/a.png"
    ]


def test_names_that_hold_no_image_stop_no_other(tmp_path):
    touch(tmp_path, "a.png", "empty/no.txt")
    inputs = find_inputs(
        [tmp_path / "empty", tmp_path / "*.gif", "", tmp_path / "a.png", "n" * 300],
        None,
        scale=4,
        format=None,
        shard=None,
    )
    assert [task.source.name for task in inputs.tasks] == ["a.png", "n" * 300] and not inputs.single
    for error, words in zip(inputs.failures, ("holds no image", "no image matches", "name is empty"), strict=True):
        assert words in str(error)
    with pytest.raises(UsageError, match="name is empty"):
        targets("")


def test_output_that_is_no_folder(tmp_path):
    touch(tmp_path, "a.png", "notes")
    for output in ("notes", "notes/"):
        with pytest.raises(UsageError, match="notes is a file"):
            find_inputs([tmp_path / "a.png"], f"{tmp_path}/{output}", scale=4, format=None, shard=None)
    with pytest.raises(UsageError, match="after -o is empty"):  # not the current folder
        find_inputs([tmp_path / "a.png"], "", scale=4, format=None, shard=None)


@pytest.mark.parametrize("output", ["2024.08.trip/", "v1.2", "out.png/", "old.photos"])
def test_folders_with_dots(tmp_path, output):
    touch(tmp_path, "a.png", "b.png")
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    inputs = find_inputs(paths, f"{tmp_path}/{output}", scale=4, format=None, shard=None)
    assert [task.target for task in inputs.tasks] == [tmp_path / output / path.name for path in paths]


def test_globs(tmp_path):
    touch(tmp_path, "in/a/1.png", "in/b/2.png", "in/b/c/3.png", "in/b/no.txt")
    assert targets(tmp_path / "in/*/*.png", output=tmp_path / "o") == [f"{tmp_path}/o/a/1.png", f"{tmp_path}/o/b/2.png"]
    assert len(targets(tmp_path / "in/**/*.png")) == 3
    with pytest.raises(UsageError, match="no image matches"):
        targets(tmp_path / "in/*.txt")


def test_existing_name_with_brackets(tmp_path):
    touch(tmp_path, "a[1].png")
    assert targets(tmp_path / "a[1].png") == [f"{tmp_path}/a[1]_x4.png"]
    touch(tmp_path, "trip [2024]/b.png")
    assert targets(tmp_path / "trip [2024]/*.png", output=Path("o")) == ["o/b.png"]


def test_two_images_never_become_one_file(tmp_path):
    touch(tmp_path, "in/a.png", "in/a.jpg", "in/b.png")
    inputs = find_inputs([tmp_path / "in"], tmp_path / "out", scale=4, format="webp", shard=None)
    assert [task.source.name for task in inputs.tasks] == ["b.png"]
    assert len(inputs.failures) == 1 and "a.jpg and" in str(inputs.failures[0])
    assert "a.png would both become" in str(inputs.failures[0])
    here = [tmp_path / "in/a.png", tmp_path / "in/a.jpg"]  # no image that is named is replaced by another one's result
    inputs = find_inputs(here, tmp_path / "in", scale=4, format="png", shard=None)
    assert not inputs.tasks and len(inputs.failures) == 1


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
        find_inputs([tmp_path], None, scale=4, format="png", shard=shard)
    assert sorted(caplog.messages) == ["shard 1/2: 0 of 1 images", "shard 2/2: 1 of 1 images"]


def test_only_files_of_the_shard_are_opened(tmp_path, monkeypatch):
    """Each machine of a job array would otherwise read the headers of all images."""
    touch(tmp_path, *(f"{index}.png" for index in range(30)))
    opened: list[Path] = []
    monkeypatch.setattr("srgan.upscale.inputs.read_provenance", opened.append)
    tasks = find_inputs([tmp_path], None, scale=4, format="png", shard="1/3").tasks
    assert 3 < len(opened) < 20 and [task.source for task in tasks] == opened


def test_images_of_one_result_are_in_one_shard(tmp_path):
    touch(tmp_path, *(f"in/{index}.{kind}" for index in range(12) for kind in ("png", "jpg")))
    for shard in ("1/3", "2/3", "3/3"):
        found = find_inputs([tmp_path / "in"], tmp_path / "out", scale=4, format="webp", shard=shard)
        assert not found.tasks and found.failures
    with pytest.raises(UsageError, match="names one file for 24 images"):
        find_inputs([tmp_path / "in/*"], tmp_path / "out.webp", scale=4, format=None, shard="1/24")


def test_shard_does_not_depend_on_other_files(tmp_path):
    touch(tmp_path, *(f"{index}.png" for index in range(20)))
    before = find_inputs([tmp_path], None, scale=4, format=None, shard="1/3").tasks
    touch(tmp_path, *(f"{index}_x4.png" for index in range(5)), "new.png")
    after = find_inputs([tmp_path], None, scale=4, format=None, shard="1/3").tasks
    assert set(before) <= set(after) and len(after) <= len(before) + 1


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2"])
def test_wrong_shards_are_refused(shard):
    with pytest.raises(UsageError, match="I from 1 to N"):
        in_shard(Path("a"), shard)
