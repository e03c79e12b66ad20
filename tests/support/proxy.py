"""A network between a client and a server that a test breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.support.processes import PATIENCE


class Proxy:
    """Forwards the TCP connections to ``url`` to the server at ``target``, http://host:port."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.url = ""
        self._up = True
        self._passes = asyncio.Event()
        self._passes.set()
        self.late_by = 0.0  # s, for each answer
        self._left: int | None = None
        self._was_cut = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._connections: set[asyncio.Task[None]] = set()
        self._pumps: set[asyncio.Task[None]] = set()

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
        async with asyncio.timeout(PATIENCE):
            await self._was_cut.wait()

    async def close(self) -> None:
        """Ends all connections, and waits for their ends."""
        self.cut()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _break_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
        self._was_cut.set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, up to its end."""
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        try:
            if self._up:
                await self._forward(reader, writer)
        finally:
            await self._end(writer)
            self._connections.discard(connection)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        host, _, port = self.target.removeprefix("http://").rstrip("/").partition(":")
        try:
            behind_reader, behind = await asyncio.open_connection(host, int(port))
        except OSError:
            return
        self._writers.add(behind)
        pumps = [
            asyncio.create_task(self._pump(reader, behind, answers=False)),
            asyncio.create_task(self._pump(behind_reader, writer, answers=True)),
        ]
        self._pumps.update(pumps)
        try:
            if self._up:  # else it was cut meanwhile
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            self._pumps.difference_update(pumps)
            await self._end(behind)

    async def _end(self, writer: asyncio.StreamWriter) -> None:
        self._writers.discard(writer)
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()

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
                    if self.late_by:
                        asyncio.get_running_loop().call_later(self.late_by, writer.write, data)
                        continue
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
