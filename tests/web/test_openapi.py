"""The service answers as its OpenAPI description says, whatever schemathesis thinks of sending."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck
from hypothesis import strategies as st

from srgan.picture.files import Picture, encoded
from srgan.web.wish import FORMATS
from tests.web.conftest import Running, drawn

SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "tiff": ".tif", "avif": ".avif"}


def pictures(*kinds: str) -> st.SearchStrategy[bytes]:
    """Small pictures that are what their media type says."""

    def make(kind: str, height: int, width: int, seed: int, grey: bool) -> bytes:
        pixels = drawn(height, width, seed=seed, channels=1 if grey else 3)
        return encoded(Picture(pixels=pixels), SUFFIXES[kind])

    sides = st.integers(1, 24)
    return st.builds(make, st.sampled_from(kinds), sides, sides, st.integers(0, 9), st.booleans())


GIF = bytes.fromhex("47494638396101000100800000ffffff00000021f90400000000002c00000000010001000002024401003b")
for _kind, _media_type in FORMATS.items():
    schemathesis.openapi.media_type(_media_type, pictures(_kind))
schemathesis.openapi.media_type("image/gif", st.just(GIF))
schemathesis.openapi.media_type("application/octet-stream", pictures("png", "jpeg"))


@pytest.fixture(scope="module", params=[None, "a-token-of-this-test"], ids=["open", "token"])
def described(request: pytest.FixtureRequest, run_service: Callable[..., Running]) -> Any:
    """The description as a running service serves it, with and without a token."""
    served = run_service(token=request.param, any_host=True)
    headers = {"Authorization": f"Bearer {request.param}"} if request.param else {}
    document = requests.get(f"{served.url}/openapi.json", headers=headers, timeout=30).json()
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=served.url, headers=headers)
    return schema


schema = schemathesis.pytest.from_fixture("described")


@schema.parametrize()
@hypothesis.settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
def test_the_service_keeps_to_its_description(case: Any) -> None:
    for value in (case.body,):  # a form's picture is a picture, too
        if isinstance(value, dict) and case.media_type == "multipart/form-data" and "picture" in value:
            value["picture"] = GIF
    case.call_and_validate(timeout=60)
