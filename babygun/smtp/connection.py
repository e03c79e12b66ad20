"""A connection after its handshake: it sends commands and counts the replies.

aiosmtplib drops what arrives while it awaits nothing, so it can't pipeline. This protocol takes
its transport over after the handshake.

Replies belong to commands by their order alone (RFC 2920). So whatever breaks the count ends the
connection: bytes that are no reply, a reply to no command, a reply that does not come in time.
A 421 ends it too, since the server says that it hangs up.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from babygun.email.model import TlsResult
from babygun.routing.server import Server
from babygun.routing.tls_policy import Violation
from babygun.smtp.deadline import Deadline
from babygun.smtp.permits import Permit
from babygun.smtp.reply_parser import ReplyParser, ServerReply
from babygun.smtp.tls_checks import PLAIN, TlsSession
from babygun.smtp.workarounds import Extension, Workarounds

CHUNK = 256 * 1024  # bytes of a message that the transport gets at once
LIVELY = 5.0  # s since the last bytes came; until then a connection is taken to be alive
QUIT_TIMEOUT = 2.0  # s for QUIT; nothing depends on its reply
_LONE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


@dataclass(frozen=True)
class Capabilities:
    """What the server offered in reply to EHLO.

    ``size``: the largest message that it takes, in octets; 0: it does not say.
    """

    pipelining: bool = False
    chunking: bool = False
    eight_bit: bool = False
    smtputf8: bool = False
    size_offered: bool = False
    size: int = 0


class Lost(Exception):
    """The connection is gone.

    ``replies`` came before that. ``goodbye``: the server's 421, if it sent one.
    """

    def __init__(self, text: str, replies: list[ServerReply], goodbye: ServerReply | None) -> None:
        super().__init__(text)
        self.text = text
        self.replies = replies
        self.goodbye = goodbye


class MessageLost(Lost):
    """The connection is gone, and the final dot had been written.

    Without a ``goodbye`` nobody knows whether the server took the message.
    """


class Connection(asyncio.Protocol):
    """Commands out, replies in.

    ``timeout``: seconds for a reply to a command. ``data_timeout``: seconds for the reply to the
    message, and for a write that makes no progress. ``on_lost`` is called once, when it is gone.
    ``tls``: what it got of TLS.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        capabilities: Capabilities,
        *,
        timeout: float,
        data_timeout: float,
        on_lost: Callable[[Connection], None],
        tls: TlsResult = PLAIN,
    ) -> None:
        self.capabilities = capabilities
        self.tls = tls
        self.violation: Violation | None = None  # of a policy that only tests
        self.plain_because = ""  # why there is no TLS though the server offers it
        self.plain_for_long = False  # TLS would fail again for the same reason
        self.lost = ""  # why the connection is gone; empty while it is there
        self.timed_out = False  # it was ended because the server was silent
        self.hung_up = False  # the server closed it without a word
        self.reused = False  # it has carried a transaction before
        self.retired = False  # the server refused what may be about it: it carries no further one
        self.unclean = False  # a transaction was left open: the next one begins with RSET
        self.idle_since = 0.0  # the loop's clock
        self.server: Server | None = None
        self.workarounds = Workarounds()  # the server's
        self.note = ""  # what outcomes say of the way that a message went
        self.permit: Permit | None = None  # None: it has no limits
        # What is to be counted of its TLS: its own, and at first those of servers that failed.
        self.sessions: tuple[TlsSession, ...] = ()
        self._counted_for: set[str] = set()  # queues
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._timeout = timeout
        self.data_timeout = data_timeout
        self._on_lost = on_lost
        self._parser = ReplyParser()
        self._inbox: list[ServerReply] = []
        self._outstanding = 0  # commands without a reply so far
        self._goodbye: ServerReply | None = None
        self._wanted = 0  # replies that the waiter waits for
        self._waiter: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None  # while the transport's buffer is full
        self._deadline = Deadline(
            self._loop, self._deadline_passed, often=min(timeout, data_timeout)
        )
        self._received_at = self._loop.time()  # when the last bytes came
        self._gone = self._loop.create_future()
        transport.set_protocol(self)
        if transport.is_closing():
            self._gone.set_result(None)
            self._end("connection lost")

    @property
    def lively(self) -> bool:
        """Whether the server has hardly had time to hang up."""
        return self._loop.time() - self._received_at < LIVELY

    def forbid(self, feature: Extension) -> None:
        """Does without it from now on, though the server offers it."""
        if feature == "pipelining":
            self.capabilities = replace(self.capabilities, pipelining=False)
        else:
            self.capabilities = replace(self.capabilities, chunking=False)

    def sessions_for(self, queue: str) -> tuple[TlsSession, ...]:
        """What is to be counted for a queue, once for each that uses the connection."""
        if queue in self._counted_for:
            return ()
        self._counted_for.add(queue)
        found, self.sessions = self.sessions, self.sessions[-1:]
        return found

    # --- what a transaction calls ---

    def send(self, commands: bytes, expected: int) -> None:
        """Writes ``commands``, to which ``expected`` replies will come.

        Raises nothing where the connection is gone: :meth:`collect` does.
        """
        if not self.lost:
            self._outstanding += expected
            self._transport.write(commands)

    async def collect(self, count: int, *, within: float | None = None) -> list[ServerReply]:
        """The next ``count`` replies. Raises Lost.

        ``within``: seconds for each, from the one before; default: ``timeout``.
        """
        if len(self._inbox) < count and not self.lost:
            self._wanted = count
            self._waiter = self._loop.create_future()
            self._deadline.set(self._timeout if within is None else within)
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
        """Sends a message in :func:`wire_form` and the final dot; returns the reply.

        Dots at the start of lines are doubled here. Raises Lost; after the dot MessageLost.
        """
        if self.lost:
            raise Lost(self.lost, [], self._goodbye)
        content = dot_stuffed(content)
        self._outstanding += 1
        if len(content) <= CHUNK:
            self._transport.write(content + b".\r\n")
        elif early := await self._write_in_chunks(content):
            return early
        try:
            return (await self.collect(1, within=self.data_timeout))[0]
        except Lost as lost:
            raise MessageLost(lost.text, [], lost.goodbye) from None

    async def _write_in_chunks(self, content: bytes) -> ServerReply | None:
        """Writes a large message and the final dot, as fast as the server takes it.

        Returns the reply of a server that refuses the message before it is complete. That ends
        the connection: the server would take the rest of the message for commands.
        """
        view = memoryview(content)
        for start in range(0, len(content), CHUNK):
            self._transport.write(view[start : start + CHUNK])
            if self._writable is not None and not self._inbox:
                self._deadline.set(self.data_timeout)
                await self._writable
            if self._inbox:
                early = self._inbox.pop()
                self._end("the server answered before the message was complete")
                if early.code < 400:
                    raise Lost(self.lost, [], None)
                return early
            if self.lost:
                raise Lost(self.lost, [], self._goodbye)
        self._transport.write(b".\r\n")
        return None

    async def quit(self) -> None:
        """Sends QUIT and closes, within a bounded time."""
        if self.lost:
            return
        try:
            self.send(b"QUIT\r\n", 1)
            await self.collect(1, within=QUIT_TIMEOUT)
            self._transport.close()  # with TLS, its close_notify follows
            await asyncio.wait([self._gone], timeout=QUIT_TIMEOUT)
        except Lost:
            pass
        finally:
            self.abort("closed")

    def abort(self, why: str) -> None:
        """Closes at once. What is not sent yet is dropped."""
        self._end(why)
        self._cut()

    async def wait_closed(self) -> None:
        await asyncio.wait([self._gone], timeout=QUIT_TIMEOUT)

    # --- what the transport calls ---

    def data_received(self, data: bytes) -> None:
        if self.lost:
            return
        self._received_at = self._loop.time()
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
                self._deadline.renew()

    def eof_received(self) -> None:
        # At once: close() would wait until the server has read what it does not read any more.
        self.hung_up = not self.lost
        self._end("connection closed by the server")

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._gone.done():
            self._gone.set_result(None)
        self.hung_up = self.hung_up or not self.lost
        self._end(f"connection lost: {exc}" if exc else "connection closed by the server")

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        self._wake(self._writable)
        self._writable = None

    # --- the end ---

    def _end(self, why: str) -> None:
        if self.lost:
            return
        self.lost = why
        self._deadline.end()
        self._cut()
        self._wake(self._waiter)
        self._wake(self._writable)
        self._on_lost(self)

    def _cut(self) -> None:
        # The TLS transport of Python 3.11.2 (Debian 12) fails when it is aborted after its end.
        if not self._gone.done():
            self._transport.abort()

    @staticmethod
    def _wake(future: asyncio.Future[None] | None) -> None:
        if future is not None and not future.done():
            future.set_result(None)

    def _deadline_passed(self) -> None:
        seconds = self._deadline.seconds
        if self._waiter is not None:
            if not self._waiter.done():  # otherwise the task that waits has not run yet
                self.timed_out = True
                self._end(f"timed out: no reply within {seconds:g} s")
        elif self._writable is not None and not self._writable.done():
            self.timed_out = True
            self._end(f"timed out: the server took no data for {seconds:g} s")


def wire_form(message: bytes) -> bytes:
    """A message whose lines all end with CRLF, the last one too.

    A lone CR or LF becomes CRLF: servers differ in what ends a line, and so a message.
    """
    pairs = message.count(b"\r\n")
    if message.count(b"\n") != pairs or message.count(b"\r") != pairs:
        message = _LONE.sub(b"\r\n", message)
    if message and not message.endswith(b"\n"):
        message += b"\r\n"
    return message


def dot_stuffed(content: bytes) -> bytes:
    """A message in :func:`wire_form` with the dots at the start of lines doubled.

    DATA is followed by this form (RFC 5321, 4.5.2).
    """
    if b"\n." in content:
        content = content.replace(b"\n.", b"\n..")
    return b"." + content if content.startswith(b".") else content
