"""A real SMTP server that misbehaves on demand: aiosmtpd, in the test's own event loop.

The local part of a recipient says what it does, so black-box tests need no other channel:

    soft…       451 to RCPT
    hard…       550 5.1.1 to RCPT
    full…       552 5.2.2 to RCPT
    grey…       450 to RCPT, "try again in 60 seconds"
    flaky-N…    451 to RCPT the first N times, then accepts
    slow…       answers RCPT after ``slow_seconds``
    hang…       does not answer RCPT until ``release()``; sets ``hung``, counts in ``hanging``
    softdata…   451 after the dot
    harddata…   554 after the dot
    drop-data…  closes the connection on DATA, without a reply
    drop-dot…   records the whole message, then closes the connection without a reply

``rcpt[address]`` and ``message[address]`` say it for one address: a reply, or a (coroutine)
function that takes the attempt's number, from 1, and returns a reply. An empty reply accepts. The
reply to a message is that of its first recipient that has one.
"""

from __future__ import annotations

import asyncio
import errno
import inspect
import re
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult

from tests.support.counting import Count
from tests.support.etcd_server import free_ports
from tests.support.processes import PATIENCE

Answer = str | Callable[[int], "str | Awaitable[str]"]
HANG_UP = "hang up"  # as an answer: close the connection without a reply
_PLAIN_PATH = re.compile(r'<([^<>\s"]*)>\s*(.*)')


@dataclass(frozen=True)
class Message:
    """``sender`` is empty for the null reverse-path.

    ``data`` came by BDAT, or between DATA and the dot; dot-stuffing is undone.
    """

    sender: str
    recipients: tuple[str, ...]
    data: bytes
    session: int  # number of the connection, from 1
    options: tuple[str, ...]  # of MAIL, in upper case
    user: str  # of the login
    tls: bool
    peer: str  # the client's address


