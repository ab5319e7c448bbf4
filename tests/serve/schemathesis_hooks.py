"""What schemathesis needs to know to send pictures: SCHEMATHESIS_HOOKS=tests.serve.schemathesis_hooks."""

import schemathesis
from hypothesis import strategies as st

from srgan.image.files import Image, encode_image
from srgan.serve.service import SUFFIXES
from tests.serve.conftest import drawn

GIF = bytes.fromhex("47494638396101000100800000ffffff00000021f90400000000002c00000000010001000002024401003b")


def pictures(*kinds: str) -> st.SearchStrategy[bytes]:
    """Small pictures that are what their media type says."""

    def make(kind: str, height: int, width: int, seed: int, grey: bool) -> bytes:
        pixels = drawn(height, width, seed=seed, channels=1 if grey else 3)
        return encode_image(Image(pixels=pixels), SUFFIXES[kind])

    sides = st.integers(1, 24)
    return st.builds(make, st.sampled_from(kinds), sides, sides, st.integers(0, 9), st.booleans())


for _kind in SUFFIXES:
    schemathesis.openapi.media_type(f"image/{_kind}", pictures(_kind))
schemathesis.openapi.media_type("image/gif", st.just(GIF))
schemathesis.openapi.media_type("application/octet-stream", pictures("png", "jpeg"))
