"""A network between the API and etcd that can be cut, or that swallows what etcd answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Proxy:
    """Forwards TCP connections to ``target`` (host, port)."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._up = True
        self._answers = asyncio.Event()
        self._answers.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""

    def cut(self) -> None:
        """Breaks every connection, and refuses new ones."""
        self._up = False
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        self._up = True
        self._answers.set()

    def swallow_answers(self) -> None:
        """Requests still reach etcd; its answers don't come back."""
        self._answers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._up:
            writer.transport.abort()
            return
        self._writers.add(writer)
        behind_reader, behind = await asyncio.open_connection(*self._target)
        self._writers.add(behind)
        if not self._up:  # cut meanwhile
            behind.transport.abort()
        pumps = [
            asyncio.create_task(self._pump(reader, behind, False)),
            asyncio.create_task(self._pump(behind_reader, writer, True)),
        ]
        self._tasks.update(pumps)
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        for end in (writer, behind):
            end.transport.abort()
        self._writers -= {writer, behind}

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: bool
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if answers:
                    await self._answers.wait()
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def proxy_to(endpoint: str) -> AsyncIterator[Proxy]:
    """``endpoint``: etcd's, http://host:port."""
    host, _, port = endpoint.removeprefix("http://").rstrip("/").partition(":")
    proxy = Proxy((host, int(port)))
    server = await asyncio.start_server(proxy._accept, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
        for task in proxy._tasks:
            task.cancel()
        await asyncio.gather(*proxy._tasks, return_exceptions=True)
