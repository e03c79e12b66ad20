"""Mail servers on loopback: one that takes mail, and one that means harm."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

OFFERED = 1 << 30  # bytes of a flood
PIECES = {
    "a line without end": b"250 " + b"x" * 65_536,
    "lines without end": b"250-more\r\n" * 6_000,
    "replies to nothing": b"250 ok\r\n" * 8_000,
    "rubbish": bytes(range(256)) * 256,
}
_EHLO = b"250-attack.example\r\n250-PIPELINING\r\n250 SIZE 100000000\r\n"
_Session = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(session: _Session) -> AsyncIterator[int]:
    """A server on a free port of loopback, which it yields. ``session``: one connection."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await session(reader, writer)
        finally:
            tasks.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def polite(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes every e-mail."""
    writer.write(b"220 polite.example\r\n")
    while line := await reader.readline():
        match line[:4].upper():
            case b"EHLO":
                writer.write(_EHLO)
            case b"DATA":
                writer.write(b"354 go\r\n")
                await reader.readuntil(b"\r\n.\r\n")
                writer.write(b"250 taken\r\n")
            case b"QUIT":
                writer.write(b"221 bye\r\n")
            case _:
                writer.write(b"250 ok\r\n")


class Hostile:
    """Each connection does the next of its harms. ``taken``: the most bytes taken of a flood."""

    def __init__(self) -> None:
        self.taken = 0
        self.sessions = 0
        self._harms = itertools.cycle([*PIECES.values(), b"", None])

    async def session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A flood; or a byte every 0.1 s (``b""``); or a server that reads nothing (None)."""
        harm = next(self._harms)
        self.sessions += 1
        writer.write(b"220 hostile.example\r\n")
        await reader.readuntil(b"\r\n")
        writer.write(_EHLO)
        await reader.readuntil(b"\r\n")
        if harm is None:
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.Event().wait()
        while not harm:
            writer.write(b"2")
            await writer.drain()
            await asyncio.sleep(0.1)
        taken = 0
        while taken < OFFERED:
            writer.write(harm)
            await writer.drain()
            taken += len(harm)
            self.taken = max(self.taken, taken)
