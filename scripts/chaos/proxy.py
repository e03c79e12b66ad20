"""A network between two parts of the stage, which a fault breaks. It knows nothing of protocols."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

_PIECE = 65536  # bytes


class Proxy:
    """Forwards the TCP connections to ``port`` of loopback to ``target``, another port of it.

    ``lets_in``: asked for each new connection, by the caller's port; else it is broken.
    """

    def __init__(
        self, port: int, target: int, lets_in: Callable[[int], bool] | None = None
    ) -> None:
        self.port, self.target = port, target
        self.lets_in = lets_in or (lambda caller: True)
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._delay = self._answer_delay = self._drip = 0.0
        self._requests, self._answers = asyncio.Event(), asyncio.Event()
        self._requests.set()
        self._answers.set()

    async def start(self) -> None:
        """Listens, unless it does already."""
        if self._server is None:
            self._server = await asyncio.start_server(
                self._accept, "127.0.0.1", self.port, limit=_PIECE
            )

    async def stop(self) -> None:
        """Ends all connections."""
        await self.refuse()
        await asyncio.gather(*(each.task for each in self._connections), return_exceptions=True)

    def cut(self, which: Callable[[int], bool] | None = None) -> None:
        """Breaks the connections that are there (of the callers' ports that ``which`` names)."""
        for each in list(self._connections):
            if which is None or which(each.caller):
                each.task.cancel()

    def cut_refused(self) -> None:
        """Breaks the connections that would not be let in now."""
        self.cut(lambda caller: not self.lets_in(caller))

    async def refuse(self) -> None:
        """Breaks every connection, and refuses new ones, as if nobody listened."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self.cut()

    def hang(self) -> None:
        """Takes new connections, and lets nothing pass on any of them."""
        self.swallow_requests()
        self.swallow_answers()

    def swallow_requests(self) -> None:
        """What callers send is held back."""
        self._requests.clear()

    def swallow_answers(self) -> None:
        """Requests still arrive; the answers to them are held back."""
        self._answers.clear()

    def slow(self, seconds: float, *, answers_only: bool = False) -> None:
        """Delays each piece by so long, either way."""
        self._delay = 0.0 if answers_only else seconds
        self._answer_delay = seconds

    def drip(self, seconds: float) -> None:
        """Answers come byte by byte, so many seconds apart."""
        self._drip = seconds

    async def mend(self, *, late: bool = False) -> None:
        """Lets everything pass again.

        What was held back is lost with its connection, or, if ``late``, arrives now.
        """
        self._delay = self._answer_delay = self._drip = 0.0
        if not late and not (self._requests.is_set() and self._answers.is_set()):
            self.cut()
            await asyncio.sleep(0)  # they end before anything passes
        self._requests.set()
        self._answers.set()
        await self.start()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        caller: int = (writer.get_extra_info("peername") or ("", 0))[1]
        connection = _Connection(asyncio.current_task(), caller)
        self._connections.add(connection)
        try:
            # A cancel means that it is cut. The server's own task must not end as cancelled.
            with suppress(OSError, asyncio.CancelledError):
                if self._server is not None and self.lets_in(caller):
                    await self._forward(reader, writer)
        finally:
            writer.transport.abort()
            self._connections.discard(connection)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._requests.wait()
        behind_reader, behind = await asyncio.open_connection("127.0.0.1", self.target)
        pumps = [
            asyncio.create_task(self._pump(reader, behind, self._requests)),
            asyncio.create_task(self._pump(behind_reader, writer, self._answers)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            behind.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passes: asyncio.Event
    ) -> None:
        with suppress(OSError):
            answers = passes is self._answers
            while data := await reader.read(1 if self._drip and answers else _PIECE):
                if pause := (self._drip or self._answer_delay) if answers else self._delay:
                    await asyncio.sleep(pause)
                await passes.wait()
                writer.write(data)
                await writer.drain()


class _Connection:
    def __init__(self, task: asyncio.Task[None] | None, caller: int) -> None:
        assert task is not None
        self.task, self.caller = task, caller
