"""The mailbox's SMTP server: it accepts every message but to test addresses, and delivers none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from aiosmtpd.smtp import SMTP, Envelope, Session

from babygun.dev.mailbox.behaviours import Behaviour, Counts, behaviour_of
from babygun.dev.mailbox.messages import Mailbox
from babygun.dev.mailbox.returns import Returns
from babygun.runtime.logs import get_logger

log = get_logger("mailbox")

LARGEST = 64 << 20  # bytes of one message; more than the API accepts, in base64


def protocol(
    mailbox: Mailbox, returns: Returns | None = None
) -> Callable[[], asyncio.BaseProtocol]:
    """Makes the protocol of each connection. To be called in the running event loop.

    ``returns``: sends bounce messages and complaints; None: nobody does.
    """
    handler, loop = _Handler(mailbox, returns), asyncio.get_running_loop()

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

    def __init__(self, mailbox: Mailbox, returns: Returns | None) -> None:
        self._mailbox, self._returns = mailbox, returns
        self._refused, self._broken = Counts(), Counts()

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

    async def handle_RCPT(
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        wanted = behaviour_of(address)
        sender = _sender(envelope)
        if wanted and wanted.refusal and self._refused.refuses(sender, address, wanted.times):
            return wanted.refusal
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        content, sender = envelope.content, _sender(envelope)
        assert isinstance(content, bytes)
        for address, wanted in _behaviours(envelope):
            await asyncio.sleep(wanted.seconds)
            if wanted.rejection:
                return wanted.rejection
            if wanted.breaks and self._broken.refuses(sender, address, 1):
                assert server.transport is not None
                server.transport.abort()
                return "421 4.3.0 The connection breaks"
        message = self._mailbox.add(sender, tuple(envelope.rcpt_tos), content)
        log.debug(
            "message caught",
            number=message.number,
            recipients=len(message.recipients),
            size=len(content),
        )
        if self._returns:
            for address, wanted in _behaviours(envelope):
                if wanted.returned:
                    self._returns.schedule(wanted.returned, address, content)
        return f"250 2.0.0 received as {message.number}"


def _sender(envelope: Envelope) -> str:
    """The envelope sender; empty for the null reverse-path."""
    sender = envelope.mail_from
    return "" if sender is None or sender == "<>" else sender


def _behaviours(envelope: Envelope) -> Iterator[tuple[str, Behaviour]]:
    """The test addresses among the recipients that were taken."""
    for address in envelope.rcpt_tos:
        if wanted := behaviour_of(address):
            yield address, wanted
