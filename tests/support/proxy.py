"""A network between a client and a server that a test breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Proxy:
    """Forwards the TCP connections to ``url`` to the server at ``target``, http://host:port."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.url = ""
        self._up = True
        self._passes = asyncio.Event()
        self._passes.set()
        self._left: int | None = None
        self._was_cut = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        """Breaks every connection, and refuses new ones."""
        self._up = False
        self._break_all()

    def mend(self) -> None:
        """Lets everything pass again, also what was held back."""
        self._up = True
        self._passes.set()

    def swallow_answers(self) -> None:
        """Requests still reach the server; its answers are held back."""
        self._passes.clear()

    def cut_after(self, received: int | None) -> None:
        """Breaks all connections once the server has sent so many more bytes; None: never."""
        self._left = received
        self._was_cut.clear()

    async def was_cut(self) -> None:
        """Waits for what :meth:`cut_after` announced."""
        async with asyncio.timeout(20):
            await self._was_cut.wait()

    async def close(self) -> None:
        """Ends all connections."""
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _break_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._was_cut.set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, up to its end."""
        if not self._up:
            writer.transport.abort()
            return
        self._writers.add(writer)
        host, _, port = self.target.removeprefix("http://").rstrip("/").partition(":")
        try:
            behind_reader, behind = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(behind)
        if not self._up:  # cut meanwhile
            behind.transport.abort()
        pumps = [
            asyncio.create_task(self._pump(reader, behind, answers=False)),
            asyncio.create_task(self._pump(behind_reader, writer, answers=True)),
        ]
        self._tasks.update(pumps)
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        for end in (writer, behind):
            end.transport.abort()
        self._writers -= {writer, behind}

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if answers:
                    await self._passes.wait()
                    if self._counts_to_the_cut(len(data)):
                        self._break_all()
                        return
                writer.write(data)
                await writer.drain()

    def _counts_to_the_cut(self, received: int) -> bool:
        if self._left is None:
            return False
        self._left -= received
        if self._left > 0:
            return False
        self._left = None
        return True


@asynccontextmanager
async def proxy_to(target: str) -> AsyncIterator[Proxy]:
    """A proxy on a free port, before the server at ``target``, http://host:port."""
    proxy = Proxy(target)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
