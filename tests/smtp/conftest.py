"""Pools and deliveries, and servers with certificates."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from babygun.errors import BabygunError
from babygun.routing.destination import DEFAULT_CONNECTIONS, Destination, to_relay
from babygun.routing.providers import load_providers
from babygun.routing.server import Server
from babygun.routing.sites import Site
from babygun.smtp import Envelope, SmtpPool, connection, handshake
from babygun.smtp.classifier import Classifier
from babygun.smtp.deadline import Deadline
from babygun.smtp.replies import Reply
from tests.support.certificates import Authority, Pem

MESSAGE = b"From: a@example.org\r\nSubject: Hello\r\n\r\nHello.\r\n"
# A test in which a limit is to pass sets that one alone, or asks ``limits``: a busy process may not
# run for seconds. The others pass in no test.
TIMES: dict[str, Any] = {
    "connect_timeout": 20.0,
    "timeout": 20.0,
    "data_timeout": 20.0,
    "idle": 30.0,
}


@dataclass(frozen=True)
class ToHosts(Destination):
    """A destination with several servers, as a domain has them; without DNS.

    ``error``: raised instead of naming them.
    """

    hosts: Sequence[Server] = ()
    error: BabygunError | None = None

    async def servers(self, *, for_email: str = "") -> AsyncGenerator[Server, None]:
        if self.error is not None:
            raise self.error
        for server in self.hosts:
            yield server


def to_hosts(
    *hosts: Server, name: str = "mx:example.org", error: BabygunError | None = None
) -> ToHosts:
    site = Site("mx:mx1.example.org", load_providers().default, None, shared=False)
    return ToHosts(name, site, name, DEFAULT_CONNECTIONS, hosts=hosts, error=error)


def refuses_ipv6(reply: Reply) -> bool:
    """As the worker asks it."""
    return _RULES.classify(reply, route="mx").reply_class == "ipv6_refused"


_RULES = Classifier.load()


@pytest.fixture(autouse=True)
def quick_quit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most scripts don't answer QUIT."""
    for module in (connection, handshake):
        monkeypatch.setattr(module, "QUIT_TIMEOUT", 0.2)


@pytest.fixture(autouse=True)
def nothing_grows_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections stay idle, and lively, though the process stands still for seconds."""
    monkeypatch.setattr("babygun.smtp.idle_connections.SURPLUS_IDLE", 3600.0)
    monkeypatch.setattr(connection, "LIVELY", 3600.0)


SOON = 0.5  # s


class Limits:
    """The time limits of a test's connections. All are long, until a server has gone silent.

    A limit that is short from the start may pass before, where the process stands still.
    """

    def __init__(self, set_limit: Callable[[Deadline, float], None]) -> None:
        self._set = set_limit
        self._latest: Deadline | None = None
        self._short: set[Deadline] = set()

    def set(self, deadline: Deadline, seconds: float) -> None:
        self._latest = deadline
        self._set(deadline, SOON if deadline in self._short else seconds)

    def pass_soon(self) -> None:
        """The one that was set last passes soon, and so does each later one of its connection."""
        assert self._latest is not None
        self._short.add(self._latest)
        self._set(self._latest, SOON)


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Limits:
    limits = Limits(Deadline.set)
    monkeypatch.setattr(Deadline, "set", lambda deadline, seconds: limits.set(deadline, seconds))
    return limits


def yes() -> bool:
    return True


async def send(
    pool: SmtpPool,
    *recipients: str,
    message: bytes = MESSAGE,
    sender: str = "a@example.org",
    utf8: bool = False,
) -> dict[str, Reply]:
    """Delivers, and returns the replies."""
    outcome = await pool.deliver(
        Envelope(sender, recipients, lambda eight_bit, smtputf8: message, utf8), may_send=yes
    )
    assert set(outcome.replies) == set(recipients)
    return outcome.replies


async def deliver(pool: SmtpPool, recipients: tuple[str, ...]) -> dict[str, Reply]:
    """Sends one e-mail, in as many transactions as the server needs. No recipient has two results.

    The worker does the same (see :mod:`babygun.worker.delivery`).
    """
    replies: dict[str, Reply] = {}
    groups = [recipients]
    while groups:
        outcome = await pool.deliver(
            Envelope("a@example.org", groups.pop(0), lambda eight_bit, smtputf8: MESSAGE),
            may_send=yes,
        )
        assert not replies.keys() & outcome.replies.keys()
        replies |= outcome.replies
        groups[:0] = outcome.parts
    return replies


@pytest.fixture
async def new_pool() -> AsyncIterator[Callable[..., SmtpPool]]:
    """``new_pool(port, …)``: fields of Server and times of SmtpPool, by name.

    The pools are closed at the end.
    """
    pools: list[SmtpPool] = []

    def make(port: int, **given: Any) -> SmtpPool:
        times = {name: given.pop(name, value) for name, value in TIMES.items()}
        most = given.pop("max_connections", DEFAULT_CONNECTIONS)
        server = Server(given.pop("host", "127.0.0.1"), port, **given)
        destination = to_relay("default", server, max_connections=most)
        pools.append(SmtpPool(destination, hostname="sender.example", **times))
        return pools[-1]

    yield make
    for pool in pools:
        await pool.close()


@dataclass(frozen=True)
class Certificates:
    server: ssl.SSLContext  # for localhost and 127.0.0.1
    other_server: ssl.SSLContext  # for other.example
    old_server: ssl.SSLContext  # speaks TLS 1.1 at most
    asking_server: ssl.SSLContext  # wants a certificate of the client
    ca: str  # path of the PEM file that vouches for them


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    authority = Authority(tmp_path_factory.mktemp("certificates"))
    here = authority.sign("here", hosts=("localhost", "127.0.0.1"))
    other = authority.sign("other", hosts=("other.example",))
    old, asking = _server_with(here), _server_with(here)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    asking.load_verify_locations(authority.ca)
    asking.verify_mode = ssl.CERT_REQUIRED
    return Certificates(_server_with(here), _server_with(other), old, asking, str(authority.ca))


def _server_with(pem: Pem) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pem)
    return context
