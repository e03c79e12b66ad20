"""``babygun mailbox``: receives every message by SMTP, and shows what it received over HTTP.

It is for development. It keeps the newest messages in memory and nothing on disk, knows no
passwords, and listens on the loopback address unless another is given.
"""

from __future__ import annotations

import asyncio
import errno

from aiohttp import web

from babygun.dev.mailbox.messages import Mailbox
from babygun.dev.mailbox.smtp import protocol
from babygun.dev.mailbox.view import build_app
from babygun.errors import SettingsError
from babygun.runtime.logs import get_logger

log = get_logger("mailbox")

SMTP_PORT = 2525
HTTP_PORT = 8025


async def serve_until(
    stop: asyncio.Event,
    *,
    host: str,
    smtp_port: int,
    http_port: int,
    mailbox: Mailbox | None = None,
) -> None:
    """Serves until ``stop`` is set. Raises SettingsError if it can't listen on a port."""
    mailbox = mailbox or Mailbox()
    runner = web.AppRunner(build_app(mailbox), access_log=None)
    await runner.setup()
    try:
        try:
            smtp = await asyncio.get_running_loop().create_server(
                protocol(mailbox), host, smtp_port, backlog=1024
            )
        except OSError as error:
            raise _refusal(error, host, smtp_port, "--smtp-port") from None
        try:
            await web.TCPSite(runner, host, http_port).start()
        except OSError as error:
            smtp.close()
            raise _refusal(error, host, http_port, "--http-port") from None
        log.info(
            "mailbox listening",
            smtp=f"{host}:{smtp.sockets[0].getsockname()[1]}",
            url=f"http://{host}:{runner.addresses[0][1]}/",
        )
        await stop.wait()
        smtp.close()
    finally:
        await runner.cleanup()


def _refusal(error: OSError, host: str, port: int, option: str) -> SettingsError:
    if error.errno == errno.EADDRINUSE:
        return SettingsError(
            f"something listens on {host}:{port} already; choose another port with {option}"
        )
    return SettingsError(f"can't listen on {host}:{port}: {error.strerror or error}")
