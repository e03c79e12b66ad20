"""An SMTP server that behaves as a row of ``tests/data/field/sessions.toml`` says."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tests.smtp.scripted import Peer, ScriptedServer

_USUAL = {
    "greeting": "220 field.example",
    "HELO": "250 field.example",
    "STARTTLS": "220 go",
    "AUTH": "235 2.7.0 ok",
    "MAIL": "250 2.1.0 ok",
    "RCPT": "250 2.1.5 ok",
    "RSET": "250 2.0.0 ok",
    "DATA": "354 go",
    "message": "250 2.0.0 taken",
    "BDAT": "250 2.0.0 taken",
    "QUIT": "221 2.0.0 bye",
}


class _End(Exception):
    """The connection has ended."""


class FieldServer:
    """``async with FieldServer(row, offers, tls, silent) as server: … server.port …``

    ``offers``: what EHLO offers. ``silent``: called where it says nothing more. ``taken``: of each
    message the connection's number, whether it was encrypted, and its recipients. ``commands``: the
    verbs that came, of each connection.
    """

    def __init__(
        self,
        row: dict[str, Any],
        offers: list[str],
        tls: Callable[[str], ssl.SSLContext],
        silent: Callable[[], None],
    ) -> None:
        self._row, self._offers, self._tls, self.silent = row, offers, tls, silent
        self._server = ScriptedServer(self._script)
        self.taken: list[tuple[int, bool, tuple[str, ...]]] = []
        self.commands: list[list[str]] = []

    async def __aenter__(self) -> FieldServer:
        await self._server.__aenter__()
        self.port = self._server.port
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._server.__aexit__(*error)

    async def _script(self, peer: Peer) -> None:
        connections = self._row.get("connections", [])
        # What comes after the last connection of the row is as usual, or as that one.
        last = connections[-1] if self._row.get("always") else {}
        answers = connections[peer.number - 1] if peer.number <= len(connections) else last
        self.commands.append([])
        with suppress(_End):
            await _Session(self, self._row, answers, peer, self._offers, self._tls).run()


class _Session:
    def __init__(
        self,
        server: FieldServer,
        row: dict[str, Any],
        answers: dict[str, Any],
        peer: Peer,
        offers: list[str],
        tls: Callable[[str], ssl.SSLContext],
    ) -> None:
        self._server, self._answers, self._peer = server, answers, peer
        self._offers, self._tls = offers, tls
        self._pipelined = row.get("pipelined", "")
        self._times: dict[str, int] = {}
        self._rest = b""
        self._encrypted = False
        self._sender = False
        self._recipients: list[str] = []

    async def run(self) -> None:
        await self._answer("greeting")
        while True:
            line = (await self._line()).decode()
            verb = line.split(" ")[0].upper()
            self._server.commands[self._peer.number - 1].append(verb)
            if self._pipelined and self._rest:
                await self._break()
            await self._handle(verb, line)

    async def _handle(self, verb: str, line: str) -> None:
        if verb == "BDAT":
            await self._exactly(int(line.split(" ")[1]))
        code = await self._answer(verb)
        if verb == "STARTTLS" and code == "220":
            await self._start_tls()
        elif verb in ("MAIL", "RSET"):
            self._sender, self._recipients = verb == "MAIL" and code == "250", []
        elif verb == "RCPT" and code == "250":
            self._recipients.append(line.partition("<")[2].partition(">")[0])
        elif verb == "DATA" and code == "354":
            while await self._line() != b".":
                pass
            await self._take(await self._answer("message"))
        elif verb == "BDAT":
            await self._take(code)
        elif verb == "QUIT":
            raise _End

    async def _take(self, code: str) -> None:
        if code == "250":
            self._server.taken.append((self._peer.number, self._encrypted, tuple(self._recipients)))

    async def _answer(self, what: str) -> str:
        """Says what the row says, or the usual. Returns the code."""
        given = self._answers.get(what, [])
        given = [given] if isinstance(given, str) else given
        at = self._times[what] = self._times.get(what, 0) + 1
        parts = [given[at - 1]] if at <= len(given) else []
        if what == "greeting":
            parts = given
        code = ""
        for part in parts or [self._usual(what)]:
            if part == "close":
                raise _End
            if part == "reset":
                self._reset()
            if part == "silence":
                await self._be_silent()
            text, _, then = part.partition(" | ")
            if text:
                code = text[:3]
                self._peer.say(text.encode() + b"\r\n")
            if then == "close" or code == "421":
                await self._peer.writer.drain()
                raise _End
        return code

    def _usual(self, what: str) -> str:
        if what == "RCPT" and not self._sender:
            return "503 5.5.1 MAIL first"
        if what in ("DATA", "BDAT") and not self._recipients:
            return "503 5.5.1 RCPT first"
        if what == "EHLO":
            offers = [o for o in self._offers if o != "STARTTLS" or not self._encrypted]
            return "\r\n".join([*(f"250-{o}" for o in ["field.example", *offers]), "250 HELP"])
        return _USUAL[what]

    async def _break(self) -> None:
        """What the server does where commands came together."""
        how = self._pipelined
        if how in ("close", "reset"):
            if how == "reset":
                self._reset()
            raise _End
        if how == "flush":
            self._rest = b""
            self._server.silent()  # after the reply to the first command
            return
        text, _, then = how.partition(" | ")
        self._peer.say(text.encode() + b"\r\n")
        await self._peer.writer.drain()
        if then != "close":
            await self._be_silent()
        raise _End

    async def _be_silent(self) -> None:
        self._server.silent()
        await self._peer.reader.read()
        raise _End

    async def _start_tls(self) -> None:
        how = self._answers.get("handshake", "")
        if how == "close":
            raise _End
        if how == "reset":
            self._reset()
        if how == "silence":
            await self._be_silent()
        if how == "rubbish":
            await self._peer.reader.read(1)
            self._peer.say(b"HTTP/1.0 400 what?\r\n\r\n" * 20)
            await self._peer.writer.drain()
            await self._peer.reader.read()
            raise _End
        self._peer.lost, transport = True, self._peer.writer.transport
        try:
            await self._peer.writer.start_tls(self._tls(how))
            self._peer.lost, self._encrypted = False, True
        except (ssl.SSLError, ConnectionError):
            raise _End from None
        finally:
            if not self._encrypted:
                transport.abort()

    def _reset(self) -> None:
        self._peer.writer.transport.abort()
        raise _End

    async def _more(self) -> None:
        data = await self._peer.reader.read(65536)
        if not data:
            raise _End
        self._rest += data

    async def _line(self) -> bytes:
        while b"\r\n" not in self._rest:
            await self._more()
        line, _, self._rest = self._rest.partition(b"\r\n")
        return line

    async def _exactly(self, size: int) -> bytes:
        while len(self._rest) < size:
            await self._more()
        content, self._rest = self._rest[:size], self._rest[size:]
        return content
