"""A server of byte streams that leaves no connection behind."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

Session = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(session: Session, bound: socket.socket | None = None) -> AsyncIterator[int]:
    """A server on a free port of loopback, or on a socket that is bound. Yields the port.

    ``session``: one connection, which ends with it. At the end of the block all are ended. A
    connection that stayed open would make a later test fail, by Python's warning.
    """
    sessions: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        sessions.add(task)
        try:
            # The server's own task must not end as cancelled.
            with suppress(OSError, EOFError, asyncio.CancelledError):
                await session(reader, writer)
                writer.close()
                await writer.wait_closed()  # what was written goes out
        finally:
            writer.transport.abort()
            sessions.discard(task)

    bound = bound or socket.create_server(("127.0.0.1", 0))
    server = await asyncio.start_server(serve, sock=bound)
    try:
        yield bound.getsockname()[1]
    finally:
        server.close()
        ending = [*sessions]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
