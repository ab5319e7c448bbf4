"""Data sets from a local server: from nothing, stopped at every stage, from mirrors, with wrong content."""

import hashlib
import io
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from srgan.data import fetch as module
from srgan.data.catalogue import CATALOGUE, DIGESTS, Dataset, RemoteFile, pixel_digest
from srgan.data.fetch import fetch
from srgan.data.folders import training_pairs, validation_pairs
from srgan.errors import DataError
from srgan.image import files, resize
from srgan.progress import Progress
from tests.data.servers import Site, breaking_off, status
from tests.support import scene


def png(pixels: np.ndarray, folder: Path) -> bytes:
    path = folder / "one.png"
    files.write_array(path, np.ascontiguousarray(pixels))
    return path.read_bytes()


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, body in members.items():
            archive.writestr(name, body)
    return buffer.getvalue()


def use(monkeypatch: pytest.MonkeyPatch, **sets: Dataset) -> None:
    """Fetch from the local server."""
    monkeypatch.setattr(module, "CATALOGUE", sets)


def place_div2k(site: Site, folder: Path) -> Dataset:
    """A DIV2K of three and one pictures at a site."""
    route = []
    for item in CATALOGUE["div2k"].files:
        hrs = {n: resize.cropped(scene(n)) for n in ((1, 2, 3) if "train" in item.name else (801,))}
        if item.folder.endswith("_HR"):
            members = {f"{item.folder}/{n:04d}.png": png(hr, folder) for n, hr in hrs.items()}
        else:
            members = {f"{item.folder}/{n:04d}x4.png": png(resize.downscaled(hr), folder) for n, hr in hrs.items()}
        body = site.files[f"/{item.name}"] = zipped(members)
        size, digest = len(body), "sha256:" + hashlib.sha256(body).hexdigest()
        urls = (site.url(f"/{item.name}"),)
        route.append(replace(item, urls=urls, length=size, unpacked=size, digest=digest, images=len(hrs)))
    return replace(CATALOGUE["div2k"], files=tuple(route))


