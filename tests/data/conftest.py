from collections.abc import Iterator

import pytest

from srgan.data import download
from tests.data.servers import Site, serving


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A local server in the real hosts' place, reached without a proxy and asked again at once."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for name, value in {"TRIES": 3, "PAUSE": 0.001, "LONGEST_PAUSE": 0.01, "TIMEOUT": 5.0}.items():
        monkeypatch.setattr(download, name, value)
    with serving() as site:
        yield site
