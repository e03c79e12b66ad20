"""An SMTP server that says what a test wrote down, byte for byte, also what no server would."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

EHLO = b"250-scripted.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 1000000\r\n"


class Peer:
    """One connection, seen from the server."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.number = number  # of the connection, from 1
        self.lost = False  # a TLS handshake failed: the end of the connection is not reported

    async def greet(self, ehlo: bytes = EHLO) -> None:
        self.say(b"220 scripted.example\r\n")
        await self.hear("EHLO")
        self.say(ehlo)

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def hear(self, *verbs: str) -> list[str]:
        """The next lines, which must begin with these verbs."""
        lines = [(await self.reader.readuntil(b"\r\n")).decode().rstrip() for _ in verbs]
        assert [line.split(" ")[0] for line in lines] == list(verbs), lines
        return lines

    async def message(self) -> bytes:
        """What follows up to the final dot, with dots as they came."""
        data = b"\r\n" + await self.reader.readuntil(b"\r\n")
        while not data.endswith(b"\r\n.\r\n"):
            data += await self.reader.readuntil(b"\r\n")
        return data[2:-3]

    async def transaction(self, *replies: bytes, after_dot: bytes = b"250 ok\r\n") -> bytes:
        """MAIL, one RCPT, DATA and a message, with the usual replies."""
        await self.hear("MAIL", "RCPT", "DATA")
        for reply in replies or (b"250 ok\r\n250 ok\r\n354 go\r\n",):
            self.say(reply)
        data = await self.message()
        self.say(after_dot)
        return data


class ScriptedServer:
    """``script`` runs for each connection, which ends with it. ``check()`` raises its errors."""

    def __init__(
        self, script: Callable[[Peer], Awaitable[None]], *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self._script, self.host, self.port = script, host, port
        self.connections = 0
        self.errors: list[BaseException] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> ScriptedServer:
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        if error is None and self.errors:
            raise self.errors[0]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        peer = Peer(reader, writer, self.connections)
        try:
            await self._script(peer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client was gone first
        except BaseException as error:
            self.errors.append(error)
        finally:
            self._tasks.discard(task)
            writer.close()
            try:
                if not peer.lost:
                    await writer.wait_closed()
            except (ConnectionError, asyncio.CancelledError):
                pass
