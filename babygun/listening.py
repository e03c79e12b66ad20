"""Listens on an address, or says in one sentence why that can't be."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import ssl
from collections.abc import Callable

from babygun.errors import SettingsError

EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 (compared, not bound)
"""The hosts that mean "all addresses"."""

_BACKLOG = 1024  # connections that the kernel keeps while we are busy


async def listen(protocol: Callable[[], asyncio.BaseProtocol], host: str, port: int, *, setting: str, zero: str, tls: ssl.SSLContext | None = None) -> asyncio.Server:
    """A server on ``host`` (empty: all addresses) and ``port`` (0: any free one). Raises SettingsError, which names ``setting``, the port's, and ``zero``, what 0 means for it."""
    try:
        return await asyncio.get_running_loop().create_server(protocol, host or None, port, ssl=tls, backlog=_BACKLOG)
    except OSError as error:
        where = f"{host}:{port}"
        if error.errno == errno.EADDRINUSE:
            raise SettingsError(f"something listens on {where} already; stop it, or set {setting} to another port (0: {zero})") from None
        if error.errno == errno.EACCES:
            raise SettingsError(f"this user may not listen on {where}; ports below 1024 need more rights") from None
        raise SettingsError(f"can't listen on {where}: {error.strerror or error}") from None


def base_url(server: asyncio.Server, host: str, *, tls: bool = False) -> str:
    """Where it can be called. ``host``: the one that was asked for; "all addresses" can't be called, this machine's own can."""
    port = server.sockets[0].getsockname()[1]
    shown = "127.0.0.1" if host in EVERYWHERE else host
    return f"{'https' if tls else 'http'}://{f'[{shown}]' if ':' in shown else shown}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can call what listens on ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
