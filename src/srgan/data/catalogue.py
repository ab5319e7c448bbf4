"""The known data sets: where they come from, how they are laid out, how they are verified.

Hashes and lengths of DIV2K are those of TensorFlow Datasets' checksums.tsv; VGG19's is the one that Keras checks. The
test sets are verified against `DIGESTS`, made from the x4 files of SelfExSR, which reproduce the paper's control rows.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Layout = Literal["div2k", "test", "vgg19", "niqe"]


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """One file of a data set. `{n}` in `name` and `urls` stands for 001 to `count`: that many files.

    `urls`: the same bytes at each, tried in turn. `length` in bytes and `digest` ("sha256:..." or "md5:...") where
    known; an archive needs a digest. `folder`: the folder inside an archive whose images are taken; `into`: where
    they go, below the data folder. `images`: how many these must be. `unpacked`: bytes that they take.
    """

    name: str
    urls: tuple[str, ...]
    length: int = 0
    digest: str = ""
    folder: str = ""
    into: str = ""
    images: int = 0
    unpacked: int = 0
    count: int = 0


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data set and the files that it is made of."""

    title: str
    layout: Layout
    licence: str
    files: tuple[RemoteFile, ...]


_DIV2K_HOSTS = (
    "https://data.vision.ee.ethz.ch/cvl/DIV2K",
    "http://data.vision.ee.ethz.ch/cvl/DIV2K",
    "https://huggingface.co/datasets/goodfellowliu/DIV2K/resolve/main",
)
_DIV2K = (  # folder, bytes, SHA-256, images; HRs last, so that a split whose HRs are in place is complete
    ("DIV2K_train_LR_bicubic/X4", 246914039, "f006b837f4eb52b82909aa01478e6d6d199eefce932179491d0c9dbb706dde3a", 800),
    ("DIV2K_valid_LR_bicubic/X4", 31505881, "a50a5d1c4b88de4e8d300d8fb2b904c52fe93b2b298a4899697760d7cbb6d553", 100),
    ("DIV2K_valid_HR", 448993893, "20dd31fd84d777bc1cf5d6b7654a3f569c0aec74458ae094122ad1d0489900fc", 100),
    ("DIV2K_train_HR", 3530603713, "9d0b9c463f6e35b6c62cc6a930ee2224f670b34c1df841a57670f9acf0f6c335", 800),
)
_SELFEXSR = "https://raw.githubusercontent.com/jbhuang0604/SelfExSR/master/data"
_VGG19 = "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
_VGG19_HOSTS = (
    "https://github.com/fchollet/deep-learning-models/releases/download/v0.1",
    "https://storage.googleapis.com/tensorflow/keras-applications/vgg19",
)
_NIQE_URLS = tuple(
    f"https://raw.githubusercontent.com/{repo}/master/basicsr/metrics/niqe_pris_params.npz"
    for repo in ("XPixelGroup/BasicSR", "xinntao/EDVR")
)


def _div2k_file(folder: str, length: int, sha256: str, images: int) -> RemoteFile:
    name = f"{folder.replace('/', '_')}.zip"
    return RemoteFile(
        name=name,
        urls=tuple(f"{host}/{name}" for host in _DIV2K_HOSTS),
        length=length,
        digest=f"sha256:{sha256}",
        folder=folder,
        into=f"DIV2K/{folder}",
        images=images,
        unpacked=length,
    )


_VGG19_FILE = RemoteFile(
    name=f"vgg19/{_VGG19}",
    urls=tuple(f"{host}/{_VGG19}" for host in _VGG19_HOSTS),
    length=80_134_624,
    digest="md5:253f8cb515780f3b799900260a226db6",
)


def _test_set(name: str, count: int) -> Dataset:
    paths = [f"{name}/image_SRF_4/img_{{n}}_SRF_4_{kind}.png" for kind in ("HR", "LR")]
    files = tuple(RemoteFile(name=path, urls=(f"{_SELFEXSR}/{path}",), count=count) for path in paths)
    return Dataset(title=name, layout="test", licence="research use", files=files)


CATALOGUE: Mapping[str, Dataset] = {
    "div2k": Dataset(
        title="DIV2K",
        layout="div2k",
        licence="research use (Agustsson and Timofte 2017)",
        files=tuple(_div2k_file(*row) for row in _DIV2K),
    ),
    "set5": _test_set("Set5", 5),
    "set14": _test_set("Set14", 14),
    "bsd100": _test_set("BSD100", 100),
    "vgg19": Dataset(
        title="VGG19",
        layout="vgg19",
        licence="CC BY 4.0 (Simonyan and Zisserman 2014)",
        files=(_VGG19_FILE,),
    ),
    "niqe": Dataset(
        title="NIQE's pristine model",
        layout="niqe",
        licence="Apache-2.0 (BasicSR)",
        files=(RemoteFile(name="niqe/niqe_pris_params.npz", urls=_NIQE_URLS),),
    ),
}


def pixel_digest(images: Iterable[NDArray[np.uint8]]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of images (H, W, 3) in order: of each, its size and pixels."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(f"{image.shape[0]}x{image.shape[1]}:".encode())
        digest.update(image.tobytes())
    return digest.hexdigest()[:16]


DIGESTS = {"Set5": "b73284a476569a5a", "Set14": "e9c0d65fbb8de0cb", "BSD100": "c6393798d863103d"}
"""`pixel_digest` of the HRs of each test set."""
