"""Fixtures that every test may use. One etcd serves the whole run; each test has its own prefix in it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from babygun.etcd import EtcdClient
from babygun.settings import Settings
from tests.etcd_server import Etcd, NoEtcd, shared_etcd


@pytest.fixture(scope="session")
def etcd_server() -> Iterator[Etcd]:
    """The etcd that all tests share: don't kill, pause or fill it; make an EtcdServer of your own for that."""
    try:
        server = shared_etcd().start()
    except NoEtcd as reason:
        pytest.skip(str(reason))
    yield server
    server.stop()


@pytest.fixture
def etcd_prefix() -> str:
    """A prefix that no other test uses, such as ``/t1f2e…/``."""
    return f"/t{secrets.token_hex(6)}/"


@pytest.fixture
def settings(etcd_server: Etcd, etcd_prefix: str) -> Settings:
    """Settings for the shared etcd and this test's prefix."""
    return Settings(etcd_endpoints=(etcd_server.endpoint,), prefix=etcd_prefix)


@pytest.fixture
async def etcd(settings: Settings) -> AsyncIterator[EtcdClient]:
    """A client of the shared etcd."""
    async with EtcdClient.from_settings(settings) as client:
        yield client
