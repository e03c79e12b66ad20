"""A connection of a mail server: SMTP by aiosmtpd, within bounds of time and memory.

aiosmtpd collects a message of any length, and lines without an end. So DATA is our own here: it
keeps the beginning of a message, where a report says what happened, and reads past the rest.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from aiosmtpd.smtp import SMTP, Envelope, Session, TLSSetupException

from babygun.bounces.limits import ConnectionCount
from babygun.bounces.reception import Reception
from babygun.runtime import metrics
from babygun.runtime.logs import get_logger

log = get_logger("bounced")

KEPT = 512 << 10  # bytes of a message that are read; the returned message comes after the report
LARGEST = 64 << 20  # bytes: our own largest message, in base64, and a report around it
_IDLE = 120.0  # s, between two commands
_DATA_WITHIN = 600.0  # s, for one message to arrive
_SESSION_WITHIN = 1800.0  # s
_FLUSHED_WITHIN = 10.0  # s, for the last reply
_MOST_ADDRESSES = 20  # of one message; reports have one
_MOST_WRONG = 10  # wrong addresses in one session
_LINE = 64 << 10  # bytes that are read at a time


@dataclass
class Sessions:
    """What all sessions share. ``open``: those that are there."""

    reception: Reception
    count: ConnectionCount
    hostname: str
    tls: ssl.SSLContext | None
    open: set[MailSession] = field(default_factory=set)
    stopping: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def protocol(self) -> Callable[[], asyncio.BaseProtocol]:
        """Makes the protocol of each connection. To be called in the running event loop."""
        loop, handler = asyncio.get_running_loop(), _Handler(self.reception)
        return lambda: MailSession(self, handler, loop)

    def stop(self) -> None:
        """Ends the sessions, each after the message that it works on."""
        self.stopping = True
        for session in list(self.open):
            session.stop()


class MailSession(SMTP):  # type: ignore[misc]
    """``wrong``: the wrong addresses that were asked for."""

    line_length_limit = _LINE

    def __init__(
        self, sessions: Sessions, handler: _Handler, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(
            handler,
            data_size_limit=LARGEST,
            enable_SMTPUTF8=True,
            hostname=sessions.hostname,
            ident="ESMTP Babygun takes bounce messages only",
            tls_context=sessions.tls,
            timeout=_IDLE,
            auth_exclude_mechanism=("LOGIN", "PLAIN"),
            loop=loop,
        )
        self.wrong = 0
        self._sessions = sessions
        self._address = ""
        self._counted: bool | None = None  # None before the connection is made
        self._busy = False
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Also called when TLS begins: then the connection is counted already."""
        if self._counted is None:
            self._address = str((transport.get_extra_info("peername") or ("",))[0])
            self._counted = self._sessions.count.enter(self._address)
            if not self._counted or self._sessions.stopping:
                metrics.RETURNED_REFUSED["connections"].inc()
                self._close(transport, b"421 4.7.0 Too many connections, please come again")
                return
            self._sessions.open.add(self)
            self._end = self.loop.call_later(_SESSION_WITHIN, self.give_up)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._counted:
            self._counted = False
            self._sessions.count.leave(self._address)
        if self._end is not None:
            self._end.cancel()
        if self in self._sessions.open:
            self._sessions.open.discard(self)
            self._sessions.ended.set()
            super().connection_lost(error)

    def eof_received(self) -> bool | None:
        return super().eof_received() if self in self._sessions.open else False

    def stop(self) -> None:
        """Ends the session, or has it end after the message that it works on."""
        if not self._busy and self.transport is not None:
            self._close(self.transport, b"421 4.3.2 Stopping, please come again")

    def give_up(self) -> None:
        """Closes the connection, after what is written already."""
        if self.transport is not None:
            self._close(self.transport)

    def _timeout_cb(self) -> None:
        """Called by aiosmtpd when no command came for long."""
        self.give_up()

    def _close(self, transport: asyncio.BaseTransport, reply: bytes = b"") -> None:
        """Closes it after a last reply. Who reads nothing is cut off."""
        if transport.is_closing():
            return
        if reply:
            cast(asyncio.Transport, transport).write(reply + b"\r\n")
        transport.close()
        below_tls = cast(asyncio.Transport, self._original_transport or transport)
        self.loop.call_later(_FLUSHED_WITHIN, below_tls.abort)

    async def push(self, status: str) -> None:
        """Writes a reply. Other sessions get their turn after each.

        Not after that to STARTTLS, which is 220: TLS must be there before its first bytes are read.
        """
        await super().push(status)
        if not status.startswith("220"):
            await asyncio.sleep(0)

    async def smtp_DATA(self, arg: str) -> None:
        if await self.check_helo_needed():
            return
        assert self.envelope is not None
        if not self.envelope.rcpt_tos or arg:
            await self.push("501 Syntax: DATA" if arg else "503 5.5.1 Error: need RCPT command")
            return
        self._busy = True
        try:
            await self._data()
        finally:
            self._busy = False
        self._set_post_data_state()
        if self._sessions.stopping:
            self.stop()

    async def _data(self) -> None:
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        self._reset_timeout(_DATA_WITHIN + _IDLE)
        try:
            async with asyncio.timeout(_DATA_WITHIN):
                message = await self._message()
        except TimeoutError:
            await self._refuse("slow", "421 4.4.2 The message takes too long")
            return
        if message is None:
            await self._refuse("size", "552 5.3.4 The message is too large")
            return
        assert self.envelope is not None
        self._reset_timeout(_DATA_WITHIN)  # etcd may take its time
        try:
            reply = await self._sessions.reception.take(
                message, self.envelope.rcpt_tos, self._address
            )
        except Exception as error:
            metrics.RETURNED_REFUSED["error"].inc()
            log.error("returned message failed", exc=error, address=self._address)
            reply = "451 4.3.0 Please come again"
        await self.push(reply)

    async def _refuse(self, reason: str, reply: str) -> None:
        """Refuses a message in the middle, so the session ends."""
        metrics.RETURNED_REFUSED[reason].inc()
        await self.push(reply)
        self.give_up()

    async def _message(self) -> bytes | None:
        """The first bytes of the message, read to its end; None: it is too large."""
        kept, total, at_start = bytearray(), 0, True
        while True:
            try:
                piece = await self._reader.readuntil(b"\r\n")
            except asyncio.LimitOverrunError as error:  # a part of a long line
                piece = await self._reader.read(error.consumed)
            if at_start and piece == b".\r\n":
                return bytes(kept)
            if at_start and piece.startswith(b"."):
                piece = piece[1:]  # RFC 5321, 4.5.2
            at_start = piece.endswith(b"\r\n")
            total += len(piece)
            if total > LARGEST:
                return None
            if len(kept) < KEPT:
                kept += piece[: KEPT - len(kept)]


