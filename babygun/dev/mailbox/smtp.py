"""The mailbox's SMTP server: it accepts every message and delivers none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiosmtpd.smtp import SMTP, Envelope, Session

from babygun.dev.mailbox.messages import Mailbox
from babygun.runtime.logs import get_logger

log = get_logger("mailbox")

LARGEST = 64 << 20  # bytes of one message; more than the API accepts, in base64


def protocol(mailbox: Mailbox) -> Callable[[], asyncio.BaseProtocol]:
    """Makes the protocol of each connection. To be called in the running event loop."""
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

    return connection


class _Handler:
    """The hooks that aiosmtpd calls."""

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
        """Offers PIPELINING too.

        Without STARTTLS and AUTH, aiosmtpd reads one command after the other from its buffer and
        answers in order, so it may.
        """
        session.host_name = hostname
        *others, last = responses
        if last.startswith("250 "):
            return [*others, "250-PIPELINING", last]
        return [*responses, "250-PIPELINING", "250 HELP"]

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content, sender = envelope.content, envelope.mail_from
        assert isinstance(content, bytes)
        if sender is None or sender == "<>":  # as aiosmtpd gives the null reverse-path
            sender = ""
        message = self._mailbox.add(sender, tuple(envelope.rcpt_tos), content)
        log.debug(
            "message caught",
            number=message.number,
            recipients=len(message.recipients),
            size=len(content),
        )
        return f"250 2.0.0 received as {message.number}"
