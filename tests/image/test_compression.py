"""Headers of compressed files: the quality that an encoder was asked for must be read from its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from srgan.image.compression import jpeg_quality, webp_quantiser
from srgan.image.source import ImageBytes
from tests.images import encoded, photo


@pytest.mark.parametrize("quality", [10, 30, 50, 63, 75, 90, 97])
@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"progressive": True}, {"optimize": True}])
def test_tables_tell_the_quality(quality: int, options: dict[str, Any]) -> None:
    told = jpeg_quality(encoded(photo(48, 48), quality=quality, **options))
    assert told is not None and abs(told - quality) <= 2


def test_tables_of_a_file_and_of_a_grey_image(tmp_path: Path) -> None:
    path = tmp_path / "grey.jpg"
    path.write_bytes(encoded(photo(48, 48)[..., 0], quality=40).data)
    told = jpeg_quality(path)
    assert told is not None and abs(told - 40) <= 2


@pytest.mark.parametrize(("step", "least", "most"), [(1, 92, 100), (12, 45, 55), (60, 5, 15)])
def test_tables_of_another_maker_have_the_quality_of_their_low_frequencies(step: int, least: int, most: int) -> None:
    quality = jpeg_quality(encoded(photo(48, 48), qtables=[[step] * 64, [step] * 64]))
    assert quality is not None and least <= quality <= most


def test_broken_jpegs_have_no_quality(tmp_path: Path) -> None:
    file = encoded(photo(48, 48), quality=60).data
    table = file.index(b"\xff\xdb")
    for end in range(0, len(file), 7):
        quality = jpeg_quality(ImageBytes(data=file[:end], name="cut"))
        assert quality is None if end < table + 15 else quality is None or abs(quality - 60) <= 2
    without = file[:table] + b"\xff\xfe" + file[table + 2 :].replace(b"\xff\xdb", b"\xff\xfe")
    zeros = file[: table + 5] + bytes(9) + file[table + 14 :]
    assert [jpeg_quality(ImageBytes(data=data, name="broken")) for data in (without, zeros)] == [None, None]
    assert jpeg_quality(tmp_path / "missing.jpg") is None


def test_webp_quantiser_grows_as_quality_falls() -> None:
    told = [webp_quantiser(encoded(photo(), "WEBP", quality=quality)) for quality in (95, 80, 60, 40, 20)]
    assert all(value is not None for value in told) and told == sorted(told)  # type: ignore[type-var]
    assert webp_quantiser(encoded(photo(), "WEBP", lossless=True)) is None
    assert webp_quantiser(encoded(photo())) is None
