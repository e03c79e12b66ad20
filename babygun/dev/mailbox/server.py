"""``babygun mailbox``: an SMTP server that takes every mail and delivers none, and a small HTTP view of what it caught.

It keeps the newest messages in memory, within bounds, and nothing on disk. It is for development: it listens on the
loopback address unless told otherwise, and knows no passwords.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import signal
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session

from babygun.errors import SettingsError
from babygun.runtime import logs, settings
from babygun.runtime.clock import utc_now
from babygun.runtime.logs import get_logger

log = get_logger("mailbox")

SMTP_PORT = 2525
HTTP_PORT = 8025
MOST_MESSAGES = 1000
MOST_BYTES = 64 << 20  # of all messages together
LARGEST = 64 << 20  # bytes of one message; more than the API lets through in base64


@dataclass(frozen=True)
class Caught:
    """One message as it came."""

    number: int  # from 1, in the order of arrival
    received_at: datetime
    sender: str
    recipients: tuple[str, ...]  # of the envelope: Bcc too
    raw: bytes


class Mailbox:
    """The newest messages: at most ``most_messages``, at most ``most_bytes`` of them, and the newest one in any case."""

    def __init__(self, most_messages: int = MOST_MESSAGES, most_bytes: int = MOST_BYTES) -> None:
        self._messages: deque[Caught] = deque()
        self._most_messages, self._most_bytes = most_messages, most_bytes
        self._bytes = 0
        self.total = 0  # caught since the start

    def add(self, sender: str, recipients: tuple[str, ...], raw: bytes) -> Caught:
        self.total += 1
        caught = Caught(self.total, utc_now(), sender, recipients, raw)
        self._messages.append(caught)
        self._bytes += len(raw)
        while len(self._messages) > 1 and (
            len(self._messages) > self._most_messages or self._bytes > self._most_bytes
        ):
            self._bytes -= len(self._messages.popleft().raw)
        return caught

    def newest_first(self) -> Iterator[Caught]:
        return reversed(self._messages)

    def get(self, number: int) -> Caught | None:
        first = self._messages[0].number if self._messages else 0
        index = number - first
        return self._messages[index] if 0 <= index < len(self._messages) else None

    def clear(self) -> None:
        self._messages.clear()
        self._bytes = 0


class _Handler:
    """What aiosmtpd asks of the server's owner."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    async def handle_EHLO(
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        hostname: str,
        responses: list[str],
    ) -> list[str]:
        session.host_name = hostname
        # True of aiosmtpd as long as it offers neither STARTTLS nor AUTH: it reads one command after the other from its
        # buffer and answers in order.
        return (
            [*responses[:-1], "250-PIPELINING", responses[-1]]
            if responses[-1].startswith("250 ")
            else [*responses, "250-PIPELINING", "250 HELP"]
        )

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        sender = (
            envelope.mail_from if envelope.mail_from and envelope.mail_from != "<>" else ""
        )  # as aiosmtpd gives the null reverse-path
        caught = self._mailbox.add(sender, tuple(envelope.rcpt_tos), content)
        log.debug(
            "message caught",
            number=caught.number,
            recipients=len(caught.recipients),
            size=len(content),
        )
        return f"250 2.0.0 caught as {caught.number}"


async def serve_until(
    stop: asyncio.Event,
    *,
    host: str,
    smtp_port: int,
    http_port: int,
    mailbox: Mailbox | None = None,
) -> None:
    """Serves until ``stop`` is set. Raises SettingsError where a port can't be listened on."""
    from babygun.dev.mailbox.view import build_app  # here, since it needs this module's types

    mailbox = mailbox or Mailbox()
    handler, loop = _Handler(mailbox), asyncio.get_running_loop()

    def connection() -> SMTP:
        return SMTP(
            handler,
            data_size_limit=LARGEST,
            enable_SMTPUTF8=True,
            hostname="localhost",
            ident="Babygun mailbox",
            loop=loop,
        )

    runner = web.AppRunner(build_app(mailbox), access_log=None)
    await runner.setup()
    try:
        try:
            smtp = await loop.create_server(connection, host, smtp_port, backlog=1024)
        except OSError as error:
            raise _busy(error, host, smtp_port, "--smtp-port") from None
        try:
            await web.TCPSite(runner, host, http_port).start()
        except OSError as error:
            smtp.close()
            raise _busy(error, host, http_port, "--http-port") from None
        view = runner.addresses[0]
        log.info(
            "mailbox listening",
            smtp=f"{host}:{smtp.sockets[0].getsockname()[1]}",
            url=f"http://{host}:{view[1]}/",
        )
        await stop.wait()
        smtp.close()
    finally:
        await runner.cleanup()


def _busy(error: OSError, host: str, port: int, option: str) -> SettingsError:
    if error.errno == errno.EADDRINUSE:
        return SettingsError(
            f"something listens on {host}:{port} already; choose another port with {option}"
        )
    return SettingsError(f"can't listen on {host}:{port}: {error.strerror or error}")


async def _serve(host: str, smtp_port: int, http_port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve_until(stop, host=host, smtp_port=smtp_port, http_port=http_port)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)"
    )
    parser.add_argument(
        "--smtp-port",
        type=int,
        default=SMTP_PORT,
        help=f"port for mail, 0 for any free one (default: {SMTP_PORT})",
    )
    parser.add_argument(
        "--http-port",
        type=int,
        default=HTTP_PORT,
        help=f"port of the view, 0 for any free one (default: {HTTP_PORT})",
    )


def run(arguments: argparse.Namespace) -> int:
    loaded = settings.load()
    logs.configure("mailbox", level=loaded.log_level, format=loaded.log_format)
    asyncio.run(_serve(arguments.host, arguments.smtp_port, arguments.http_port))
    return 0
