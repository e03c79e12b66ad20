"""Fetches the MTA-STS policy of a domain from its policy host (RFC 8461, 3.3).

The domain is a stranger's, and so is what its DNS says. So only public addresses are dialled, no
redirect is followed, and the answer is bounded in size and time.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from babygun.dns import Resolver
from babygun.errors import BabygunError, OutOfResources
from babygun.routing.host_addresses import NoAddress, require_addresses
from babygun.routing.sts import MOST_BYTES, InvalidPolicy, StsPolicy, parse_policy
from babygun.routing.tls_policy import ResultType, Violation
from babygun.runtime.local_faults import is_local_fault
from babygun.runtime.networks import Network
from babygun.runtime.settings import Settings
from babygun.runtime.tls import client_context

_LONGEST = 30.0  # s, for a whole fetch (RFC 8461, 3.3: as long as we like)
_LONGEST_CONNECT = 10.0  # s, for each address
_AT_ONCE = 100  # some that hang must not keep others waiting: without a policy, mail goes
_PATH = "/.well-known/mta-sts.txt"


class FetchFailed(BabygunError):
    """A policy could not be had, or can't be used. ``violation`` says why."""

    def __init__(self, result_type: ResultType, text: str) -> None:
        super().__init__(text)
        self.violation = Violation(result_type, text)


class PolicyFetcher:
    """``resolver``: finds the policy hosts. Close it at the end."""

    def __init__(self, settings: Settings, resolver: Resolver) -> None:
        self._settings = settings
        self._addresses = _PublicAddresses(resolver, settings.allow_networks)
        self._session: aiohttp.ClientSession | None = None
        self._line = asyncio.Semaphore(_AT_ONCE)
        self._opening = asyncio.Lock()

    async def fetch(self, domain: str) -> StsPolicy:
        """The policy of a domain in ASCII. Raises FetchFailed, OutOfResources."""
        host = f"mta-sts.{domain}"
        port = "" if self._settings.sts_port == 443 else f":{self._settings.sts_port}"
        try:
            async with self._line, asyncio.timeout(_LONGEST):
                text = await self._get(f"https://{host}{port}{_PATH}", host)
            return parse_policy(text)
        except InvalidPolicy as error:
            raise FetchFailed("sts-policy-invalid", f"the policy is not valid: {error}") from None
        except (aiohttp.ClientConnectorCertificateError, aiohttp.ClientSSLError) as error:
            why = getattr(error.__cause__, "verify_message", "") or error.__cause__ or error
            text = f"the certificate of {host} is not valid: {why}"
            raise FetchFailed("sts-webpki-invalid", text) from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            if is_local_fault(getattr(error, "errno", None)):
                raise OutOfResources(f"{host} can't be asked: {error}") from error
            raise FetchFailed("sts-policy-fetch-error", f"{host}: {_why(error)}") from None

    async def _get(self, url: str, host: str) -> str:
        session = await self.open()
        async with session.get(url, allow_redirects=False) as answer:
            if answer.status != 200:
                text = f"{host} answered {answer.status}"
                raise FetchFailed("sts-policy-fetch-error", text)
            if answer.content_type != "text/plain":
                text = f"{host} answered with {answer.content_type[:60]}, not with text/plain"
                raise FetchFailed("sts-policy-fetch-error", text)
            data = bytearray()
            async for piece in answer.content.iter_any():
                data += piece
                if len(data) > MOST_BYTES:
                    raise InvalidPolicy(f"it has more than {MOST_BYTES // 1024} KiB")
        return data.decode("utf-8", "replace")

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
                        limit=_AT_ONCE,
                    ),
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=_LONGEST_CONNECT),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    headers={"Accept": "text/plain", "Accept-Encoding": "identity"},
                    auto_decompress=False,
                    trust_env=False,
                )
            return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


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


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(getattr(error, "os_error", None) or error)[:200] or type(error).__name__
