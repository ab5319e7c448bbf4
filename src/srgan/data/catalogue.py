"""The known data sets: where they come from, how they are laid out, how they are verified.

Hashes and lengths of DIV2K are those of TensorFlow
Datasets' checksums.tsv; benchmark.tar's is EDSR's; VGG19's is the one that Keras checks. The test sets are verified
image by image against `DIGESTS`, made from the x4 files of SelfExSR, which reproduce the paper's control rows.
"""

import hashlib
from collections.abc import Mapping
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
    """A data set; each of `sources` is complete, the next is tried when one fails."""

    title: str
    layout: Layout
    licence: str
    sources: tuple[tuple[RemoteFile, ...], ...]
    images: int = 0


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
_BENCHMARK = "https://cv.snu.ac.kr/research/EDSR/benchmark.tar"
_BENCHMARK_DIGEST = "sha256:80c21c333bbf6ceb5308b7243761f8284478274413a97b96f1d63e9045fd93e8"
_VGG19 = "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
_VGG19_HOSTS = (
    "https://github.com/fchollet/deep-learning-models/releases/download/v0.1",
    "https://storage.googleapis.com/tensorflow/keras-applications/vgg19",
)
_NIQE = "basicsr/metrics/niqe_pris_params.npz"


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


def _test_set(name: str, edsr_name: str, images: int, unpacked: int) -> Dataset:
    paths = [f"{name}/image_SRF_4/img_{{n}}_SRF_4_{kind}.png" for kind in ("HR", "LR")]
    selfexsr = tuple(RemoteFile(name=path, urls=(f"{_SELFEXSR}/{path}",), count=images) for path in paths)
    edsr = RemoteFile(
        name="benchmark.tar",
        urls=(_BENCHMARK,),
        length=250_112_000,
        digest=_BENCHMARK_DIGEST,
        folder=f"benchmark/{edsr_name}/HR",
        into=f"{name}/image_SRF_4",
        images=images,
        unpacked=unpacked,
    )
    return Dataset(title=name, layout="test", licence="research use", sources=(selfexsr, (edsr,)), images=images)


CATALOGUE: Mapping[str, Dataset] = {
    "div2k": Dataset(
        title="DIV2K",
        layout="div2k",
        licence="research use (Agustsson and Timofte 2017)",
        images=900,
        sources=(tuple(_div2k_file(*row) for row in _DIV2K),),
    ),
    "set5": _test_set("Set5", "Set5", 5, 5_000_000),
    "set14": _test_set("Set14", "Set14", 14, 20_000_000),
    "bsd100": _test_set("BSD100", "B100", 100, 60_000_000),
    "vgg19": Dataset(
        title="VGG19",
        layout="vgg19",
        licence="CC BY 4.0 (Simonyan and Zisserman 2014)",
        sources=((_VGG19_FILE,),),
    ),
    "niqe": Dataset(
        title="NIQE's pristine model",
        layout="niqe",
        licence="Apache-2.0 (BasicSR)",
        sources=tuple(
            (RemoteFile(name="niqe/niqe_pris_params.npz", urls=(f"https://raw.githubusercontent.com/{repo}/{_NIQE}",)),)
            for repo in ("XPixelGroup/BasicSR/master", "xinntao/EDVR/master")
        ),
    ),
}


GREY = {"Set14": frozenset({3})}
"""Images whose file is grey: they are their own Y when scored."""


def pixel_digest(image: NDArray[np.uint8]) -> str:
    """16 hexadecimal digits for an image (H, W[, 3]): the start of the SHA-256 of its size and pixels, grey as RGB."""
    rgb = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
    start = f"{rgb.shape[0]}x{rgb.shape[1]}:".encode()
    return hashlib.sha256(start + np.ascontiguousarray(rgb).tobytes()).hexdigest()[:16]


DIGESTS: dict[str, tuple[str, ...]] = {
    "Set5": tuple(
        """
1fe18146aabe038a 9fb18c266cceb6da 5106caf626c63fc7 a5ea21a2bb46e824 60864ce51220a55a
""".split()
    ),
    "Set14": tuple(
        """
e4cd04ffe7bd2225 a11adc48ee2b81f2 7d97691d34162f76 01cbba705bcc1ac5 548b7ee79b884e4e
330eebb20fe5d2e1 5da6ef317a4b7491 a4442bd39e74da51 a063464d5f098f02 000207c8458f5600
41768f80d361a3b6 a25456df481f3ae5 d10f94a193a27a88 9fde1556d40b275c
""".split()
    ),
    "BSD100": tuple(
        """
5aad4c485cf12706 e3b94bbccaf5db05 721c1a106c71912c 2e485347ce57f1a4 0a79d3d477da8ffb
43bbf98cc003d395 2320d6057262284a 0555d0d3dadb164a 2491c9d25de641ca 23c642ea3f4bd461
9617c3950bbaba80 e73825cd3a66d425 3fe929625a430813 1d904813cc094b0d 4e125422e766eeb5
a77fad033a61f600 8a881408e968968c 88b0cb5efd2fb0f6 199f662f57def6e1 eff6f36892952522
dbbc3d0c0547bda9 833e5d41b9999725 a8f116118c256f01 256d24dc40b9fb91 6646c61ab531a798
d4b4d9dc41776132 f50599f692a57482 b95d5153d97c4a9a 62097e87eee6843d ef56c2e969479fdd
a7704ab97a2f11bc 30e19bb3004f8a83 c379d785bb984f42 f22414d0fe023c8f 4959efa2f133ee12
e2dc6a0bedba9ed3 ebccd639303a4cbb dc47606593ddc547 e75acff55c364de1 02376e7913344f08
e1272c37d41c3ea1 175dc671a339ec3e 604025a722804316 c5b4a3f6d50488e2 ad3c6d283dec6cbf
bed30fb1c7031b23 e67b45e42cef4f68 be16bdb3b41b5e31 fffa6828f58a30a4 4e282673bf24b210
d89b41859a23dd8a 53562e4f9ac39ac6 0e395db895a84435 180650e0fcb4f3fb 1fee83fea8b53801
e8827aa6b095cfd4 5bc2f45f0294a6e5 592c0ad5ca2fe7f8 2a4d66b2b7ce7d0f 55fc36fc3183180f
40051d2bc146222e 90cb0f67d9338293 23f5ffe0cb0fa13a 8fb285a82786d7d4 1fd4fce10485ff30
6716af1c599a800c 043dfca8c601f446 588c84186105d04f 4e29e78402d57e17 38590ec395761386
0aeb5c53ab34a4de 187d1f6c6d4a1302 79f04494e11efd7e 91f730bf7b0128ef 1430673d9d4589cd
6ddd4eea08097757 b0f5d1671a0387b5 9b90b6ba00352fb8 c3a65fc31c77e527 8094ce72239336a7
f98038b5a8aa7059 011ef4a423ab6498 96827191634e780b 3844c823b31a5213 60b24f16c8fbdfdc
94ea9092f6e31b99 c1f52e63f2c77db2 f8e4284bac973e00 0925d23eb8e8c9ff 9838305301df891b
c72855b2dd5f5504 7427df02cc64fc50 c28cb64ce5a734e5 ae7ffcdb6736c7ad fc808b57202b616a
9d74d705a0d9d7e0 82b1eb5bdd2c61ab ccad76f4833fa815 412225f3099520fd 0a237bbaef88ef64
""".split()
    ),
}
"""`pixel_digest` of each HR of the test sets, by number."""
