"""A mail server with limits that watches: who sends, how often, how many at once."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass, field


@dataclass
class Seen:
    """What came. ``messages``: when each came, and who sent it, by the name in EHLO."""

    messages: list[tuple[float, str]] = field(default_factory=list)
    recipients: set[str] = field(default_factory=set)
    open: dict[int, str] = field(default_factory=dict)  # connections, with the name in EHLO
    most_open: int = 0
    crowds: list[tuple[float, list[str]]] = field(default_factory=list)  # when there were most

    def most_within(self, seconds: float) -> int:
        """The most messages in any so many seconds."""
        times = sorted(at for at, _ in self.messages)
        most = first = 0
        for last, at in enumerate(times):
            while times[first] <= at - seconds:
                first += 1
            most = max(most, last - first + 1)
        return most


class LimitedSite:
    """The server, in a thread of its own. ``ignored``: names whose connections do not count.

    A paused worker can't close its connections, so they are left out while it is paused.
    """

    def __init__(self, address: str) -> None:
        self._address, self._loop = address, asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.seen, self.ignored = Seen(), set[str]()
        self.port = 0

    def start(self, port: int) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(port), self._loop).result(10)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self, port: int) -> None:
        self._server = await asyncio.start_server(self._serve, self._address, port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        sessions = asyncio.all_tasks() - {asyncio.current_task()}
        for session in sessions:
            session.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = id(writer)
        try:
            await self._talk(number, reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.seen.open.pop(number, None)
            writer.close()

    async def _talk(
        self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._opened(number, "")
        writer.write(b"220 limited ESMTP\r\n")
        recipient = ""
        while line := (await reader.readline()).decode(errors="replace").strip():
            verb, reply = line[:4].upper(), "250 2.0.0 ok"
            if verb in ("EHLO", "HELO"):
                self._opened(number, line[5:])
            elif verb == "RCPT":
                recipient = line.partition("<")[2].partition(">")[0]
            elif verb == "DATA":
                writer.write(b"354 go ahead\r\n")
                await reader.readuntil(b"\r\n.\r\n")
                self.seen.messages.append((time.monotonic(), self.seen.open[number]))
                self.seen.recipients.add(recipient)
            elif verb == "QUIT":
                return
            writer.write(f"{reply}\r\n".encode())

    def _opened(self, number: int, name: str) -> None:
        self.seen.open[number] = name
        counted = [each for each in self.seen.open.values() if each not in self.ignored]
        if len(counted) > self.seen.most_open:
            self.seen.most_open = len(counted)
            self.seen.crowds.append((time.monotonic(), counted))
