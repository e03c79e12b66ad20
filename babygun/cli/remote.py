"""The API as the commands call it: over HTTP, with a token for the client that is set."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp

from babygun.cli.local import START_ONE, dev_json
from babygun.errors import BabygunError, SettingsError
from babygun.runtime import settings
from babygun.runtime.tls import client_context

T = TypeVar("T")
_TIMEOUT = aiohttp.ClientTimeout(total=60)
_WAIT = 30.0  # for a change of an e-mail, in one call


class ApiUnavailable(BabygunError):
    """The API does not answer, or not now: the same call may succeed later."""


class Remote:
    """The API, called by one client. ``token`` goes with each call; empty for none."""

    def __init__(self, session: aiohttp.ClientSession, url: str, client_id: str) -> None:
        self._session, self._url, self.client_id = session, url, client_id
        self.token = ""

    async def call(self, method: str, path: str, **arguments: Any) -> Any:
        """Calls the API; returns the JSON of the answer.

        Raises BabygunError with the error that the API answers, and ApiUnavailable if it does not.
        """
        headers = dict(arguments.pop("headers", {}))
        try:
            async with self._session.request(
                method, self._url + path, headers=self._with_token(headers), **arguments
            ) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._away(error) from None
        return self._value(answer, path, text)

    async def stream(self, path: str) -> AsyncIterator[bytes]:
        """The body of an answer to GET, in pieces. Raises as :meth:`call` does."""
        timeout = aiohttp.ClientTimeout(sock_read=60)
        try:
            async with self._session.get(
                self._url + path, headers=self._with_token({}), timeout=timeout
            ) as answer:
                if answer.status >= 400:
                    self._value(answer, path, await answer.text())
                async for data in answer.content.iter_any():
                    yield data
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._away(error) from None

    def _with_token(self, headers: dict[str, str]) -> dict[str, str]:
        return headers | ({"Authorization": f"Bearer {self.token}"} if self.token else {})

    def _away(self, error: Exception) -> ApiUnavailable:
        reason = str(error) or type(error).__name__
        return ApiUnavailable(f"{self._url} does not answer: {reason}")

    def _value(self, answer: aiohttp.ClientResponse, path: str, text: str) -> Any:
        """The JSON of an answer. Raises the error that it may be."""
        try:
            value = json.loads(text) if text else None
        except ValueError:
            raise BabygunError(
                f"{self._url}{path} answered {answer.status} without JSON: is that Babygun's API?"
            ) from None
        if answer.status >= 400:
            problem = value if isinstance(value, dict) else {}
            field = f" ({problem['field']})" if problem.get("field") else ""
            detail = problem.get("detail") or problem.get("title") or answer.reason
            kind = ApiUnavailable if answer.status in (429, 503) else BabygunError
            raise kind(f"{detail}{field}")
        return value

    async def insist(self, method: str, path: str, **arguments: Any) -> Any:
        """As :meth:`call`, and again while the API is away for a moment.

        For calls that do no harm when they are repeated. A body must be bytes or JSON: a stream is
        at its end after the first call.
        """
        for pause in (0.2, 1, 2, 4, 8, 16):
            try:
                return await self.call(method, path, **arguments)
            except ApiUnavailable:
                await asyncio.sleep(pause)
        return await self.call(method, path, **arguments)

    async def final(self, email_id: str, patience: float) -> dict[str, Any]:
        """The e-mail, once its status is final, or as it is after ``patience`` seconds."""
        end = time.monotonic() + patience
        while True:
            wait = max(0.0, min(_WAIT, end - time.monotonic()))
            email: dict[str, Any] = await self.call(
                "GET", f"/emails/{quote(email_id, safe='')}", params={"wait": f"{wait:.3f}s"}
            )
            if email["status"] != "incomplete" or not wait:
                return email


def call_api(work: Callable[[Remote], Awaitable[T]]) -> T:
    """Runs ``work`` with a :class:`Remote` that has a token."""
    return asyncio.run(_call_api(work))


async def _call_api(work: Callable[[Remote], Awaitable[T]]) -> T:
    loaded, found = settings.load(), dev_json()
    own = f"{'https' if loaded.api_cert else 'http'}://{loaded.api_host}:{loaded.api_port}"
    url = (loaded.api_url or found.get("api_url") or own).rstrip("/")
    client_id = loaded.client_id or found.get("client_id")
    secret = loaded.client_secret or found.get("client_secret")
    if not client_id and not secret:
        raise SettingsError(
            f"don't know which API to use: {START_ONE},"
            " or set BABYGUN_API_URL, BABYGUN_CLIENT_ID and BABYGUN_CLIENT_SECRET"
        )
    if not client_id or not secret:
        raise SettingsError("BABYGUN_CLIENT_ID and BABYGUN_CLIENT_SECRET go together: set both")
    connector = aiohttp.TCPConnector(ssl=_trust(loaded.api_ca or found.get("api_ca") or ""))
    async with aiohttp.ClientSession(timeout=_TIMEOUT, connector=connector) as session:
        remote = Remote(session, url, client_id)
        credentials = {"client_id": client_id, "client_secret": secret}
        remote.token = (await remote.call("POST", "/tokens", json=credentials))["token"]
        return await work(remote)


def _trust(ca: str) -> ssl.SSLContext:
    """``ca``: a PEM file; empty for the system's authorities."""
    try:
        return client_context(ca)
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"api_ca: {ca} can't be used: {reason}") from None
