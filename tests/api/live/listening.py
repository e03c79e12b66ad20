"""Listens to GET /events as a browser's EventSource does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.support.api import RunningApi
from tests.support.processes import PATIENCE, Api


@dataclass(frozen=True)
class Heard:
    event: str
    data: Any
    id: str  # the last id at its time


class Stream:
    """``last_id``: what a browser would come back with. ``events``: all that was heard.

    ``signs``: how often it said that it is alive.
    """

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.last_id = ""
        self.retry = 0
        self.signs = 0
        self.events: list[Heard] = []
        self._lines: list[str] = []

    async def heard(self, within: float = PATIENCE) -> Heard:
        """The next event; raises EOFError at the stream's end."""
        async with asyncio.timeout(within):
            while True:
                line = await self.response.content.readline()
                if not line:
                    raise EOFError
                text = line.decode().rstrip("\n")
                if text:
                    self._lines.append(text)
                elif event := self._dispatched():
                    self.events.append(event)
                    return event

    def _dispatched(self) -> Heard | None:
        lines, self._lines = self._lines, []
        name, data = "message", ""
        for line in lines:
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "id":
                self.last_id = value
            elif field == "retry":
                self.retry = int(value)
            elif field == "event":
                name = value
            elif field == "data":
                data = value
        if name == "alive":
            self.signs += 1
            return None
        return Heard(name, json.loads(data), self.last_id) if data else None

    async def until(self, wanted: Callable[[Heard], bool], within: float = PATIENCE) -> Heard:
        """The first event that is wanted."""
        async with asyncio.timeout(within):
            while not wanted(event := await self.heard(within)):
                pass
            return event

    async def email(
        self,
        email_id: str,
        wanted: Callable[[Any], bool] = lambda _: True,
        within: float = PATIENCE,
    ) -> Any:
        """The first state of an e-mail that is wanted."""
        return (
            await self.until(
                lambda heard: (
                    heard.event == "email" and heard.data["id"] == email_id and wanted(heard.data)
                ),
                within,
            )
        ).data

    async def silent(self, seconds: float = 0.5) -> None:
        """Fails where anything but the overview is heard."""
        try:
            heard = await self.until(lambda heard: heard.event != "overview", seconds)
        except TimeoutError:
            return
        raise AssertionError(f"heard {heard}")

    async def ended(self, within: float = PATIENCE) -> None:
        """Waits for its end."""
        try:
            async with asyncio.timeout(within):
                while True:
                    await self.heard(within)
        except (EOFError, aiohttp.ClientError):
            return

    def told(self, *names: str) -> list[tuple[str, Any]]:
        return [
            (heard.event, heard.data) for heard in self.events if not names or heard.event in names
        ]


@asynccontextmanager
async def listening(
    api: RunningApi | Api,
    query: str = "",
    *,
    token: str | None = None,
    last_id: str = "",
    headers: dict[str, str] | None = None,
) -> AsyncIterator[Stream]:
    """A stream that has begun. Raises AssertionError with the answer where it is refused."""
    if token is None:
        token = api.token
    sent = {
        "Authorization": f"Bearer {token}",
        **({"Last-Event-ID": last_id} if last_id else {}),
        **(headers or {}),
    }
    async with (
        aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None), read_bufsize=1 << 22
        ) as session,
        session.get(f"{api.url}/events{query}", headers=sent) as response,
    ):
        assert response.status == 200, await response.text()
        assert response.headers["Content-Type"] == "text/event-stream"
        stream = Stream(response)
        stream.last_id = last_id
        yield stream


async def enters(api: RunningApi) -> bool:
    """Whether a stream begins now."""
    try:
        async with listening(api):
            return True
    except AssertionError:
        return False
