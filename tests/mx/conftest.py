"""Three real mail servers and OpenDKIM for all tests; for each a DNS, a worker and a place where
mail ends.
"""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from babygun.runtime.settings import Settings
from tests.mx import exim, opensmtpd, postfix, unpacked
from tests.mx.exim import exim as an_exim
from tests.mx.opendkim import OpenDkim, opendkim
from tests.mx.opensmtpd import opensmtpd as an_opensmtpd
from tests.mx.postfix import postfix as a_postfix
from tests.support.certificates import Authority
from tests.support.dns_servers import failing, scripted, serving
from tests.support.etcd_server import free_ports
from tests.support.rig import Rig, quick, rig_for
from tests.support.smtp_server import MisbehavingServer

OURS = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1"))
NOBODY = "127.0.0.61"  # nothing listens there
# By domain, without .example: where its mail host is. The host of x.example is mx.x.example.
ADDRESSES = {
    "postfix": postfix.PLAIN,
    "postfix-greylisting": postfix.GREYLISTING,
    "postfix-few-connections": postfix.FEW_CONNECTIONS,
    "postfix-few-messages": postfix.FEW_MESSAGES,
    "postfix-dkim": postfix.DKIM,
    "postfix-dkim-7bit": postfix.DKIM_7BIT,
    "postfix-ipv6": postfix.PLAIN_IPV6,
    "exim": exim.PLAIN,
    "exim-greylisting": exim.GREYLISTING,
    "exim-few-connections": exim.FEW_CONNECTIONS,
    "opensmtpd": opensmtpd.PLAIN,
    "opensmtpd-refusing": opensmtpd.REFUSING,
    "opensmtpd-refusing-names": opensmtpd.REFUSING_NAMES,
    "nobody": NOBODY,
}
_MORE = """\
second MX 10 mx.nobody
second MX 20 mx.exim
welcome MX 10 mx.opensmtpd-refusing
welcome MX 20 mx.opensmtpd
named MX 10 mx.opensmtpd-refusing-names
named MX 20 mx.exim
both MX 10 mx.both
mx.both A 127.0.0.31
mx.both AAAA ::1
no-mail MX 0 .
"""
ZONE = "".join(
    f"{name} MX 10 mx.{name}\nmx.{name} {'AAAA' if ':' in address else 'A'} {address}\n"
    for name, address in ADDRESSES.items()
)


class MailServers(NamedTuple):
    """``port``: theirs. ``onward``: the port on 127.0.0.1 where all that they take goes.

    ``ca``: the authority of their certificate, which names all hosts. ``cert``: it, and ``ca``.
    ``bounces``: the port there for bounce messages to ``unpacked.RETURN_PATHS``.
    """

    port: int
    onward: int
    bounces: int
    logs: dict[str, Path]
    opendkim: OpenDkim
    ca: Path
    cert: Path

    def log(self, name: str) -> str:
        return self.logs[name].read_text(errors="replace")


@pytest.fixture(scope="session")
def mail_servers() -> Iterator[MailServers]:
    """Postfix, Exim and OpenSMTPD, on addresses of their own and one port."""
    unpacked.need_servers()
    folder = Path(tempfile.mkdtemp(prefix="babygun-mx-"))  # pytest's is closed to other users
    unpacked.prepare(folder)
    authority = Authority(folder / "ca")
    pem = authority.sign("mx.example", hosts=tuple(f"mx.{name}.example" for name in ADDRESSES))
    with pem.cert.open("ab") as chain:
        chain.write(authority.ca.read_bytes())
    port, (onward, bounces) = _port(), free_ports(2)
    with ExitStack() as running:
        milter = running.enter_context(opendkim(folder))
        logs = {
            name: running.enter_context(start(folder, port, onward, pem.cert, pem.key))
            for name, start in (
                ("postfix", partial(a_postfix, bounces=bounces, milter=milter.port)),
                ("exim", partial(an_exim, bounces=bounces)),
                ("opensmtpd", an_opensmtpd),
            )
        }
        yield MailServers(port, onward, bounces, logs, milter, authority.ca, pem.cert)
    shutil.rmtree(folder, ignore_errors=True)


def _port() -> int:
    """25 for root where all addresses have it free, else any port."""
    if os.geteuid() == 0:
        try:
            with ExitStack() as bound:
                for address in ADDRESSES.values():
                    family = socket.AF_INET6 if ":" in address else socket.AF_INET
                    probe = bound.enter_context(socket.socket(family))
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((address, 25))
                return 25
        except OSError:
            pass
    return free_ports(1)[0]


class World(NamedTuple):
    """One test's surroundings. ``sink``: where mail ends that a mail server took."""

    servers: MailServers
    sink: MisbehavingServer
    rig: Rig
    settings: Settings


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sink(mail_servers: MailServers) -> AsyncIterator[MisbehavingServer]:
    """It lasts for all tests: a mail server that finds it gone waits for a while."""
    async with MisbehavingServer(port=mail_servers.onward) as sink:
        yield sink


NewWorld = Callable[..., AbstractAsyncContextManager[World]]


@pytest.fixture
def new_world(mail_servers: MailServers, sink: MisbehavingServer, settings: Settings) -> NewWorld:
    """Makes a world, with other settings; ``waits``: the retry intervals.

    ``tlsa``: TLSA records of hosts. Then DNS is signed, and its resolver is trusted.
    """

    @asynccontextmanager
    async def new(*, waits: str = "", tlsa: str = "", **changes: Any) -> AsyncIterator[World]:
        async with _a_world(mail_servers, sink, settings, waits, tlsa, changes) as world:
            yield world

    return new


@pytest_asyncio.fixture(loop_scope="session")
async def world(new_world: NewWorld) -> AsyncIterator[World]:
    async with new_world() as world:
        yield world


@asynccontextmanager
async def _a_world(
    servers: MailServers,
    sink: MisbehavingServer,
    settings: Settings,
    waits: str,
    tlsa: str,
    changes: dict[str, Any],
) -> AsyncIterator[World]:
    """All mail goes to its domain's MX hosts. ``broken.example``'s DNS answers SERVFAIL."""
    sink.messages.clear()
    if waits:
        changes["routes"] = {"world": {"mx": True, "retry_intervals": waits}}
    else:
        changes["default"] = "mx"
    async with (
        scripted(failing) as broken,
        serving(
            {"example": ZONE + _MORE + tlsa},
            stubs={"broken.example": broken},
            signed=["example"] if tlsa else [],
        ) as resolver,
    ):
        if tlsa:
            changes["dane_resolver"] = resolver
        given = quick(
            settings,
            {},
            allow_networks=OURS,
            resolvers=(resolver,),
            mx_port=servers.port,
            **changes,
        )
        async with rig_for(given) as rig:
            yield World(servers, sink, rig, given)