@pytest.fixture
def div2k(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    use(monkeypatch, div2k=place_div2k(site, tmp_path))
    return site


def test_div2k(div2k, tmp_path):
    root = tmp_path / "data"
    places = fetch("div2k", root)
    assert [p.relative_to(root).as_posix() for p in places] == [
        "DIV2K/DIV2K_train_LR_bicubic/X4",
        "DIV2K/DIV2K_valid_LR_bicubic/X4",
        "DIV2K/DIV2K_valid_HR",
        "DIV2K/DIV2K_train_HR",
    ]
    assert [p.name for p in training_pairs(root)] == ["0001.png", "0002.png", "0003.png"]
    assert [p.name for p in validation_pairs(root)] == ["0801.png"]
    assert [p.name for p in (root / ".fetch").rglob("*") if p.is_file()] == ["div2k.json"], "archives are removed"
    asked = len(div2k.requests)
    fetch("div2k", root)
    assert len(div2k.requests) == asked


def test_stopped_at_every_stage(div2k, tmp_path, monkeypatch):
    """Stops at the first progress of each download, each unpacking and each verification; then resumes."""
    root, titles, update = tmp_path / "data", [], Progress.update

    def stop_at(at: int) -> Callable[..., None]:
        def stopping(bar: Progress, *args: float, **options: float) -> None:
            titles.append(bar._title)
            if len(set(titles)) == at:
                raise KeyboardInterrupt
            update(bar, *args, **options)

        return stopping

    stops = 0
    for at in range(1, 30):
        titles.clear()
        monkeypatch.setattr(Progress, "update", stop_at(at))
        try:
            fetch("div2k", root)
            break
        except KeyboardInterrupt:
            stops += 1
            with pytest.raises(DataError):
                training_pairs(root)
    assert stops >= 3 and len(training_pairs(root)) == 3
    whole = [path for path, asked_range in div2k.requests if not asked_range]
    assert len(whole) == 4, "no archive was fetched from its start twice"


def test_nobody_answers(div2k, tmp_path):
    div2k.files.clear()
    with pytest.raises(DataError, match=r"DIV2K could not be fetched.*404.*put the file at"):
        fetch("div2k", tmp_path / "data")


def test_existing_files_are_verified_and_kept(div2k, tmp_path):
    root = tmp_path / "data"
    fetch("div2k", root)
    shutil.rmtree(root / ".fetch")
    asked = len(div2k.requests)
    fetch("div2k", root)
    assert len(div2k.requests) == asked, "verified in its place"
    shutil.rmtree(root / ".fetch")
    (root / "DIV2K/DIV2K_train_HR/0002.png").unlink()
    with pytest.raises(DataError, match=r"DIV2K_train_HR holds 2 images and .*; expected 3 each\. Move .* away"):
        fetch("div2k", root)
    assert len(list((root / "DIV2K/DIV2K_train_HR").iterdir())) == 2


def test_lr_of_another_kernel_is_refused(div2k, tmp_path, monkeypatch):
    """The archive has the hash of the table, and yet not the right content."""
    known = module.CATALOGUE["div2k"]
    first, item, *rest = known.files
    body = zipped({f"{item.folder}/0801x4.png": png(resize.cropped(scene(801))[::4, ::4], tmp_path)})
    div2k.files[f"/{item.name}"] = body
    item = replace(item, length=len(body), digest="sha256:" + hashlib.sha256(body).hexdigest())
    use(monkeypatch, div2k=replace(known, files=(first, item, *rest)))
    with pytest.raises(DataError, match=r"0801x4\.png is not the bicubic of .*0801\.png"):
        fetch("div2k", tmp_path / "data")
    assert not (tmp_path / "data" / "DIV2K").exists(), "nothing unverified is put in its place"


def test_full_disk(div2k, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(DataError, match=r"needs .* MB"):
        fetch("div2k", tmp_path / "data")
    assert div2k.requests == []


@pytest.fixture
def set5(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A Set5 of our own pictures, the third one grey."""
    hrs = [resize.cropped(scene(n)) for n in range(40, 45)]
    hrs[2] = np.repeat(hrs[2][..., :1], 3, axis=2)
    monkeypatch.setitem(DIGESTS, "Set5", pixel_digest(hrs))
    hrs[2] = hrs[2][..., 0]
    for n, hr in enumerate(hrs, 1):
        for kind, pixels in (("HR", hr), ("LR", resize.downscaled(hr))):
            site.files[f"/raw/Set5/image_SRF_4/img_00{n}_SRF_4_{kind}.png"] = png(pixels, tmp_path)
    known = CATALOGUE["set5"]
    local = tuple(replace(file, urls=(site.url(f"/raw/{file.name}"),)) for file in known.files)
    use(monkeypatch, set5=replace(known, files=local))
    return site


def test_test_set_image_by_image(set5, tmp_path, caplog):
    caplog.set_level("INFO", "srgan")
    set5.moods["/raw/Set5/image_SRF_4/img_002_SRF_4_HR.png"] += [status(503), breaking_off(100)]
    (place,) = fetch("set5", tmp_path / "data")
    assert caplog.messages[1] == "Downloading 10 images from 127.0.0.1."
    assert len(list(place.iterdir())) == 10
    assert files.read_array(place / "img_003_SRF_4_HR.png").ndim == 2


def test_another_image_in_a_test_set_is_refused(set5, tmp_path):
    other = resize.cropped(scene(50))
    set5.files["/raw/Set5/image_SRF_4/img_001_SRF_4_HR.png"] = png(other, tmp_path)
    set5.files["/raw/Set5/image_SRF_4/img_001_SRF_4_LR.png"] = png(resize.downscaled(other), tmp_path)
    with pytest.raises(DataError, match=r"image_SRF_4 are not those of Set5; scores on them would not compare"):
        fetch("set5", tmp_path / "data")
    assert not (tmp_path / "data/Set5").exists()


def test_models(site, tmp_path, monkeypatch, data):
    weights = b"\x89HDF\r\n\x1a\n" + bytes(1000)
    site.files["/vgg.h5"] = weights
    site.files["/niqe.npz"] = (data / "niqe/niqe_pris_params.npz").read_bytes()
    for name, file, path in (("vgg19", "vgg19/v.h5", "/vgg.h5"), ("niqe", "niqe/niqe_pris_params.npz", "/niqe.npz")):
        urls = (site.url("/nowhere"), site.url(path))
        use(monkeypatch, **{name: replace(CATALOGUE[name], files=(RemoteFile(name=file, urls=urls),))})
        assert fetch(name, tmp_path) == [tmp_path / file]
        assert (tmp_path / file).read_bytes() == site.files[path]


def test_unknown_set(tmp_path):
    with pytest.raises(DataError, match="no set 'set6'; known are div2k, set5"):
        fetch("set6", tmp_path)


def test_the_table():
    """Every address is http, every archive has a hash and a length, and what the issue fixes is there."""
    for known in CATALOGUE.values():
        for item in known.files:
            assert item.urls and all(url.startswith(("https://", "http://data.vision")) for url in item.urls)
            assert not item.folder or (item.digest and item.length and item.images)
    assert CATALOGUE["vgg19"].files[0].digest == "md5:253f8cb515780f3b799900260a226db6"


@pytest.mark.parametrize("name", ["set5", "set14"])
def test_the_shared_test_sets_verify(data, name):
    known = CATALOGUE[name]
    module.verify_test_set(known.title, data / known.title / "image_SRF_4", known.files[0].count)


def test_unpack_takes_the_images_of_one_folder(tmp_path):
    names = "HR/1.png HR/.2.png HR/readme.txt HR/deep/3.png ../HR/4.png /HR/5.png HR/../6.png 7.png".split()
    (tmp_path / "a.zip").write_bytes(zipped(dict.fromkeys(names, b"x")))
    module._unpack(tmp_path / "a.zip", "HR", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["1.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "out"]


def test_damaged_archive(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped({"HR/1.png": b"x" * 1000}).replace(b"x" * 10, b"y" * 10, 1))
    with pytest.raises(DataError, match="is damaged"):
        module._unpack(tmp_path / "a.zip", "HR", tmp_path / "out")
    assert not (tmp_path / "out").exists()
