"""A TCP proxy before an etcd, whose connections a test cuts."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self

from tests.support.etcd_server import free_ports


class Proxy:
    """Forwards 127.0.0.1:``port`` to ``target``."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._left: int | None = None
        self._cut = asyncio.Event()
        self._silent = False
        [self.port] = free_ports(1)
        self.endpoint = f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """Takes no more connections, and cuts those that there are."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._cut_all()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)

    def cut_after(self, received: int | None) -> None:
        """Cuts all connections once etcd has sent so many more bytes; None: never."""
        self._left = received
        self._cut.clear()

    async def was_cut(self) -> None:
        async with asyncio.timeout(20):
            await self._cut.wait()

    def fall_silent(self) -> None:
        """Keeps all connections, takes new ones too, and passes nothing on any more."""
        self._silent = True

    def _cut_all(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()
        self._cut.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            back_reader, back_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back_writer}
        try:
            await asyncio.gather(
                self._pump(reader, back_writer, counted=False),
                self._pump(back_reader, writer, counted=True),
            )
        finally:
            self._writers -= {writer, back_writer}
            for each in (writer, back_writer):
                each.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if counted and self._left is not None:
                    self._left -= len(data)
                    if self._left <= 0:
                        self._left = None
                        self._cut_all()
                        return
                if self._silent:
                    continue
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
