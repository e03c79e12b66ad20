"""The command line's way to the API: over HTTP, with a token for the configured client."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import aiohttp

from babygun.cli.local import START_IT, dev_json
from babygun.errors import BabygunError, SettingsError
from babygun.runtime import settings

T = TypeVar("T")
_TIMEOUT = aiohttp.ClientTimeout(total=60)


class Remote:
    """The API, spoken to as one client."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url
        self.token = ""

    async def call(self, method: str, path: str, **arguments: Any) -> Any:
        """One call; returns the answer's JSON. Raises BabygunError with what the API says is wrong."""
        headers = {
            **arguments.pop("headers", {}),
            **({"Authorization": f"Bearer {self.token}"} if self.token else {}),
        }
        try:
            async with self._session.request(
                method, self._url + path, headers=headers, **arguments
            ) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise BabygunError(
                f"{self._url} does not answer: {error or type(error).__name__}"
            ) from None
        try:
            value = json.loads(text) if text else None
        except ValueError:
            raise BabygunError(
                f"{self._url}{path} answered {answer.status} with no JSON: is that Babygun's API?"
            ) from None
        if answer.status >= 400:
            problem = value if isinstance(value, dict) else {}
            field = f" ({problem['field']})" if problem.get("field") else ""
            raise BabygunError(
                f"{problem.get('detail') or problem.get('title') or answer.reason}{field}"
            )
        return value


def _trust(ca: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca or None)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"api_ca: {ca} can't be used: {getattr(error, 'strerror', None) or error}"
        ) from None


def call_api(work: Callable[[Remote], Awaitable[T]]) -> T:
    """Runs ``work`` with a connection to the API that has its token."""
    return asyncio.run(_call_api(work))


async def _call_api(work: Callable[[Remote], Awaitable[T]]) -> T:
    loaded = settings.load()
    found = dev_json()
    scheme = "https" if loaded.api_cert else "http"
    url = (
        loaded.api_url or found.get("api_url") or f"{scheme}://{loaded.api_host}:{loaded.api_port}"
    ).rstrip("/")
    client_id, secret = (
        loaded.client_id or found.get("client_id"),
        loaded.client_secret or found.get("client_secret"),
    )
    if not client_id and not secret:
        raise SettingsError(
            f"no babygun dev runs in this folder, and no API client is set: {START_IT}; for another API, set BABYGUN_API_URL, BABYGUN_CLIENT_ID and BABYGUN_CLIENT_SECRET"
        )
    if not client_id or not secret:
        raise SettingsError("BABYGUN_CLIENT_ID and BABYGUN_CLIENT_SECRET go together: set both")
    ca = loaded.api_ca or found.get("api_ca") or ""
    async with aiohttp.ClientSession(
        timeout=_TIMEOUT, connector=aiohttp.TCPConnector(ssl=_trust(ca))
    ) as session:
        remote = Remote(session, url)
        answer = await remote.call(
            "POST", "/tokens", json={"client_id": client_id, "client_secret": secret}
        )
        remote.token = answer["token"]
        return await work(remote)
