"""A receiver of webhooks that costs little: ``python -m scripts.bench.webhook_receiver``.

It prints its port. Then it answers each line of its input with a line: ``reset`` forgets all,
``count`` gives counts as JSON. Requests to ``/hang…`` get no answer, all others 200.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import cast

import uvloop

_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_ID = b"webhook-id: "
_LENGTH = b"Content-Length: "


class Counts:
    """``seen``: webhook ids, each with the path that it came to. Times are monotonic."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self.requests = self.hanging = 0
        self.last = 0.0

    def line(self) -> str:
        return json.dumps(
            {
                "distinct": len(self.seen),
                "requests": self.requests,
                "hanging": self.hanging,
                "last": self.last,
                "now": time.monotonic(),
            }
        )


class Receiver(asyncio.Protocol):
    def __init__(self, counts: list[Counts]) -> None:
        self._counts = counts
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._data[:end]
        if len(self._data) < end + 4 + int(_field(head, _LENGTH)):
            return
        self._data = b""
        [counts] = self._counts
        counts.requests += 1
        path = head[5 : head.index(b" ", 5)]
        if path.startswith(b"/hang"):
            counts.hanging += 1
            return
        counts.seen.add(path + _field(head, _ID))
        counts.last = time.monotonic()
        self._transport.write(_OK)


def _field(head: bytes, name: bytes) -> bytes:
    start = head.index(name) + len(name)
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else len(head)]


async def _main() -> None:
    loop, counts = asyncio.get_running_loop(), [Counts()]
    server = await loop.create_server(lambda: Receiver(counts), "127.0.0.1", 0, backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        if line.strip() == b"reset":
            counts[0] = Counts()
        print(counts[0].line(), flush=True)


if __name__ == "__main__":
    uvloop.run(_main())