class _Handler:
    """The hooks that aiosmtpd calls."""

    def __init__(self, reception: Reception) -> None:
        self._reception = reception

    async def handle_EHLO(
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        hostname: str,
        responses: list[str],
    ) -> list[str]:
        """Without AUTH: nobody logs in here. aiosmtpd answers in order, so pipelining is fine."""
        session.host_name = hostname
        kept = [each[4:] for each in responses if not each[4:].startswith(("AUTH", "HELP"))]
        return [*(f"250-{each}" for each in kept), "250 PIPELINING"]

    async def handle_RCPT(
        self,
        server: MailSession,
        session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        if len(envelope.rcpt_tos) >= _MOST_ADDRESSES:
            return "452 4.5.3 Too many recipients"
        if refusal := await self._reception.refusal(address):
            server.wrong += refusal.startswith("5")
            if server.wrong > _MOST_WRONG:
                metrics.RETURNED_REFUSED["guesses"].inc()
                server.loop.call_soon(server.give_up)
                return "421 4.7.0 Too many wrong addresses"
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_VRFY(
        self, server: SMTP, session: Session, envelope: Envelope, address: str
    ) -> str:
        return "252 2.5.2 Send it a message"

    async def handle_exception(self, error: Exception) -> str:
        if isinstance(error, TLSSetupException):  # the other side's fault: it can do without TLS
            return "454 4.7.0 TLS failed"
        metrics.RETURNED_REFUSED["error"].inc()
        log.error("session failed", exc=error)
        return "451 4.3.0 Please come again"
