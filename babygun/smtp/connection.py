"""A connection that is past its handshake: commands out, replies in, counted exactly.

aiosmtplib drops what arrives while it awaits nothing, so it can't be used with pipelining; this protocol takes the transport over from it.
Replies pair with commands by their order alone (RFC 2920), therefore anything that upsets the count ends the connection:
what is no reply, a reply to nothing, a reply that does not come in time. A 421 ends it as well, since the server says that it hangs up.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass

from babygun.smtp.reply_parser import ReplyParser, ServerReply

CHUNK = 256 * 1024  # bytes of a message that are handed to the transport at once
LIVELY = (
    5.0  # seconds since something was heard, within which a connection is taken to be there still
)
QUIT_TIMEOUT = 2.0  # seconds for a polite goodbye: nothing depends on it
_LONE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


@dataclass(frozen=True)
class Capabilities:
    """What the server offered in reply to EHLO. ``size``: the largest message that it takes, in octets; 0: it doesn't say."""

    pipelining: bool = False
    chunking: bool = False
    eight_bit: bool = False
    smtputf8: bool = False
    size_offered: bool = False
    size: int = 0


class Lost(Exception):
    """The connection is gone. ``replies`` came before that, ``goodbye`` is the server's 421, where it gave one."""

    def __init__(self, text: str, replies: list[ServerReply], goodbye: ServerReply | None) -> None:
        super().__init__(text)
        self.text = text
        self.replies = replies
        self.goodbye = goodbye


