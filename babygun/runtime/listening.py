"""Listens on a port, or says in one sentence why that is not possible."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from babygun.errors import SettingsError

if TYPE_CHECKING:  # health checks run every few seconds: this was a quarter of their CPU
    import asyncio

EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 (compared, not bound)
"""The hosts that mean "all addresses"."""

SMALL_SERVER: dict[str, Any] = {
    "auto_decompress": False,
    "keepalive_timeout": 75.0,
    "lingering_time": 1.0,
}
"""For aiohttp's servers of small calls: they inflate no body, and wait for none for long."""

_BACKLOG = 1024  # connections that the kernel keeps while the process is busy


async def listen(
    protocol: Callable[[], asyncio.BaseProtocol],
    host: str,
    port: int,
    *,
    setting: str,
    zero: str,
    shared: bool = False,
) -> asyncio.Server:
    """A server on ``host`` (empty: all addresses) and ``port`` (0: any free one).

    ``shared``: the port is :func:`reserved` for several processes. Raises SettingsError, with the
    name of the port's ``setting`` and with ``zero``, the meaning of port 0.
    """
    from asyncio import get_running_loop

    try:
        return await get_running_loop().create_server(
            protocol,
            host or None,
            port,
            backlog=_BACKLOG,
            reuse_port=shared,
        )
    except OSError as error:
        raise _refusal(error, host, port, setting, zero) from None


@contextmanager
def reserved(host: str, port: int, *, setting: str, zero: str) -> Iterator[int]:
    """Reserves a port for the children of this process while the block runs; yields its number.

    The children :func:`listen` with ``shared``. The kernel spreads new connections over them
    (SO_REUSEPORT); this process gets none. Raises SettingsError as :func:`listen` does.
    """
    with ExitStack() as sockets:
        try:
            for family, kind, protocol, _, address in dict.fromkeys(
                socket.getaddrinfo(
                    host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
                )
            ):
                reserving = sockets.enter_context(socket.socket(family, kind, protocol))
                if family == socket.AF_INET6:
                    reserving.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                # The kernel may still remember connections of the last run.
                reserving.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                reserving.bind((address[0], port, *address[2:]))
                # Shared only after the bind: so it fails if anybody has the port, even shared.
                reserving.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
                reserving.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                port = port or reserving.getsockname()[1]
        except OSError as error:
            raise _refusal(error, host, port, setting, zero) from None
        yield port


def _refusal(error: OSError, host: str, port: int, setting: str, zero: str) -> SettingsError:
    where = f"{host}:{port}"
    if error.errno == errno.EADDRINUSE:
        return SettingsError(
            f"something listens on {where} already;"
            f" stop it, or set {setting} to another port (0: {zero})"
        )
    if error.errno == errno.EACCES:
        return SettingsError(
            f"this user may not listen on {where}; ports below 1024 need more rights"
        )
    return SettingsError(f"can't listen on {where}: {error.strerror or error}")


def base_url(server: asyncio.Server, host: str, *, tls: bool = False) -> str:
    """The URL of a server. ``host``: the one that it was given to listen on."""
    return url_of(host, server.sockets[0].getsockname()[1], tls=tls)


def url_of(host: str, port: int, *, tls: bool = False) -> str:
    """The URL of a host and port; for "all addresses", that of this machine."""
    shown = "127.0.0.1" if host in EVERYWHERE else host
    return f"{'https' if tls else 'http'}://{f'[{shown}]' if ':' in shown else shown}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
