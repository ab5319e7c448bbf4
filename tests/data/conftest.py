from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.data.servers import Site, serving


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A local server in the real hosts' place, reached without a proxy."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as site:
        yield site
