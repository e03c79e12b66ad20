"""Sends a TLS report by https: POST to the URL that the domain names (RFC 8460, 5.4)."""

from __future__ import annotations

import asyncio

import aiohttp

from babygun.dns import Resolver
from babygun.errors import BabygunError
from babygun.runtime.settings import Settings
from babygun.tls_policies.https_session import HttpsSession, why_failed
from babygun.tls_reports.report import MEDIA_TYPE

_LONGEST = 30.0  # s, for a whole request
_AT_ONCE = 20


class NotPosted(BabygunError):
    """A report was not taken, for the reason in the text."""


class Poster:
    """Close it at the end."""

    def __init__(self, settings: Settings, resolver: Resolver) -> None:
        headers = {"Content-Type": MEDIA_TYPE}
        self._https = HttpsSession(settings, resolver, at_once=_AT_ONCE, headers=headers)

    async def post(self, url: str, packed: bytes) -> None:
        """``packed``: the report, compressed. Raises NotPosted."""
        try:
            session = await self._https.open()
            async with (
                asyncio.timeout(_LONGEST),
                session.post(url, data=packed, allow_redirects=False) as answer,
            ):
                if not 200 <= answer.status < 300:
                    raise NotPosted(f"the server answered {answer.status}")
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise NotPosted(why_failed(error)) from None

    async def close(self) -> None:
        await self._https.close()
