"""What comes before HTTP: a load balancer's word about the caller, and TLS.

Load balancers that pass TCP on name the caller before its own bytes. That is the PROXY protocol,
version 2 (HAProxy's doc/proxy-protocol.txt, 2.2): 16 bytes, of which the last two say how many
follow, and then addresses. Only the networks of the setting ``proxy_protocol`` send it, and always
do. Others would name any caller they like.

A connection counts before its TLS: else a caller could hold any number of them open there.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

from aiohttp import web

from babygun.api.http.connection_limits import Admission, ConnectionLimits
from babygun.api.http.server import connection_factory
from babygun.runtime.logs import get_logger
from babygun.runtime.networks import Network, is_in, normal_address
from babygun.runtime.settings import Settings

log = get_logger("api")

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_START = 16  # bytes
_MOST = 4096  # bytes after those
_LOCAL, _PROXY = 0x20, 0x21  # version 2, and whether the balancer speaks for itself
_ADDRESS_BYTES = {0x11: 4, 0x21: 16}  # of TCP over IPv4 and over IPv6
_PATIENCE = 5.0  # s, for the header to arrive
_HANDSHAKE = 10.0  # s, for TLS


def entrance(
    runner: web.AppRunner,
    settings: Settings,
    tls: ssl.SSLContext | None,
    keepalive: float,
    balancers: Sequence[Network] = (),
) -> Callable[[], asyncio.BaseProtocol]:
    """What one listening socket makes of each new connection, after the runner's setup.

    ``keepalive``: seconds that an idle connection stays open.
    """
    limits = ConnectionLimits(
        settings.api_connections,
        settings.api_connections_per_address,
        unlimited=settings.trusted_proxies,
    )
    connection = connection_factory(runner, settings, limits, keepalive)
    if tls is None and not balancers:
        return connection
    return partial(Entrance, limits, connection, tls, balancers)


class Entrance(asyncio.BufferedProtocol):
    """Reads the PROXY header of one connection, and no byte more. Then TLS begins, if there is any.

    Then ``connection`` (called with ``peer`` and ``admission``) has the socket. A connection from
    outside of ``balancers`` has no header.
    """

    def __init__(
        self,
        limits: ConnectionLimits,
        connection: Callable[..., asyncio.Protocol],
        tls: ssl.SSLContext | None,
        balancers: Sequence[Network],
    ) -> None:
        self._limits, self._connection = limits, connection
        self._tls, self._balancers = tls, balancers
        self._header, self._filled = bytearray(_START), 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's do not derive from it
        name = transport.get_extra_info("peername")
        self._peer = normal_address(f"[{name[0]}]") if name else ""
        self._late = asyncio.get_running_loop().call_later(_PATIENCE, self._refuse)
        if not is_in(self._balancers, self._peer):
            self._hand_over(self._peer)

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._header)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        if self._filled < len(self._header):
            return
        header = bytes(self._header)
        following = following_bytes(header)
        if following is None:
            self._refuse()
        elif len(header) < _START + following:
            self._header = bytearray(header + bytes(following))
        else:
            self._hand_over(named_address(header) or self._peer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._late.cancel()

    def _refuse(self) -> None:
        log.warning("proxy header missing", address=self._peer)
        self._transport.abort()

    def _hand_over(self, peer: str) -> None:
        """Gives the socket to a connection, as if it had just been accepted."""
        admission = self._limits.admit(peer)
        if admission.silent:
            self._transport.abort()
            admission.leave()
            return
        self._transport.pause_reading()
        descriptor = os.dup(self._transport.get_extra_info("socket").fileno())
        self._transport.abort()  # closes its own descriptor only
        sock = socket.socket(fileno=descriptor)
        sock.setblocking(False)
        task = asyncio.ensure_future(self._accept(sock, peer, admission))
        _accepting.add(task)
        task.add_done_callback(partial(_accepted, sock, admission))

    async def _accept(self, sock: socket.socket, peer: str, admission: Admission) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                partial(self._connection, peer=peer, admission=admission),
                sock,
                ssl=self._tls,
                ssl_handshake_timeout=_HANDSHAKE if self._tls else None,
            )
        except OSError:  # the caller is gone, or its TLS fails
            admission.leave()
            sock.close()


_accepting: set[asyncio.Task[None]] = set()


def _accepted(sock: socket.socket, admission: Admission, task: asyncio.Task[None]) -> None:
    _accepting.discard(task)
    if task.cancelled():  # the process stops, maybe before the task has begun
        admission.leave()
        sock.close()


def following_bytes(start: bytes) -> int | None:
    """How many bytes of the header follow its first 16; None where it is no such header."""
    count = int.from_bytes(start[14:16], "big")
    known = start.startswith(_SIGNATURE) and start[12] in (_LOCAL, _PROXY) and count <= _MOST
    return count if known else None


def named_address(header: bytes) -> str:
    """The caller that a whole header names; empty where it names none."""
    size = _ADDRESS_BYTES.get(header[13], 0)
    if header[12] == _LOCAL or not size or len(header) < _START + 2 * size + 4:
        return ""
    return normal_address(f"[{ipaddress.ip_address(header[_START : _START + size])}]")
