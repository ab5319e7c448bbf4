"""What the pictures of the test sets are: the start of the SHA-256 of each HR's size and pixels, by number.

Made from the x4 files of SelfExSR, which reproduce the paper's control rows. A picture is recognised by them
whatever its file is called and however it is compressed; grey ones count as RGB.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

GREY = {"Set14": frozenset({3})}
"""Pictures whose file is greyscale: they are their own Y when scored."""


def digest(picture: NDArray[np.uint8]) -> str:
    """16 hexadecimal digits for a picture (H, W[, 3])."""
    rgb = np.repeat(picture[..., None], 3, axis=2) if picture.ndim == 2 else picture
    start = f"{rgb.shape[0]}x{rgb.shape[1]}:".encode()
    return hashlib.sha256(start + np.ascontiguousarray(rgb).tobytes()).hexdigest()[:16]


_SET5 = """
1fe18146aabe038a 9fb18c266cceb6da 5106caf626c63fc7 a5ea21a2bb46e824 60864ce51220a55a
"""
_SET14 = """
e4cd04ffe7bd2225 a11adc48ee2b81f2 7d97691d34162f76 01cbba705bcc1ac5 548b7ee79b884e4e
330eebb20fe5d2e1 5da6ef317a4b7491 a4442bd39e74da51 a063464d5f098f02 000207c8458f5600
41768f80d361a3b6 a25456df481f3ae5 d10f94a193a27a88 9fde1556d40b275c
"""
_BSD100 = """
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
"""

DIGESTS: dict[str, tuple[str, ...]] = {
    "Set5": tuple(_SET5.split()),
    "Set14": tuple(_SET14.split()),
    "BSD100": tuple(_BSD100.split()),
}
