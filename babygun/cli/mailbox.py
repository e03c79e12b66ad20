"""``babygun mailbox``: runs the mailbox of ``babygun dev`` alone."""

from __future__ import annotations

import argparse
import asyncio
import signal

from babygun.dev.mailbox.returns import Returns
from babygun.dev.mailbox.server import HTTP_PORT, SMTP_PORT, serve_until
from babygun.runtime import logs, settings


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
        help=f"port of the pages, 0 for any free one (default: {HTTP_PORT})",
    )
    parser.add_argument(
        "--bounce-port",
        type=int,
        help="port of babygun bounced on this machine: bounce messages and complaints about test"
        " addresses go there (default: none are sent)",
    )


def run(arguments: argparse.Namespace) -> int:
    loaded = settings.load()
    logs.configure("mailbox", level=loaded.log_level, format=loaded.log_format)
    port = arguments.bounce_port
    returns = None if port is None else Returns(loaded, port)
    asyncio.run(_serve(arguments.host, arguments.smtp_port, arguments.http_port, returns))
    return 0


async def _serve(host: str, smtp_port: int, http_port: int, returns: Returns | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve_until(stop, host=host, smtp_port=smtp_port, http_port=http_port, returns=returns)
