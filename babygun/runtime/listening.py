"""Listens on an address, or says in one sentence why that can't be."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from babygun.errors import SettingsError

EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 (compared, not bound)
"""The hosts that mean "all addresses"."""

_BACKLOG = 1024  # connections that the kernel keeps while we are busy


async def listen(
    protocol: Callable[[], asyncio.BaseProtocol],
    host: str,
    port: int,
    *,
    setting: str,
    zero: str,
    tls: ssl.SSLContext | None = None,
    shared: bool = False,
) -> asyncio.Server:
    """A server on ``host`` (empty: all addresses) and ``port`` (0: any free one).

    ``shared``: the port is :func:`reserved` for several processes. Raises SettingsError, which names ``setting``, the port's, and ``zero``, what 0 means for it.
    """
    try:
        return await asyncio.get_running_loop().create_server(
            protocol, host or None, port, ssl=tls, backlog=_BACKLOG, reuse_port=shared
        )
    except OSError as error:
        raise _refusal(error, host, port, setting, zero) from None


@contextmanager
def reserved(host: str, port: int, *, setting: str, zero: str) -> Iterator[int]:
    """Keeps a port for :func:`listen` with ``shared``, by this process's children, as long as the block runs; yields its number.

    The kernel then spreads new connections over those that listen (SO_REUSEPORT); this process gets none. Errors as of :func:`listen`.
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
                reserving.setsockopt(
                    socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
                )  # the last run's connections may not be forgotten yet
                reserving.bind((address[0], port, *address[2:]))
                # Shared only from here on: whoever had the port, even to share it, has been met, and whoever asks for it alone meets us.
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
            f"something listens on {where} already; stop it, or set {setting} to another port (0: {zero})"
        )
    if error.errno == errno.EACCES:
        return SettingsError(
            f"this user may not listen on {where}; ports below 1024 need more rights"
        )
    return SettingsError(f"can't listen on {where}: {error.strerror or error}")


def base_url(server: asyncio.Server, host: str, *, tls: bool = False) -> str:
    """Where it can be called. ``host``: the one that was asked for."""
    return url_of(host, server.sockets[0].getsockname()[1], tls=tls)


def url_of(host: str, port: int, *, tls: bool = False) -> str:
    """The same of a host and port: "all addresses" can't be called, this machine's own can."""
    shown = "127.0.0.1" if host in EVERYWHERE else host
    return f"{'https' if tls else 'http'}://{f'[{shown}]' if ':' in shown else shown}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can call what listens on ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
