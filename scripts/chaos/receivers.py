"""The receiving side: SMTP servers that record every message in the history.

What happens to a recipient is said by its local part: :mod:`scripts.chaos.behaviours`.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import ssl
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, cast

from scripts.chaos.behaviours import OF_MESSAGE, Behaviour, behaviour_of
from scripts.chaos.digests import parse
from scripts.chaos.history import Greylisted, Linked, Received, Recorder, mark_of
from scripts.chaos.returns import Returns

_LIMIT = 64 << 20  # bytes of a message
_SLOW = 1.0  # s
_PATH = re.compile(rb"<([^>]*)>")
_EHLO = (
    b"250-receiver.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n"
    b"250-ENHANCEDSTATUSCODES\r\n250-SIZE 67108864\r\n"
)


class Receiver:
    """The mail server of one relay, or a mail host. ``chunking``: it offers BDAT.

    ``watched``: the history gets its connections too. ``who``: says of a caller's port which
    process it is. ``tls``: what it shows; None: it has no TLS. ``verify``: the number of DKIM
    signatures of a message, and the domain of each that is valid. ``returns``: takes what comes
    back.

    What the whole server does, for faults; each counts from the next reply on:
    ``greeting``: instead of 220, such as "554 5.3.2 no service"; then it hangs up. ``stripped``:
    it offers no TLS, as if somebody on the way had taken it out.
    ``mail_reply``: instead of 250 to MAIL. ``rubbish``: bytes sent instead of every reply.
    ``silent``: it takes connections and says nothing.
    """

    def __init__(
        self,
        name: str,
        recorder: Recorder,
        *,
        chunking: bool = False,
        address: str = "127.0.0.1",
        port: int = 0,
        watched: bool = False,
    ) -> None:
        self.name, self.chunking, self.watched = name, chunking, watched
        self.who: Callable[[int, int], int] = lambda caller, port: 0
        self.tls: ssl.SSLContext | None = None
        self.verify: Callable[[bytes], tuple[int, tuple[str, ...]]] = lambda message: (0, ())
        self.returns: Returns | None = None
        self.messages = 0  # taken
        self.attempts: Counter[str] = Counter()  # RCPTs, by recipient
        self.from_source: Counter[tuple[str, str]] = Counter()  # by a greylisted one and caller
        self._recorder = recorder
        self._server: asyncio.Server | None = None
        self._address, self._port = address, port
        self._numbers = itertools.count(1)
        self._sessions: set[asyncio.Task[None]] = set()
        self.normal()

    def normal(self) -> None:
        """Undoes what faults changed."""
        self.greeting = self.mail_reply = ""
        self.rubbish = b""
        self.silent = self.stripped = False

    async def start(self) -> int:
        """Listens, on the same port each time; returns the port."""
        if self._server is None:
            self._server = await asyncio.start_server(
                self._serve, self._address, self._port, limit=_LIMIT
            )
            self._port = self._server.sockets[0].getsockname()[1]
        return self._port

    async def stop(self) -> None:
        """Stops listening, and breaks all connections."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        self.cut()
        await asyncio.gather(*self._sessions, return_exceptions=True)

    def cut(self) -> None:
        """Breaks all connections that are there."""
        for task in self._sessions:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        source, caller = (writer.get_extra_info("peername") or ("", 0))[:2]
        number, pid = next(self._numbers), self.who(caller, self._port) if self.watched else 0

        def note(what: Literal["open", "mail", "close"]) -> None:
            if self.watched:
                recorder = self._recorder
                recorder.add(Linked(recorder.now(), self.name, number, what, pid))

        note("open")
        try:
            with suppress(
                OSError, EOFError, asyncio.LimitOverrunError, asyncio.CancelledError, _HangUp
            ):
                session = _Session(self, self._recorder, reader, writer, lambda: note("mail"))
                await session.run(source)
        finally:
            note("close")
            writer.transport.abort()
            self._sessions.discard(task)


class _HangUp(Exception):
    """The session ends without a further reply."""


