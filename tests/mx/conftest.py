"""Three real mail servers for all tests; a DNS, a place where mail ends, and a worker for each."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from babygun.runtime.settings import Settings
from tests.mx import exim, opensmtpd, postfix, unpacked
from tests.mx.exim import exim as an_exim
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
    """``port``: theirs. ``onward``: the port on 127.0.0.1 where all that they take goes."""

    port: int
    onward: int
    logs: dict[str, Path]

    def log(self, name: str) -> str:
        return self.logs[name].read_text(errors="replace")


@pytest.fixture(scope="session")
def mail_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailServers]:
    """Postfix, Exim and OpenSMTPD, on addresses of their own and one port."""
    unpacked.need_servers()
    folder = tmp_path_factory.mktemp("mx")
    for parent in (folder, *folder.parents[:3]):
        parent.chmod(0o755)  # the servers' processes are other users
    unpacked.prepare(folder)
    pem = Authority(folder / "ca").sign("mx.example")
    port, onward = _port(), free_ports(1)[0]
    with ExitStack() as running:
        logs = {
            name: running.enter_context(start(folder, port, onward, pem.cert, pem.key))
            for name, start in (
                ("postfix", a_postfix),
                ("exim", an_exim),
                ("opensmtpd", an_opensmtpd),
            )
        }
        yield MailServers(port, onward, logs)


def _port() -> int:
    """25 for root where all addresses have it free, else any port."""
    if os.geteuid() == 0:
        try:
            with ExitStack() as bound:
                for address in ADDRESSES.values():
                    family = socket.AF_INET6 if ":" in address else socket.AF_INET
                    bound.enter_context(socket.socket(family)).bind((address, 25))
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


@pytest.fixture
async def world(mail_servers: MailServers, settings: Settings) -> AsyncIterator[World]:
    async with a_world(mail_servers, settings) as world:
        yield world


@asynccontextmanager
async def a_world(servers: MailServers, settings: Settings, **changes: Any) -> AsyncIterator[World]:
    """All mail goes to its domain's MX hosts. ``broken.example``'s DNS answers SERVFAIL."""
    async with (
        MisbehavingServer(port=servers.onward) as sink,
        scripted(failing) as broken,
        serving({"example": ZONE + _MORE}, stubs={"broken.example": broken}) as resolver,
    ):
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
