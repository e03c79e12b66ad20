"""An etcd of the test's own, for what can't be done to a shared one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import pytest

from babygun.etcd import EtcdClient, endpoints
from tests.support.etcd_server import EtcdServer, NoEtcd
from tests.support.needs import missing
from tests.support.processes import PATIENCE


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client whose test does not say how long it waits for an answer waits long.

    A machine that stands still for a moment is no etcd that does not answer. And gRPC has time to
    say why there is no connection.
    """
    defaults = EtcdClient.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "timeout", PATIENCE)
    monkeypatch.setattr(endpoints, "_REASON", 20.0)


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
