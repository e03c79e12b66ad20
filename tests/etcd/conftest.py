"""An etcd of the test's own, for what can't be done to a shared one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import pytest

from tests.support.etcd_server import EtcdServer, NoEtcd
from tests.support.needs import missing


class OwnEtcd(Protocol):
    def __call__(self, *flags: str, **options: object) -> EtcdServer: ...


@pytest.fixture
def own_etcd() -> Iterator[OwnEtcd]:
    """Makes and starts EtcdServers that end with the test."""
    servers: list[EtcdServer] = []

    def make(*flags: str, **options: object) -> EtcdServer:
        try:
            server = EtcdServer(*flags, **options)  # type: ignore[arg-type]
        except NoEtcd as reason:
            missing(str(reason))
        servers.append(server)
        return server.start()

    yield make
    for server in servers:
        server.stop()


@pytest.fixture
def server(own_etcd: OwnEtcd) -> EtcdServer:
    """One etcd of the test's own."""
    return own_etcd()
