"""The known sets: where from, how to verify, how laid out. One table; SRGAN_CATALOGUE names a file in its place.

Hashes and lengths of DIV2K are those of TensorFlow Datasets' checksums.tsv; benchmark.tar's is EDSR's; VGG19's is
the one that Keras checks. The test sets are verified picture by picture against `digests.py`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from srgan.errors import DataError

_DIV2K = (
    "https://data.vision.ee.ethz.ch/cvl/DIV2K",
    "http://data.vision.ee.ethz.ch/cvl/DIV2K",
    "https://huggingface.co/datasets/goodfellowliu/DIV2K/resolve/main",
)
_SELFEXSR = "https://raw.githubusercontent.com/jbhuang0604/SelfExSR/master/data"
_BENCHMARK = "https://cv.snu.ac.kr/research/EDSR/benchmark.tar"
_KERAS = "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"

Layout = Literal["div2k", "test", "vgg19", "niqe"]


@dataclass(frozen=True, kw_only=True)
class Download:
    """One file of a set. `{n}` in `name` and `urls` stands for 001 to `count`: as many files.

    `urls`: the same bytes at each, tried in turn. `length` in bytes and `digest` ("sha256:..." or "md5:...") where
    known. `folder`: what to take out of an archive; `into`: where that goes, below the data folder. `pictures`:
    how many must be in it. `unpacked`: bytes that the archive's wanted part needs on the disk, where known.
    """

    name: str
    urls: tuple[str, ...]
    length: int = 0
    digest: str = ""
    folder: str = ""
    into: str = ""
    pictures: int = 0
    unpacked: int = 0
    count: int = 0


@dataclass(frozen=True, kw_only=True)
class Known:
    """A set: `routes` are alternatives, each complete. `hr`, `lr` name folders of one split to compare."""

    title: str
    layout: Layout
    licence: str
    routes: tuple[tuple[Download, ...], ...]
    pictures: int = 0


def _div2k(name: str, folder: str, length: int, sha256: str, pictures: int) -> Download:
    return Download(
        name=name,
        urls=tuple(f"{base}/{name}" for base in _DIV2K),
        length=length,
        digest=f"sha256:{sha256}",
        folder=folder,
        into=f"DIV2K/{folder}",
        pictures=pictures,
        unpacked=length,
    )


def _test_set(name: str, edsr: str, pictures: int, unpacked: int) -> Known:
    from_selfexsr = tuple(
        Download(
            name=f"{name}/image_SRF_4/img_{{n}}_SRF_4_{kind}.png",
            urls=(f"{_SELFEXSR}/{name}/image_SRF_4/img_{{n}}_SRF_4_{kind}.png",),
            length=0,
            count=pictures,
        )
        for kind in ("HR", "LR")
    )
    from_edsr = Download(
        name="benchmark.tar",
        urls=(_BENCHMARK,),
        length=250_112_000,
        digest="sha256:80c21c333bbf6ceb5308b7243761f8284478274413a97b96f1d63e9045fd93e8",
        folder=f"benchmark/{edsr}/HR",
        into=f"{name}/image_SRF_4",
        pictures=pictures,
        unpacked=unpacked,
    )
    return Known(
        title=name,
        layout="test",
        licence="research use",
        routes=(from_selfexsr, (from_edsr,)),
        pictures=pictures,
    )


CATALOGUE: Mapping[str, Known] = {
    "div2k": Known(
        title="DIV2K",
        layout="div2k",
        licence="research use (Agustsson and Timofte 2017)",
        pictures=900,
        routes=(
            (
                _div2k(
                    "DIV2K_train_LR_bicubic_X4.zip",
                    "DIV2K_train_LR_bicubic/X4",
                    246_914_039,
                    "f006b837f4eb52b82909aa01478e6d6d199eefce932179491d0c9dbb706dde3a",
                    800,
                ),
                _div2k(
                    "DIV2K_valid_LR_bicubic_X4.zip",
                    "DIV2K_valid_LR_bicubic/X4",
                    31_505_881,
                    "a50a5d1c4b88de4e8d300d8fb2b904c52fe93b2b298a4899697760d7cbb6d553",
                    100,
                ),
                _div2k(
                    "DIV2K_valid_HR.zip",
                    "DIV2K_valid_HR",
                    448_993_893,
                    "20dd31fd84d777bc1cf5d6b7654a3f569c0aec74458ae094122ad1d0489900fc",
                    100,
                ),
                _div2k(
                    "DIV2K_train_HR.zip",
                    "DIV2K_train_HR",
                    3_530_603_713,
                    "9d0b9c463f6e35b6c62cc6a930ee2224f670b34c1df841a57670f9acf0f6c335",
                    800,
                ),
            ),
        ),
    ),
    "set5": _test_set("Set5", "Set5", 5, 5_000_000),
    "set14": _test_set("Set14", "Set14", 14, 20_000_000),
    "bsd100": _test_set("BSD100", "B100", 100, 60_000_000),
    "vgg19": Known(
        title="VGG19",
        layout="vgg19",
        licence="CC BY 4.0 (Simonyan and Zisserman 2014)",
        routes=(
            (
                Download(
                    name=f"vgg19/{_KERAS}",
                    urls=(
                        f"https://github.com/fchollet/deep-learning-models/releases/download/v0.1/{_KERAS}",
                        f"https://storage.googleapis.com/tensorflow/keras-applications/vgg19/{_KERAS}",
                    ),
                    length=80_134_624,
                    digest="md5:253f8cb515780f3b799900260a226db6",
                ),
            ),
        ),
    ),
    "niqe": Known(
        title="NIQE's pristine model",
        layout="niqe",
        licence="Apache-2.0 (BasicSR)",
        routes=tuple(
            (
                Download(
                    name="niqe/niqe_pris_params.npz",
                    urls=(f"https://raw.githubusercontent.com/{home}/basicsr/metrics/niqe_pris_params.npz",),
                ),
            )
            for home in ("XPixelGroup/BasicSR/master", "xinntao/EDVR/master")
        ),
    ),
}


def read_catalogue() -> Mapping[str, Known]:
    """The built-in table, or the JSON file that SRGAN_CATALOGUE names: `to_json` of a table of one's own.

    Errors: DataError where the file cannot be read as one.
    """
    named = os.environ.get("SRGAN_CATALOGUE")
    if not named:
        return CATALOGUE
    try:
        loaded: dict[str, dict[str, Any]] = json.loads(Path(named).read_text(encoding="utf-8"))
        return {name: _known(fields) for name, fields in loaded.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"SRGAN_CATALOGUE={named} is not a catalogue of srgan: {error}.") from error


def to_json(catalogue: Mapping[str, Known]) -> str:
    """A table as text, for a file to edit and to name in SRGAN_CATALOGUE."""
    return json.dumps({name: asdict(known) for name, known in catalogue.items()}, indent=1)


def _known(fields: dict[str, Any]) -> Known:
    routes = tuple(
        tuple(Download(**{**one, "urls": tuple(one["urls"])}) for one in route) for route in fields["routes"]
    )
    return Known(**{**fields, "routes": routes})
