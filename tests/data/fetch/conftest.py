"""A running server and a bench for one download."""

import pytest

from robustft.data.fetch.mirror import MIRROR
from robustft.data.fetch.step import OFFLINE
from tests.data.fetch.bench import Bench
from tests.data.fetch.server import Server


@pytest.fixture
def server():
    with Server() as running:
        yield running


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    proxies = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
    for name in (MIRROR, OFFLINE, "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", *proxies):
        monkeypatch.delenv(name, raising=False)
