"""The API in this process, called over HTTP as a client does."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import aiohttp

from babygun.api.app import serve_until
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.access.clients import create_client
from babygun.store.records import Client, Scope
from tests.support.processes import PATIENCE
from tests.support.scraping import Scraped

EMAIL: dict[str, Any] = {
    "sender": "shop@example.com",
    "to": "ann@example.org",
    "subject": "Hello",
    "body": "Hi Ann\n",
}
SEND_AND_READ: tuple[Scope, ...] = ("emails:send", "emails:read")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Any
    text: str
    json: Any

    def problem(self, status: int, slug: str, field: str | None = None) -> Any:
        """The problem document, whose shape and kind are checked."""
        assert (self.status, self.json.get("type")) == (status, f"urn:babygun:problem:{slug}"), (
            self.text
        )
        assert self.headers["Content-Type"] == "application/problem+json"
        assert self.json["status"] == status
        assert self.json["title"]
        assert self.json["detail"].endswith((".", "?", "…"))
        assert self.json["request_id"] == self.headers["X-Request-Id"]
        assert self.json.get("field") == field, self.text
        return self.json


class RunningApi:
    """One API process's worth of API, called as a client would."""

    def __init__(
        self, url: str, session: aiohttp.ClientSession, store: Store, stop: asyncio.Event
    ) -> None:
        self.url, self.stop, self._session, self._store = url, stop, session, store
        self.token = ""

    async def call(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        headers: dict[str, str] | None = None,
        content_type: str | None = None,
        **arguments: Any,
    ) -> Answer:
        """``token``: None for the usual one, "" for none."""
        sent = dict(headers or {})
        if content_type:
            sent["Content-Type"] = content_type
        if token is None:
            token = self.token
        if token:
            sent.setdefault("Authorization", f"Bearer {token}")
        async with self._session.request(
            method, self.url + path, headers=sent, allow_redirects=False, **arguments
        ) as response:
            text = await response.text()
            value = (
                json.loads(text)
                if text and re.search("[/+]json", response.headers.get("Content-Type", ""))
                else None
            )
            assert response.headers["X-Request-Id"]
            return Answer(response.status, response.headers, text, value)

    async def send(
        self, token: str | None = None, http_headers: dict[str, str] | None = None, **changes: Any
    ) -> Answer:
        """POST /emails of a good e-mail with some fields changed; None leaves one out."""
        email = {name: value for name, value in (EMAIL | changes).items() if value is not None}
        return await self.call(
            "POST",
            "/emails",
            token=token,
            headers=http_headers,
            data=BytesIO(json.dumps(email).encode()),
            content_type="application/json",
        )

    async def accepted(self, token: str | None = None, **changes: Any) -> str:
        """The id of a new e-mail."""
        answer = await self.send(token, **changes)
        assert answer.status == 202, answer.text
        return str(answer.json["id"])

    async def taken(self, http_headers: dict[str, str] | None = None, **changes: Any) -> Answer:
        """The answer with which an e-mail is taken; until then it is sent again and again.

        For an API with little patience, while etcd is back and may be slow.
        """
        async with asyncio.timeout(PATIENCE):
            while (answer := await self.send(http_headers=http_headers, **changes)).status != 202:
                assert answer.status == 503, answer.text
                await asyncio.sleep(0.02)
        return answer

    async def metrics(self) -> Scraped:
        """What GET /metrics answers."""
        answer = await self.call("GET", "/metrics", token="")
        assert (answer.status, answer.headers["Content-Type"]) == (
            200,
            "text/plain; version=0.0.4; charset=utf-8",
        ), answer.text
        return Scraped(answer.text)

    async def client(self, *scopes: Scope, rate: float | None = None) -> tuple[Client, str]:
        return await create_client(
            self._store, name="test", scopes=scopes or SEND_AND_READ, rate=rate
        )

    async def token_for(self, *scopes: Scope, rate: float | None = None) -> str:
        """A token of a new client."""
        return await self.token_of(*await self.client(*scopes, rate=rate))

    async def token_of(self, client: Client, secret: str) -> str:
        """A token of this client."""
        async with asyncio.timeout(PATIENCE):
            while True:
                answer = await self.call(
                    "POST", "/tokens", token="", headers=basic(client.id, secret)
                )
                if answer.status == 200:
                    return str(answer.json["token"])
                # It has not read the keys yet, or etcd takes longer than its patience.
                assert answer.status == 503, answer.text
                await asyncio.sleep(0.02)


def basic(client_id: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


@asynccontextmanager
async def running(settings: Settings, store: Store) -> AsyncIterator[RunningApi]:
    """The API, answering and (where etcd is up) ready to verify tokens."""
    url: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    task = asyncio.create_task(serve_until(settings, started=url.set_result, stop=stop))
    try:
        await asyncio.wait({url, task}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        trusted = ssl.create_default_context(cafile=settings.api_ca) if settings.api_ca else True
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=trusted), timeout=aiohttp.ClientTimeout(total=100)
        ) as session:
            yield RunningApi(await url, session, store, stop)
    finally:
        stop.set()
        await task


async def until_ready(api: RunningApi) -> None:
    async with asyncio.timeout(PATIENCE):
        while (await api.call("GET", "/readyz", token="")).status != 200:  # noqa: ASYNC110 (another process's state)
            await asyncio.sleep(0.02)


StartApi = Callable[..., Awaitable[RunningApi]]


def fields_of(problem: dict[str, Any]) -> Sequence[str]:
    return [error["field"] for error in problem["errors"]]
