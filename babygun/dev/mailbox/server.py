"""``babygun mailbox``: receives every message by SMTP, and shows what it received over HTTP.

It is for development. It keeps the newest messages in memory and nothing on disk, knows no
passwords, and listens on the loopback address unless another is given.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from aiohttp import web

from babygun.dev.mailbox.messages import Mailbox
from babygun.dev.mailbox.returns import Returns
from babygun.dev.mailbox.smtp import protocol
from babygun.dev.mailbox.view import build_app
from babygun.runtime.listening import SMALL_SERVER, base_url, is_loopback, listen
from babygun.runtime.logs import get_logger

log = get_logger("mailbox")

SMTP_PORT = 2525
HTTP_PORT = 8025
ANY_PORT = "any free one"  # the meaning of port 0


async def serve_until(
    stop: asyncio.Event,
    *,
    host: str,
    smtp_port: int,
    http_port: int,
    mailbox: Mailbox | None = None,
    returns: Returns | None = None,
) -> None:
    """Serves until ``stop`` is set. Raises SettingsError if it can't listen on a port.

    ``returns``: sends bounce messages and complaints about mail to test addresses.
    """
    mailbox = mailbox or Mailbox()
    runner = web.AppRunner(
        build_app(mailbox, local=is_loopback(host)), access_log=None, **SMALL_SERVER
    )
    async with AsyncExitStack() as closing:
        closing.push_async_callback(runner.cleanup)
        if returns:
            closing.push_async_callback(returns.close)
        await runner.setup()
        assert runner.server is not None
        smtp = await listen(
            protocol(mailbox, returns), host, smtp_port, setting="--smtp-port", zero=ANY_PORT
        )
        closing.callback(smtp.close)
        view = await listen(runner.server, host, http_port, setting="--http-port", zero=ANY_PORT)
        closing.callback(view.close)
        log.info(
            "mailbox listening",
            smtp=f"{host}:{smtp.sockets[0].getsockname()[1]}",
            url=base_url(view, host),
        )
        await stop.wait()
