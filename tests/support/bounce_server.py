"""A bounce server in this process, and a mail server that talks to it line by line."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from babygun.bounces.server import BounceServer
from babygun.runtime.settings import Settings
from babygun.runtime.tasks import cancel_all
from tests.support.processes import PATIENCE


class MailServer:
    """A session. Replies are texts with their lines joined by line feeds."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def reply(self) -> str:
        """The next reply; empty: the connection is closed."""
        lines = []
        try:
            async with asyncio.timeout(PATIENCE):
                while line := (await self.reader.readline()).decode().rstrip("\r\n"):
                    lines.append(line)
                    if line[3:4] != "-":
                        break
        except ConnectionResetError:  # the server closed it, and had not read all words of ours
            return ""
        return "\n".join(lines)

    async def say(self, line: str) -> str:
        self.writer.write(line.encode() + b"\r\n")
        return await self.reply()

    async def greet(self) -> str:
        """The greeting, and then the reply to EHLO."""
        assert (await self.reply()).startswith("220 ")
        return await self.say("EHLO mail.example.org")

    async def give(self, message: bytes, *addresses: str, sender: str = "") -> str:
        """The last reply: to the message, or to the first command that was refused."""
        for command in (
            f"MAIL FROM:<{sender}>",
            *(f"RCPT TO:<{address}>" for address in addresses),
        ):
            if not (reply := await self.say(command)).startswith("250"):
                return reply
        if not (reply := await self.say("DATA")).startswith("354"):
            return reply
        lines = message.replace(b"\r\n", b"\n").split(b"\n")
        for line in lines:
            self.writer.write((b"." if line.startswith(b".") else b"") + line + b"\r\n")
        return await self.say(".")

    async def start_tls(self) -> str:
        """The reply to EHLO after STARTTLS, with whatever certificate."""
        assert (await self.say("STARTTLS")).startswith("220")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        await self.writer.start_tls(context)
        return await self.say("EHLO mail.example.org")


class Bounced:
    """A running bounce server, at a port of 127.0.0.1."""

    def __init__(self, server: BounceServer, port: int) -> None:
        self.server, self.port = server, port

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[MailServer]:
        """A new connection, before the greeting."""
        async with connection_to(self.port) as mail_server:
            yield mail_server

    async def give(self, message: bytes, *addresses: str, sender: str = "") -> str:
        """The reply to a message that a session of its own brings."""
        async with self.connected() as mail_server:
            await mail_server.greet()
            return await mail_server.give(message, *addresses, sender=sender)


@asynccontextmanager
async def connection_to(port: int) -> AsyncIterator[MailServer]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield MailServer(reader, writer)
    finally:
        writer.close()


@asynccontextmanager
async def bounce_server(
    settings: Settings, *, port: int = 0, known: bool = True
) -> AsyncIterator[Bounced]:
    """Starts one. ``known``: waits until it knows the keys of return paths."""
    given: dict[str, Any] = {"bounce_host": "127.0.0.1", "bounce_port": port}
    if not settings.bounce_hostname:
        given["bounce_hostname"] = "bounces.example.com"
    server = BounceServer(replace(settings, **given))
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(server.run(started.set_result))
    await asyncio.wait([running, started], return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    try:
        async with asyncio.timeout(PATIENCE):
            while known and not server.keys.known:  # noqa: ASYNC110 (it has no signal)
                await asyncio.sleep(0.01)
        yield Bounced(server, started.result())
    finally:
        server.stop()
        async with asyncio.timeout(PATIENCE):
            await running
        await cancel_all(running)
