"""Fetches the MTA-STS policy of a domain from its policy host (RFC 8461, 3.3).

The domain is a stranger's, and so is what its DNS says. So only public addresses are dialled, no
redirect is followed, and the answer is bounded in size and time.
"""

from __future__ import annotations

import asyncio

import aiohttp

from babygun.dns import Resolver
from babygun.errors import BabygunError, OutOfResources
from babygun.routing.sts import MOST_BYTES, InvalidPolicy, StsPolicy, parse_policy
from babygun.routing.tls_policy import ResultType, Violation
from babygun.runtime.local_faults import is_local_fault
from babygun.runtime.settings import Settings
from babygun.tls_policies.https_session import HttpsSession, why_failed

_LONGEST = 30.0  # s, for a whole fetch (RFC 8461, 3.3: as long as we like)
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
        self.https = HttpsSession(
            settings,
            resolver,
            at_once=_AT_ONCE,
            headers={"Accept": "text/plain", "Accept-Encoding": "identity"},
        )
        self._line = asyncio.Semaphore(_AT_ONCE)

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
            raise FetchFailed("sts-policy-fetch-error", f"{host}: {why_failed(error)}") from None

    async def _get(self, url: str, host: str) -> str:
        session = await self.https.open()
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

    async def close(self) -> None:
        await self.https.close()