class _Session:
    """One connection."""

    def __init__(
        self,
        server: Receiver,
        recorder: Recorder,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        mail_came: Callable[[], None],
    ) -> None:
        self._server, self._recorder, self._mail_came = server, recorder, mail_came
        self._reader, self._writer = reader, writer
        self._recipients: list[str] = []
        self._source = self._sender = ""

    async def run(self, source: str) -> None:
        """``source``: the caller's address."""
        self._source = source
        if self._server.silent:
            await self._reader.read()
            return
        if greeting := self._server.greeting:
            self._say(greeting)
            await self._writer.drain()
            self._writer.close()
            await self._reader.read()
            return
        self._say("220 receiver.example ESMTP")
        while line := await self._reader.readline():
            await self._answer(line.strip())
            await self._writer.drain()

    async def _answer(self, line: bytes) -> None:
        verb = line[:4].upper()
        if verb == b"EHLO":
            chunking = b"250-CHUNKING\r\n" if self._server.chunking else b""
            self._say((_EHLO + chunking + self._starttls + b"250 HELP").decode())
        elif verb == b"STAR" and self._starttls:
            self._say("220 2.0.0 Go on")
            await self._writer.drain()
            await self._writer.start_tls(cast(ssl.SSLContext, self._server.tls))
        elif verb == b"MAIL":
            self._recipients = []
            found = _PATH.search(line)
            self._sender = found[1].decode() if found else ""
            self._mail_came()
            self._say(self._server.mail_reply or "250 2.1.0 Ok")
        elif verb == b"RCPT":
            await self._rcpt(line)
        elif verb == b"DATA":
            await self._data()
        elif verb == b"BDAT":
            await self._bdat(line)
        elif verb == b"RSET":
            self._recipients = []
            self._say("250 2.0.0 Ok")
        elif verb == b"QUIT":
            self._say("221 2.0.0 Bye")
            await self._writer.drain()
            raise _HangUp
        else:
            self._say("250 2.0.0 Ok" if verb == b"NOOP" else "502 5.5.1 Unknown command")

    @property
    def _starttls(self) -> bytes:
        server = self._server
        begun = self._writer.get_extra_info("ssl_object") is not None
        return b"" if begun or server.tls is None or server.stripped else b"250-STARTTLS\r\n"

    async def _rcpt(self, line: bytes) -> None:
        found = _PATH.search(line)
        address = found[1].decode() if found else ""
        self._server.attempts[address] += 1
        try:
            behaviour = behaviour_of(address)
        except ValueError:
            self._say("553 5.1.3 Not an address of this run")
            return
        attempt = self._server.attempts[address]
        if behaviour.kind == "stall" and behaviour.acts(attempt):
            await self._stall()
        if behaviour.kind == "grey":
            attempt = self._greylist(address)
        reply = behaviour.to_rcpt(attempt)
        if not reply:
            self._recipients.append(address)
        self._say(reply or "250 2.1.5 Ok")

    def _greylist(self, address: str) -> int:
        """How often the caller has come with this recipient."""
        server, recorder = self._server, self._recorder
        recorder.add(Greylisted(recorder.now(), server.name, address, self._source))
        server.from_source[address, self._source] += 1
        return server.from_source[address, self._source]

    async def _data(self) -> None:
        if not self._recipients:
            self._say("554 5.5.1 No valid recipients")
            return
        self._say("354 Go on")
        await self._writer.drain()
        if self._does("cut"):
            await self._reader.read(64)
            raise _HangUp
        stuffed = await self._reader.readuntil(b"\r\n.\r\n")
        message = stuffed[:-3]
        await self._take(message.removeprefix(b".").replace(b"\r\n.", b"\r\n"))

    async def _bdat(self, line: bytes) -> None:
        """RFC 3030, for a message in one chunk."""
        _, size, *last = line.split()
        if self._recipients and self._does("cut"):
            raise _HangUp
        message = await self._reader.readexactly(int(size))
        if not self._recipients:
            self._say("503 5.5.1 No valid recipients")
        elif not last:
            self._say("502 5.5.1 One chunk only")
        else:
            await self._take(message)

    async def _take(self, message: bytes) -> None:
        server = self._server
        refusals = (
            behaviour.to_message(server.attempts[address]) for address, behaviour in self._all()
        )
        reply = server.rubbish.decode("latin-1") or next(filter(None, refusals), "")
        cut = self._does("cut-dot")
        self._record(message, reply, committed=None if cut else not reply)
        if cut:
            raise _HangUp
        if self._does("slow"):
            await asyncio.sleep(_SLOW)
        self._recipients = []
        self._say(reply or f"250 2.0.0 Taken as {server.messages}")

    def _record(self, message: bytes, reply: str, *, committed: bool | None) -> None:
        parsed = parse(message)
        email_id = parsed.message_id.strip("<>").rpartition("@")[0]
        self._server.messages += committed is not False
        number, signed = self._server.verify(message)
        self._recorder.add(
            Received(
                self._recorder.now(),
                self._server.name,
                mark_of(parsed.subject),
                parsed.message_id,
                email_id,
                tuple(self._recipients),
                parsed.digest,
                reply or "250",
                committed,
                parsed.shown,
                self._sender,
                number,
                signed,
                self._writer.get_extra_info("ssl_object") is not None,
                self._source,
            )
        )
        if committed is not False:
            self._come_back(email_id, message)

    def _come_back(self, email_id: str, message: bytes) -> None:
        """What recipients and their servers do after the message was taken."""
        returns = self._server.returns
        for address, behaviour in self._all() if returns else ():
            assert returns is not None
            if behaviour.kind == "late-bounce":
                returns.bounce(self._sender, email_id, address)
            elif behaviour.kind == "complain":
                returns.complain(self._sender, email_id, address, message)
            elif behaviour.kind == "defer":
                returns.forge(self._sender, email_id, address)

    def _all(self) -> list[tuple[str, Behaviour]]:
        return [(address, behaviour_of(address)) for address in self._recipients]

    def _does(self, kind: str) -> bool:
        """Whether a recipient says this of the whole message, in this try of it."""
        assert kind in OF_MESSAGE
        return any(
            behaviour.kind == kind and behaviour.acts(self._server.attempts[address])
            for address, behaviour in self._all()
        )

    async def _stall(self) -> None:
        """Says nothing until the client goes."""
        while await self._reader.read(65536):
            pass
        raise _HangUp

    def _say(self, reply: str) -> None:
        rubbish = self._server.rubbish
        self._writer.write(rubbish or reply.encode() + b"\r\n")