class MisbehavingServer:
    """``async with MisbehavingServer() as server: … server.port …``.

    ``credentials``: user and password that MAIL needs. ``starttls``, ``implicit_tls``: a context of
    the server. ``max_connections``: further ones are greeted with 421. ``chunking``: it accepts
    BDAT. ``max_recipients`` of a transaction: further ones get 452 4.5.3. ``size``: for SIZE.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        *,
        port: int = 0,
        pipelining: bool = True,
        chunking: bool = False,
        smtputf8: bool = True,
        eight_bit: bool = True,
        size: int = 64 * 1024 * 1024,
        starttls: ssl.SSLContext | None = None,
        implicit_tls: ssl.SSLContext | None = None,
        credentials: tuple[str, str] | None = None,
        max_connections: int = 0,
        max_recipients: int = 0,
        slow_seconds: float = 0.3,
    ) -> None:
        self.port = port
        self.pipelining = pipelining
        self.chunking = chunking
        self.smtputf8 = smtputf8
        self.eight_bit = eight_bit
        self.size = size
        self.starttls = starttls
        self.implicit_tls = implicit_tls
        self.credentials = credentials
        self.max_connections = max_connections
        self.max_recipients = max_recipients
        self.slow_seconds = slow_seconds
        self.broken_starttls = False  # it offers STARTTLS, and refuses it with 454
        self.hang_up_after = 0  # recipients of a transaction; then it says 421 and hangs up
        self.messages: list[Message] = []
        self.attempts: Counter[str] = Counter()  # RCPTs per recipient
        self.rcpt: dict[str, Answer] = {}
        self.message: dict[str, Answer] = {}
        self.mail: dict[str, Answer] = {}  # by sender
        self.hung = asyncio.Event()
        self.hanging = Count()
        self.sessions = 0  # connections so far, refused ones included
        self.refused = 0  # connections that were greeted with 421
        self.max_concurrent = 0  # connections at once, without refused ones
        self.transactions = 0  # between MAIL and the end of its message, right now
        self.max_transactions = 0
        self.commands: Counter[str] = Counter()
        self._connections: set[_Session] = set()
        self._released = asyncio.Event()
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> MisbehavingServer:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        """The value for ``BABYGUN_RELAY_URL``."""
        login = "{}:{}@".format(*self.credentials) if self.credentials else ""
        return f"{'smtps' if self.implicit_tls else 'smtp'}://{login}{self.host}:{self.port}"

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def start(self) -> None:
        """Listens. After :meth:`stop` it takes the same port again, which nobody got meanwhile."""
        loop = asyncio.get_running_loop()
        port = self.port or free_ports(1)[0]
        try:
            self._server = await loop.create_server(
                lambda: _Session(self, loop), self.host, port, ssl=self.implicit_tls, backlog=1024
            )
        except OSError as error:
            if self.port or error.errno != errno.EADDRINUSE:
                raise
            await self.start()  # somebody took the port a moment ago
        else:
            self.port = port

    async def stop(self) -> None:
        """Stops listening and closes all connections."""
        assert self._server is not None
        self._server.close()
        await self.cut()
        await self._server.wait_closed()

    async def cut(self) -> None:
        """Closes all connections without a reply."""
        gone = [session.gone for session in self._connections]
        for session in list(self._connections):
            session.cut()
        if gone:
            await asyncio.wait(gone, timeout=5)

    def say(self, line: str, *, close: bool = False) -> None:
        """Sends an unsolicited line on every connection."""
        for session in list(self._connections):
            session.say(line, close=close)

    def release(self) -> None:
        """Answers all that hang, and makes none hang any more."""
        self._released.set()

    def hang_once(self, recipient: str) -> asyncio.Event:
        """Answers the first RCPT of a recipient only once the returned event is set.

        ``hung`` is set when it has come.
        """
        released = asyncio.Event()

        async def answer(attempt: int) -> str:
            if attempt == 1:
                self.hung.set()
                await released.wait()
            return ""

        self.rcpt[recipient] = answer
        return released

    async def wait_for(self, count: int, *, within: float = PATIENCE) -> list[Message]:
        """The messages, once there are ``count`` of them."""
        if len(self.messages) < count:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append((count, waiter))
            try:
                await asyncio.wait_for(waiter, within)
            except TimeoutError:
                raise AssertionError(
                    f"{len(self.messages)} of {count} messages came within {within:g} s;"
                    f" attempts: {dict(self.attempts.most_common(10))}"
                ) from None
        return self.messages

    def to(self, recipient: str) -> list[Message]:
        """The messages to ``recipient``."""
        return [message for message in self.messages if recipient in message.recipients]

    # --- for the sessions ---

    def record(self, message: Message) -> None:
        self.messages.append(message)
        for count, waiter in self._waiters:
            if len(self.messages) >= count and not waiter.done():
                waiter.set_result(None)
        self._waiters = [(count, waiter) for count, waiter in self._waiters if not waiter.done()]

    async def answer_rcpt(self, recipient: str, before: int) -> str:
        """The reply to RCPT. ``before``: recipients accepted so far in this transaction."""
        self.attempts[recipient] += 1
        attempt = self.attempts[recipient]
        if recipient in self.rcpt:
            return await _ask(self.rcpt[recipient], attempt)
        if self.hang_up_after and before >= self.hang_up_after:
            return "421 4.5.3 Too many for one connection"
        if self.max_recipients and before >= self.max_recipients:
            return "452 4.5.3 Too many recipients"
        local = recipient.partition("@")[0]
        if local.startswith("hang"):
            if not self._released.is_set():
                self.hung.set()
                self.hanging.add()
                await self._released.wait()
        elif local.startswith("slow"):
            await asyncio.sleep(self.slow_seconds)
        elif local.startswith("flaky-"):
            times = re.match(r"flaky-(\d+)", local)
            if times and attempt <= int(times[1]):
                return f"451 4.3.0 Not yet ({attempt} of {times[1]})"
        else:
            return _reply_for(local, _AT_RCPT)
        return ""

    async def answer_message(self, recipients: list[str]) -> str:
        for recipient in recipients:
            if recipient in self.message:
                answer = await _ask(self.message[recipient], self.attempts[recipient])
            else:
                answer = _reply_for(recipient, _AT_DOT)
            if answer:
                return answer
        return ""


_AT_DOT = {
    "softdata": "451 4.3.0 Try that again",
    "harddata": "554 5.7.1 Not this message",
    "drop-dot": HANG_UP,
}
_AT_RCPT = {
    "softdata": "",
    "harddata": "",
    "soft": "451 4.3.0 Temporary failure",
    "hard": "550 5.1.1 No such user here",
    "full": "552 5.2.2 Mailbox full",
    "grey": "450 4.7.1 Greylisted, try again in 60 seconds",
}


def _reply_for(local_part: str, replies: dict[str, str]) -> str:
    """The reply of the first prefix that matches, or empty."""
    return next((reply for prefix, reply in replies.items() if local_part.startswith(prefix)), "")


async def _ask(answer: Answer, attempt: int) -> str:
    if isinstance(answer, str):
        return answer
    given = answer(attempt)
    return await given if inspect.isawaitable(given) else str(given)


class _Session(SMTP):  # type: ignore[misc]
    # Also how much aiosmtpd reads ahead, so pipelined input needs a large one. handle_DATA checks
    # the lines of a message.
    line_length_limit = 64 * 1024

    def __init__(self, owner: MisbehavingServer, loop: asyncio.AbstractEventLoop) -> None:
        self.owner = owner
        self.number = 0
        self.over_limit = False
        self.gone: asyncio.Future[None] = loop.create_future()
        self._in_transaction = False
        super().__init__(
            _Hooks(owner),
            hostname="misbehaving.example",
            ident="ESMTP",
            data_size_limit=owner.size,
            enable_SMTPUTF8=owner.smtputf8,
            tls_context=owner.starttls,
            auth_require_tls=owner.starttls is not None,
            authenticator=self._check_login,
            loop=loop,
        )

    def cut(self) -> None:
        transport: Any = self._original_transport or self.transport
        if transport is not None:
            with suppress(AttributeError):  # of Python 3.11.2's TLS transport, if it is closed
                transport.abort()
        if self._tls_protocol is not None and self.session.ssl is None:
            # During a TLS handshake connection_lost() is not called.
            self._handler_coroutine.cancel()
            if not self.gone.done():
                self.gone.set_result(None)

    def say(self, line: str, *, close: bool) -> None:
        transport: Any = self.transport
        if transport is not None:
            transport.write(line.encode() + b"\r\n")
            if close:
                transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        owner = self.owner
        if not self.number:  # it is called once more after STARTTLS
            owner.sessions += 1
            self.number = owner.sessions
            if owner.max_connections and owner.connections >= owner.max_connections:
                self.over_limit = True
                owner.refused += 1
            else:
                owner._connections.add(self)
                owner.max_concurrent = max(owner.max_concurrent, owner.connections)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.owner._connections.discard(self)
        self.transaction(False)
        if self.session is not None:
            super().connection_lost(error)
        if not self.gone.done():
            self.gone.set_result(None)

    def transaction(self, begins: bool) -> None:
        owner = self.owner
        if begins != self._in_transaction:
            self._in_transaction = begins
            owner.transactions += 1 if begins else -1
            owner.max_transactions = max(owner.max_transactions, owner.transactions)

    async def _handle_client(self) -> None:
        if self.over_limit:
            await self.push("421 4.7.0 Too many connections")
            self.transport.close()
            return
        await super()._handle_client()

    def _getaddr(self, arg: str) -> tuple[str | None, str | None]:
        # aiosmtpd uses the standard library's parser, which takes a tenth of a millisecond.
        match = _PLAIN_PATH.fullmatch(arg)
        if match:
            return match[1] or "<>", match[2]
        address: tuple[str | None, str | None] = super()._getaddr(arg)
        return address

    def _set_post_data_state(self) -> None:
        super()._set_post_data_state()
        self.transaction(False)

    async def smtp_STARTTLS(self, arg: str) -> None:
        if self.owner.broken_starttls:
            await self.push("454 4.7.0 TLS not available")
        else:
            await super().smtp_STARTTLS(arg)

    async def smtp_DATA(self, arg: str) -> None:
        self.owner.commands["DATA"] += 1
        if any(recipient.startswith("drop-data") for recipient in self.envelope.rcpt_tos):
            await self.hang_up()
        await super().smtp_DATA(arg)

    async def smtp_BDAT(self, arg: str) -> None:
        """RFC 3030, for a message in one chunk.

        One that fails leaves the transaction open until RSET.
        """
        size, _, last = arg.partition(" ")
        content = await self._reader.readexactly(int(size))
        self.owner.commands["BDAT"] += 1
        if last != "LAST":
            await self.push("502 5.5.1 One chunk only")
        elif not self.envelope.rcpt_tos:
            await self.push("503 5.5.1 No recipients")
        elif len(content) > self.data_size_limit:
            await self.push("552 5.3.4 Too large")
        else:
            self.envelope.content = self.envelope.original_content = content
            status = await self._call_handler_hook("DATA")
            if status.startswith("2"):
                self._set_post_data_state()
            await self.push(status)

    async def smtp_QUIT(self, arg: str) -> None:
        self.owner.commands["QUIT"] += 1
        await super().smtp_QUIT(arg)

    async def hang_up(self) -> None:
        """Closes the connection; does not return."""
        self.cut()
        await asyncio.Event().wait()  # until connection_lost() cancels this

    def _check_login(
        self, server: SMTP, session: Any, envelope: Any, mechanism: str, login: Any
    ) -> AuthResult:
        self.owner.commands["AUTH"] += 1
        given = (login.login.decode(), login.password.decode())
        return AuthResult(success=given == self.owner.credentials, handled=False, auth_data=login)


class _Hooks:
    """The hooks that aiosmtpd calls."""

    def __init__(self, owner: MisbehavingServer) -> None:
        self._owner = owner

    async def handle_EHLO(
        self, server: _Session, session: Any, envelope: Any, hostname: str, responses: list[str]
    ) -> list[str]:
        owner = self._owner
        session.host_name = hostname
        hidden = {"250-AUTH" * (owner.credentials is None), "250-8BITMIME" * (not owner.eight_bit)}
        kept = [line for line in responses[:-1] if line.split(" ")[0] not in hidden]
        return [
            *kept,
            *["250-STARTTLS"] * owner.broken_starttls,
            *["250-PIPELINING"] * owner.pipelining,
            *["250-CHUNKING"] * owner.chunking,
            "250 ENHANCEDSTATUSCODES",
        ]

    async def handle_MAIL(
        self, server: _Session, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        owner = self._owner
        sender = "" if address == "<>" else address
        if owner.credentials and not session.authenticated:
            return "530 5.7.0 Authentication required"
        if sender in owner.mail:
            reply = await _ask(owner.mail[sender], 1)
            if reply == HANG_UP:
                await server.hang_up()
            if reply:
                return reply
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        server.transaction(True)
        return "250 2.1.0 Sender ok"

    async def handle_RCPT(
        self, server: _Session, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        reply = await self._owner.answer_rcpt(address, len(envelope.rcpt_tos))
        if reply == HANG_UP:
            await server.hang_up()
        if reply:
            return reply
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Recipient ok"

    async def handle_RSET(self, server: _Session, session: Any, envelope: Any) -> str:
        self._owner.commands["RSET"] += 1
        return "250 2.0.0 Reset"

    async def handle_DATA(self, server: _Session, session: Any, envelope: Any) -> str:
        owner = self._owner
        data: bytes = envelope.content
        if len(data) > 998 and max(map(len, data.split(b"\r\n"))) > 998:
            return "500 5.6.0 A line of more than 998 bytes (RFC 5321, 4.5.3.1.6)"
        answer = await owner.answer_message(envelope.rcpt_tos)
        if not answer or answer == HANG_UP:
            sender = "" if envelope.mail_from == "<>" else envelope.mail_from
            user = session.auth_data.login.decode() if session.auth_data else ""
            tls = session.ssl is not None or owner.implicit_tls is not None
            owner.record(
                Message(
                    sender,
                    tuple(envelope.rcpt_tos),
                    data,
                    server.number,
                    tuple(envelope.mail_options),
                    user,
                    tls,
                    session.peer[0],
                )
            )
        if answer == HANG_UP:
            await server.hang_up()
        return answer or f"250 2.0.0 Taken as {len(owner.messages)}"
