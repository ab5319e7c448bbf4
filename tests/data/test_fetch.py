from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from srgan.data import catalogue, digests, verify
from srgan.data import fetch as module
from srgan.data.catalogue import CATALOGUE, Download, Known
from srgan.data.download import Patience
from srgan.data.fetch import Voice, fetch
from srgan.data.folders import training_pairs, validation_pairs
from srgan.errors import DataError
from srgan.image import files, resize
from tests.data.servers import Site, breaking_off, sending, status
from tests.data.test_likeness import scene

QUICK = Patience(tries=2, pause=0.001, longest=0.01, timeout=5)


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


def use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **sets: Known) -> None:
    """A table of one's own, by the file that SRGAN_CATALOGUE names."""
    (tmp_path / "table.json").write_text(catalogue.to_json(sets))
    monkeypatch.setenv("SRGAN_CATALOGUE", str(tmp_path / "table.json"))


@pytest.fixture
def div2k(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A site with a DIV2K of three and one pictures, at an official address and at a mirror."""
    members: dict[str, dict[str, bytes]] = {}
    for split, numbers in (("train", (1, 2, 3)), ("valid", (801,))):
        hrs = {n: resize.cropped(scene(n % 7)) for n in numbers}
        members[f"DIV2K_{split}_HR"] = {f"DIV2K_{split}_HR/{n:04d}.png": png(p, tmp_path) for n, p in hrs.items()}
        lr = f"DIV2K_{split}_LR_bicubic/X4"
        members[lr] = {f"{lr}/{n:04d}x4.png": png(resize.downscaled(p), tmp_path) for n, p in hrs.items()}
    route = []
    for official, folder in zip(CATALOGUE["div2k"].routes[0], ("", "", "", ""), strict=True):
        folder = official.folder
        body = zipped(members[folder])
        for host in ("/official", "/mirror"):
            site.files[f"{host}/{official.name}"] = body
        route.append(
            replace(
                official,
                urls=tuple(site.url(f"{host}/{official.name}") for host in ("/official", "/mirror")),
                length=len(body),
                unpacked=len(body),
                digest="sha256:" + hashlib.sha256(body).hexdigest(),
                pictures=len(members[folder]),
            )
        )
    use(monkeypatch, tmp_path, div2k=replace(CATALOGUE["div2k"], routes=(tuple(route),)))
    return site


def test_div2k_from_nothing(div2k: Site, tmp_path: Path) -> None:
    root = tmp_path / "data"
    places = fetch("div2k", root, patience=QUICK)
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
    said: list[str] = []
    fetch("div2k", root, patience=QUICK, voice=Voice(say=said.append))
    assert len(div2k.requests) == asked and said == ["DIV2K is there and was verified."]


def test_killed_at_every_stage(div2k: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stops in each download, each unpacking, the verification and before the move; then goes on."""
    root = tmp_path / "data"
    names: list[str] = []

    def stopping(at: int) -> Callable[[str], Callable[[int, int], None]]:
        def stage(name: str) -> Callable[[int, int], None]:
            names.append(name)

            def progress(done: int, total: int) -> None:
                if len(names) == at:
                    raise KeyboardInterrupt

            return progress

        return stage

    stops = 0
    for at in range(1, 30):
        names.clear()
        try:
            fetch("div2k", root, patience=QUICK, voice=Voice(stage=stopping(at)))
            break
        except KeyboardInterrupt:
            stops += 1
    assert stops >= 3 and len(training_pairs(root)) == 3
    whole = [path for path, wanted in div2k.requests if not wanted]
    assert len(whole) == 4, "no archive was fetched from its start twice"


def test_first_address_down(div2k: Site, tmp_path: Path) -> None:
    for path in list(div2k.files):
        if path.startswith("/official"):
            div2k.moods[path] += [status(404)] * 5
    fetch("div2k", tmp_path / "data", patience=QUICK)
    assert len(training_pairs(tmp_path / "data")) == 3


def test_nobody_answers(div2k: Site, tmp_path: Path) -> None:
    div2k.files.clear()
    with pytest.raises(DataError, match=r"DIV2K could not be fetched.*404.*put the file at"):
        fetch("div2k", tmp_path / "data", patience=QUICK)


def test_what_the_user_has_is_verified_and_never_replaced(div2k: Site, tmp_path: Path) -> None:
    root = tmp_path / "data"
    fetch("div2k", root, patience=QUICK)
    shutil.rmtree(root / ".fetch")
    asked = len(div2k.requests)
    fetch("div2k", root, patience=QUICK)
    assert len(div2k.requests) == asked, "verified in its place"
    shutil.rmtree(root / ".fetch")
    (root / "DIV2K/DIV2K_train_HR/0002.png").unlink()
    with pytest.raises(DataError, match=r"DIV2K_train_HR holds 2 pictures, 3 were expected; move it away"):
        fetch("div2k", root, patience=QUICK)
    assert len(list((root / "DIV2K/DIV2K_train_HR").iterdir())) == 2


def test_lr_of_another_kernel_is_refused(div2k: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The archive has the hash of the table, and yet not the right content."""
    table = json.loads((tmp_path / "table.json").read_text())
    item = table["div2k"]["routes"][0][1]
    body = zipped({f"{item['folder']}/0801x4.png": png(resize.cropped(scene(801 % 7))[::4, ::4], tmp_path)})
    item.update(length=len(body), digest="")
    div2k.files["/official/" + item["name"]] = body
    (tmp_path / "table.json").write_text(json.dumps(table))
    with pytest.raises(DataError, match=r"0801x4\.png is not the bicubic of .*0801\.png"):
        fetch("div2k", tmp_path / "data", patience=QUICK)
    assert not (tmp_path / "data" / "DIV2K").exists(), "nothing unverified is put in its place"


def test_disk_space_is_checked_first(div2k: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage)
    with pytest.raises(DataError, match="GB are needed below"):
        fetch("div2k", tmp_path / "data", patience=QUICK)
    assert div2k.requests == []


def _test_set(site: Site) -> Known:
    """Set5 as the table has it, at the local server: picture by picture, else from benchmark.tar."""
    one_by_one, (tar,) = CATALOGUE["set5"].routes
    local = tuple(replace(d, urls=(site.url(f"/raw/{d.name}"),)) for d in one_by_one)
    body = site.files["/benchmark.tar"]
    digest = "sha256:" + hashlib.sha256(body).hexdigest()
    return replace(
        CATALOGUE["set5"],
        routes=(local, (replace(tar, urls=(site.url("/benchmark.tar"),), length=len(body), digest=digest),)),
    )


@pytest.fixture
def set5(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A Set5 of our own pictures (the third one grey), sizes no multiples of 4, at both kinds of address."""
    originals = [scene(n) for n in range(40, 45)]
    originals[2] = np.repeat(originals[2][..., :1], 3, axis=2)
    cropped = [resize.cropped(p) for p in originals]
    monkeypatch.setitem(digests.DIGESTS, "Set5", tuple(digests.digest(p) for p in cropped))
    monkeypatch.setitem(digests.GREY, "Set5", frozenset({3}))  # type: ignore[arg-type]
    cropped[2] = cropped[2][..., 0]
    for n, hr in enumerate(cropped, 1):
        for kind, pixels in (("HR", hr), ("LR", resize.downscaled(hr))):
            site.files[f"/raw/Set5/image_SRF_4/img_00{n}_SRF_4_{kind}.png"] = png(pixels, tmp_path)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for n, name in enumerate(("woman", "baby", "head", "bird", "butterfly")):
            body = png(originals[n], tmp_path)
            info = tarfile.TarInfo(f"benchmark/Set5/HR/{name}.png")
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    site.files["/benchmark.tar"] = buffer.getvalue()
    use(monkeypatch, tmp_path, set5=_test_set(site))
    return site


def test_test_set_picture_by_picture(set5: Site, tmp_path: Path) -> None:
    set5.moods["/raw/Set5/image_SRF_4/img_002_SRF_4_HR.png"] += [status(503), breaking_off(100)]
    (place,) = fetch("set5", tmp_path / "data", patience=QUICK)
    assert len(list(place.iterdir())) == 10
    assert files.read_array(place / "img_003_SRF_4_HR.png").ndim == 2


@pytest.mark.parametrize("trouble", [status(404), sending(b"<html>moved</html>")])
def test_test_set_from_the_mirror_is_the_same(set5: Site, tmp_path: Path, trouble: object) -> None:
    (first,) = fetch("set5", tmp_path / "one", patience=QUICK)
    set5.moods["/raw/Set5/image_SRF_4/img_004_SRF_4_HR.png"] += [trouble] * 9  # type: ignore[list-item]
    (second,) = fetch("set5", tmp_path / "two", patience=QUICK)
    names = sorted(p.name for p in first.iterdir())
    assert names == sorted(p.name for p in second.iterdir())
    for name in names:
        assert np.array_equal(files.read_array(first / name), files.read_array(second / name)), name


def test_another_picture_in_a_test_set_is_refused(set5: Site, tmp_path: Path) -> None:
    other = resize.cropped(scene(50))
    set5.files["/raw/Set5/image_SRF_4/img_001_SRF_4_HR.png"] = png(other, tmp_path)
    del set5.files["/benchmark.tar"]
    with pytest.raises(DataError, match="is not picture 1 of Set5; scores on it would not compare"):
        fetch("set5", tmp_path / "data", patience=QUICK)
    assert not (tmp_path / "data/Set5").exists()


def test_models(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    weights = b"\x89HDF\r\n\x1a\n" + bytes(1000)
    site.files["/vgg.h5"] = weights
    site.files["/niqe.npz"] = (data / "niqe/niqe_pris_params.npz").read_bytes()
    site.files["/wrong.npz"] = weights

    def models(*items: tuple[str, str]) -> tuple[tuple[Download, ...], ...]:
        return tuple((Download(name=name, urls=(site.url(path),)),) for name, path in items)

    vgg = replace(CATALOGUE["vgg19"], routes=models(("vgg19/v.h5", "/vgg.h5")))
    names = ("niqe/niqe_pris_params.npz", "/wrong.npz"), ("niqe/niqe_pris_params.npz", "/niqe.npz")
    use(monkeypatch, tmp_path, vgg19=vgg, niqe=replace(CATALOGUE["niqe"], routes=models(*names)))
    assert fetch("vgg19", tmp_path, patience=QUICK)[0].read_bytes() == weights
    assert fetch("niqe", tmp_path, patience=QUICK) == [tmp_path / "niqe/niqe_pris_params.npz"]


def test_unknown_set_and_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="no set 'set6'; known are div2k, set5"):
        fetch("set6", tmp_path)
    (tmp_path / "t.json").write_text("[]")
    monkeypatch.setenv("SRGAN_CATALOGUE", str(tmp_path / "t.json"))
    with pytest.raises(DataError, match="is not a catalogue"):
        fetch("set5", tmp_path)


def test_the_table() -> None:
    """Every address is http, every archive has a hash and a length, and what the issue fixes is there."""
    for known in CATALOGUE.values():
        for route in known.routes:
            for item in route:
                assert item.urls and all(url.startswith(("https://", "http://data.vision")) for url in item.urls)
                assert not item.folder or (item.digest and item.length and item.pictures)
    assert "80c21c333bbf6ceb5308b7243761f8284478274413a97b96f1d63e9045fd93e8" in CATALOGUE["set5"].routes[1][0].digest
    assert CATALOGUE["vgg19"].routes[0][0].digest == "md5:253f8cb515780f3b799900260a226db6"
    assert {name: len(found) for name, found in digests.DIGESTS.items()} == {
        "Set5": 5,
        "Set14": 14,
        "BSD100": 100,
    }
    assert len({d for found in digests.DIGESTS.values() for d in found}) == 119


@pytest.mark.parametrize("name", ["Set5", "Set14"])
def test_the_shared_test_sets_verify(data: Path, name: str) -> None:
    verify.verify_test_set(name, data / name / "image_SRF_4", len(digests.DIGESTS[name]))


def test_places_do_not_hide_from_the_walk() -> None:
    assert module.WORKSHOP.startswith("."), "unfinished things are no training pictures"