class Connection(asyncio.Protocol):
    """``timeout`` is for a reply to a command, ``data_timeout`` for the reply to the message and for a write that stalls; seconds."""

    def __init__(
        self,
        transport: asyncio.Transport,
        capabilities: Capabilities,
        *,
        timeout: float,
        data_timeout: float,
        on_lost: Callable[[Connection], None],
    ) -> None:
        self.capabilities = capabilities
        self.encrypted = transport.get_extra_info("sslcontext") is not None
        self.lost = ""  # why the connection is gone; empty while it is not
        self.timed_out = False  # it was given up because the server was silent
        self.reused = False  # it has carried a transaction before
        self.unclean = False  # a transaction was left open: the next one begins with RSET
        self.idle_since = 0.0  # the loop's clock
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._timeout = timeout
        self.data_timeout = data_timeout
        self._on_lost = on_lost
        self._parser = ReplyParser()
        self._inbox: list[ServerReply] = []
        self._outstanding = 0  # commands that were not answered yet
        self._goodbye: ServerReply | None = None
        self._wanted = 0
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = (
            None  # there while the transport's buffer is full
        )
        self._patience = 0.0
        self._deadline = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0
        self._heard = self._loop.time()  # when something came last
        self._gone = self._loop.create_future()
        transport.set_protocol(self)
        if transport.is_closing():
            self._gone.set_result(None)
            self._end("connection lost")

    @property
    def lively(self) -> bool:
        """Whether it is hardly possible that the server has hung up meanwhile."""
        return self._loop.time() - self._heard < LIVELY

    # --- what a transaction does ----------------------------------------------------------------------------------

    def send(self, commands: bytes, expected: int) -> None:
        """Writes ``commands``, to which ``expected`` replies will come. Nothing is raised here where the connection is gone: :meth:`collect` does."""
        if not self.lost:
            self._outstanding += expected
            self._transport.write(commands)

    async def collect(self, count: int, *, patience: float | None = None) -> list[ServerReply]:
        """The next ``count`` replies, each within ``patience`` seconds of the one before (default: ``timeout``). Raises Lost."""
        if len(self._inbox) < count and not self.lost:
            self._wanted = count
            self._waiter = self._loop.create_future()
            self._be_patient(self._timeout if patience is None else patience)
            try:
                await self._waiter
            finally:
                self._waiter = None
        got = self._inbox[:count]
        del self._inbox[:count]
        if len(got) < count:
            raise Lost(self.lost, got, self._goodbye)
        return got

    async def send_message(self, content: bytes) -> ServerReply:
        """Sends content in :func:`wire_form`, dots doubled, and the final dot; returns the reply. Raises Lost; :class:`MessageLost` after the dot."""
        if self.lost:
            raise Lost(self.lost, [], self._goodbye)
        content = dot_stuffed(content)
        self._outstanding += 1
        if len(content) <= CHUNK:
            self._transport.write(content + b".\r\n")
        else:
            view = memoryview(content)
            for start in range(0, len(content), CHUNK):
                self._transport.write(view[start : start + CHUNK])
                if self._writable is not None and not self._inbox:
                    await self._drain()
                if self._inbox:  # it was refused before it was complete: what follows would be taken for commands
                    early = self._inbox.pop()
                    self._end("the server answered before the message was complete")
                    if early.code < 400:
                        raise Lost(self.lost, [], None)
                    return early
                if self.lost:
                    raise Lost(self.lost, [], self._goodbye)
            self._transport.write(b".\r\n")
        try:
            return (await self.collect(1, patience=self.data_timeout))[0]
        except Lost as lost:
            raise MessageLost(lost.text, [], lost.goodbye) from None

    async def quit(self) -> None:
        """Says goodbye and closes, within a bounded time."""
        if self.lost:
            return
        try:
            self.send(b"QUIT\r\n", 1)
            await self.collect(1, patience=QUIT_TIMEOUT)
            self._transport.close()  # with TLS, its own goodbye follows
            await asyncio.wait([self._gone], timeout=QUIT_TIMEOUT)
        except Lost:
            pass
        finally:
            self.abort("closed")

    def abort(self, why: str) -> None:
        """Closes at once; whatever is not sent is dropped."""
        self._end(why)
        self._cut()

    async def wait_closed(self) -> None:
        await asyncio.wait([self._gone], timeout=QUIT_TIMEOUT)

    # --- what the transport tells ---------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self.lost:
            return
        self._heard = self._loop.time()
        replies = self._parser.feed(data)
        for reply in replies:
            if reply.code == 421:
                self._goodbye = reply
                self._end(f"the server closed the connection: 421 {reply.text}")
                return
            if not self._outstanding:
                self._end(f"protocol error: a reply to nothing: {reply.code} {reply.text[:80]}")
                return
            self._outstanding -= 1
            self._inbox.append(reply)
        if self._parser.violation:
            self._end(f"protocol error: {self._parser.violation}")
            return
        if self._writable is not None and self._inbox:
            self._wake(self._writable)
        if self._waiter is not None:
            if len(self._inbox) >= self._wanted:
                self._wake(self._waiter)
            elif replies:
                self._deadline = self._loop.time() + self._patience

    def eof_received(self) -> None:
        self._end(
            "connection closed by the server"
        )  # at once: a close() would wait for what the server doesn't read any more

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._gone.done():
            self._gone.set_result(None)
        self._end(f"connection lost: {exc}" if exc else "connection closed by the server")

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        self._wake(self._writable)
        self._writable = None

    # --- inside ---------------------------------------------------------------------------------------------------

    async def _drain(self) -> None:
        assert self._writable is not None
        self._be_patient(self.data_timeout)
        await self._writable

    def _end(self, why: str) -> None:
        if self.lost:
            return
        self.lost = why
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._cut()
        self._wake(self._waiter)
        self._wake(self._writable)
        self._on_lost(self)

    def _cut(self) -> None:
        if not self._gone.done():  # asyncio's TLS transport of Python 3.11.2, Debian 12's, fails where it is closed already
            self._transport.abort()

    @staticmethod
    def _wake(future: asyncio.Future[None] | None) -> None:
        if future is not None and not future.done():
            future.set_result(None)

    def _be_patient(self, seconds: float) -> None:
        """Sets the deadline. The alarm behind it is set rarely: it looks at the deadline of that moment when it goes off."""
        self._patience = seconds
        now = self._loop.time()
        self._deadline = now + seconds
        if self._alarm is None or self._alarm_at > self._deadline:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm_at = now + min(seconds, self._timeout, self.data_timeout)
            self._alarm = self._loop.call_at(self._alarm_at, self._check)

    def _check(self) -> None:
        self._alarm = None
        waiting = self._waiter is not None or self._writable is not None
        if not waiting:
            return
        if self._loop.time() < self._deadline:
            self._alarm_at = self._deadline
            self._alarm = self._loop.call_at(self._deadline, self._check)
            return
        self.timed_out = True
        if self._waiter is not None:
            self._end(f"timed out: no reply within {self._patience:g} s")
        else:
            self._end(f"timed out: the server took no data for {self._patience:g} s")


class MessageLost(Lost):
    """The connection is gone, and the final dot had been written: without a ``goodbye`` nobody knows whether the message was taken."""


def wire_form(message: bytes) -> bytes:
    """A message with its lines ended by CRLF, the last one too. A lone CR or LF becomes a CRLF: servers differ in what they take for the end of a line, and so of a message."""
    pairs = message.count(b"\r\n")
    if message.count(b"\n") != pairs or message.count(b"\r") != pairs:
        message = _LONE.sub(b"\r\n", message)
    if message and not message.endswith(b"\n"):
        message += b"\r\n"
    return message


def dot_stuffed(content: bytes) -> bytes:
    """Content in :func:`wire_form` as it follows DATA: dots at the start of lines doubled (RFC 5321, 4.5.2)."""
    if b"\n." in content:
        content = content.replace(b"\n.", b"\n..")
    return b"." + content if content.startswith(b".") else content
