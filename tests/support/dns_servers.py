"""A real DNS on loopback: Knot has the zones, Unbound resolves. And a server that misbehaves."""

from __future__ import annotations

import asyncio
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import cast

import dns.asyncquery
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from scripts.bench.dns import write_knot
from tests.support.etcd_server import free_ports
from tests.support.needs import missing
from tests.support.processes import PATIENCE, running
from tests.support.streams import listening

_SBIN = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"
_KNOTD = shutil.which("knotd", path=_SBIN)
_UNBOUND = shutil.which("unbound", path=_SBIN)

_UNBOUND_CONF = """\
server:
  directory: "{folder}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  logfile: ""
  verbosity: 1
  interface: 127.0.0.1@{port}
  do-not-query-localhost: no
  module-config: "{modules}"
  num-threads: 1
"""
_STUB = """\
server:
  local-zone: "{zone}" nodefault
stub-zone:
  name: "{zone}"
  stub-addr: {server}
"""


@asynccontextmanager
async def serving(
    zones: Mapping[str, str],
    stubs: Mapping[str, str] | None = None,
    *,
    signed: Collection[str] = (),
) -> AsyncIterator[str]:
    """Starts both. ``zones``: records in zone file form, by the zone's name.

    A zone has its SOA and NS already. ``stubs``: the servers, as ``address@port``, of zones that
    are elsewhere. ``signed``: the zones that Knot signs; Unbound then checks signatures. Yields
    the resolver as ``address@port``.
    """
    if not _KNOTD or not _UNBOUND:
        missing("a test needs a DNS server and a resolver: apt-get install knot unbound")
    authority, resolver = free_dns_ports(2)
    folder = Path(tempfile.mkdtemp(prefix="babygun-dns-"))
    try:
        records = {zone: [text] for zone, text in zones.items()}
        knot = write_knot(folder, authority, records, ttl=60, signed=signed)
        modules = "validator iterator" if signed else "iterator"
        unbound = _UNBOUND_CONF.format(folder=folder, port=resolver, modules=modules)
        for zone in zones:
            unbound += _STUB.format(zone=zone, server=f"127.0.0.1@{authority}")
        for zone, server in (stubs or {}).items():
            unbound += _STUB.format(zone=zone, server=server)
        async with running(_KNOTD, "-c", str(knot)) as knotd:
            await knotd.until("server started")
            for zone in signed:
                anchor = await _anchor(zone, authority)
                unbound += f"server:\n  trust-anchor: '{anchor}'\n"
            (folder / "unbound.conf").write_text(unbound)
            async with running(_UNBOUND, "-d", "-c", str(folder / "unbound.conf")) as unboundd:
                await unboundd.until("start of service")
                yield f"127.0.0.1@{resolver}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _anchor(zone: str, port: int) -> str:
    """The zone's key, once Knot has made it and has signed the zone."""
    query = dns.message.make_query(f"{zone}.", "DNSKEY", want_dnssec=True)
    while True:
        answer = await dns.asyncquery.udp(query, "127.0.0.1", port=port, timeout=PATIENCE)
        found = [each for each in answer.answer if each.rdtype == dns.rdatatype.DNSKEY]
        if len(answer.answer) == 2:  # with its signature
            return found[0].to_text()
        await asyncio.sleep(0.02)


Reply = Callable[[dns.message.QueryMessage, bool], dns.message.Message | None]


@asynccontextmanager
async def scripted(reply: Reply) -> AsyncIterator[str]:
    """A server that answers by a function of the query and whether it came by TCP; None: silence.

    Yields it as ``address@port``.
    """

    class Datagrams(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast(asyncio.DatagramTransport, transport)

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            query = dns.message.from_wire(data)
            assert isinstance(query, dns.message.QueryMessage)
            if (answer := reply(query, False)) is not None:
                self.transport.sendto(answer.to_wire(), addr)

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(2), "big")
        query = dns.message.from_wire(await reader.readexactly(size))
        assert isinstance(query, dns.message.QueryMessage)
        if (answer := reply(query, True)) is not None:
            wire = answer.to_wire()
            writer.write(len(wire).to_bytes(2, "big") + wire)
        await writer.drain()

    loop = asyncio.get_running_loop()
    by_udp, by_tcp = _bound_to_one_port()
    transport, _ = await loop.create_datagram_endpoint(Datagrams, sock=by_udp)
    try:
        async with listening(stream, by_tcp) as port:
            yield f"127.0.0.1@{port}"
    finally:
        transport.close()


def free_dns_ports(count: int) -> list[int]:
    """Ports as :func:`free_ports` gives them, on which nobody listens by UDP either."""
    found: list[int] = []
    while len(found) < count:
        [port] = free_ports(1)
        with suppress(OSError), socket.socket(type=socket.SOCK_DGRAM) as by_udp:
            by_udp.bind(("127.0.0.1", port))
            found.append(port)
    return found


def _bound_to_one_port() -> tuple[socket.socket, socket.socket]:
    """A UDP and a TCP socket on one port that both have free."""
    while True:
        by_udp, by_tcp = socket.socket(type=socket.SOCK_DGRAM), socket.socket()
        by_udp.bind(("127.0.0.1", 0))
        try:
            by_tcp.bind(by_udp.getsockname())
        except OSError:
            by_udp.close()
            by_tcp.close()
        else:
            return by_udp, by_tcp


def failing(query: dns.message.QueryMessage, _by_tcp: bool) -> dns.message.Message:
    """SERVFAIL to all."""
    answer = dns.message.make_response(query)
    answer.set_rcode(dns.rcode.SERVFAIL)
    return answer


def silent(_query: dns.message.QueryMessage, _by_tcp: bool) -> None:
    """Nothing to anybody."""


def truncating(record: str) -> Reply:
    """Answers with a record such as ``60 IN MX 5 mx.example.``, but only by TCP."""

    def reply(query: dns.message.QueryMessage, by_tcp: bool) -> dns.message.Message:
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        if by_tcp:
            ttl, of_class, kind, data = record.split(" ", 3)
            name = query.question[0].name
            answer.answer.append(dns.rrset.from_text(name, int(ttl), of_class, kind, data))
        else:
            answer.flags |= dns.flags.TC
        return answer

    return reply


class Zone:
    """Answers from records that a test may change: ``zone["a.example", "TXT"] = ["text"]``.

    A name with any record exists. TXT values are texts; the server cuts them into strings.
    """

    def __init__(self, records: Mapping[tuple[str, str], list[str]]) -> None:
        self.records = dict(records)

    def __call__(self, query: dns.message.QueryMessage, _by_tcp: bool) -> dns.message.Message:
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        asked = query.question[0]
        name, kind = asked.name.to_text(omit_final_dot=True), dns.rdatatype.to_text(asked.rdtype)
        values = self.records.get((name, kind), [])
        if not any(name == known for known, _ in self.records):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        if values:
            texts = [_zone_text(kind, value) for value in values]
            answer.answer.append(dns.rrset.from_text(asked.name, 60, "IN", kind, *texts))
        return answer


def _zone_text(kind: str, value: str) -> str:
    if kind != "TXT":
        return value
    escaped = [each.replace("\\", "\\\\").replace('"', '\\"') for each in _strings(value)]
    return " ".join(f'"{each}"' for each in escaped)


def _strings(text: str) -> list[str]:
    return [text[at : at + 255] for at in range(0, len(text), 255)] or [""]
