"""An HTTPS client for hosts that strangers name: it dials public addresses only.

It keeps no cookies and takes no proxy from the environment. A host that is an IP address is dialled
as it is: callers refuse such a URL, and follow no redirects.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from babygun.dns import Resolver
from babygun.routing.host_addresses import NoAddress, require_addresses
from babygun.runtime.networks import Network
from babygun.runtime.settings import Settings
from babygun.runtime.tls import client_context

_LONGEST_CONNECT = 10.0  # s, for each address


class HttpsSession:
    """``at_once``: connections. ``headers``: of each request. Close it at the end."""

    def __init__(
        self, settings: Settings, resolver: Resolver, *, at_once: int, headers: dict[str, str]
    ) -> None:
        self._settings, self._at_once, self._headers = settings, at_once, headers
        self._addresses = _PublicAddresses(resolver, settings.allow_networks)
        self._session: aiohttp.ClientSession | None = None
        self._opening = asyncio.Lock()

    async def open(self) -> aiohttp.ClientSession:
        """The session, opened when it is first needed. Raises OSError for a CA file."""
        async with self._opening:
            if self._session is None:
                # In a thread, since reading the system's CAs takes a while.
                context = await asyncio.to_thread(client_context, self._settings.sts_ca)
                context.minimum_version = ssl.TLSVersion.TLSv1_2
                self._session = aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(
                        ssl=context,
                        resolver=self._addresses,
                        use_dns_cache=False,
                        force_close=True,
                        limit=self._at_once,
                    ),
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=_LONGEST_CONNECT),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    headers=self._headers,
                    auto_decompress=False,
                    trust_env=False,
                )
            return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def why_failed(error: Exception) -> str:
    """An error of a request, in a few words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(getattr(error, "os_error", None) or error)[:200] or type(error).__name__


class _PublicAddresses(AbstractResolver):
    """Gives aiohttp the addresses that may be dialled, and no others."""

    def __init__(self, resolver: Resolver, allowed: Sequence[Network]) -> None:
        self._resolver, self._allowed = resolver, allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        try:
            found = await require_addresses(self._resolver, host, allowed=self._allowed)
        except NoAddress as error:
            raise OSError(str(error)) from None
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET6 if address.version == 6 else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in found
        ]

    async def close(self) -> None:
        pass
