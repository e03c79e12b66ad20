"""What comes back: mail servers that bring bounce messages and complaints to `babygun bounced`.

They are brought as mail servers do it: again after a 4xx, and after a connection that breaks. Some
are forged: their address has a wrong mac, and each has to be refused.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Literal

from babygun.email.return_path import PREFIX
from babygun.runtime.tasks import cancel_all
from scripts.chaos.history import Recorder, Returned
from scripts.chaos.returned_mail import bounce_message, complaint
from scripts.chaos.senders import RETURN_HOST

_LATER = 2.0  # s, at most, until a message comes back for the first time
_PAUSES = (0.3, 1.0)  # s, between two tries
_PATIENCE = 10.0  # s, for each reply
_AT_ONCE = 40
_FORGED, _FORWARDED = 0.2, 0.3  # parts of all bounce messages


@dataclass(frozen=True)
class _Report:
    """``address``: to which it goes. The others: as in :class:`Returned`."""

    kind: Literal["bounce", "complaint"]
    address: str
    email_id: str
    recipient: str
    path: str
    forged: bool
    text: str


class Returns:
    """``port``: of `babygun bounced`. ``open``: messages that are not brought yet."""

    def __init__(self, recorder: Recorder, port: int) -> None:
        self._recorder, self._port = recorder, port
        self._random = Random("returns")
        self._line = asyncio.Semaphore(_AT_ONCE)
        self._open: set[asyncio.Task[None]] = set()

    @property
    def open(self) -> int:
        return len(self._open)

    async def stop(self) -> None:
        await cancel_all(*self._open)

    def bounce(self, sender: str, email_id: str, recipient: str) -> None:
        """A server that took a message to this recipient could not deliver it.

        ``sender``: of its envelope. Without a return path there nothing comes back to us.
        """
        if not sender.startswith(PREFIX):
            return
        # A server to which the recipient's mail was forwarded names its own address.
        named = recipient
        if self._random.random() < _FORWARDED and _is_of_one(sender, recipient):
            named = "someone@forwarded.example"
        text = bounce_message(named)
        self._bring(_Report("bounce", sender, email_id, recipient, sender, False, text))
        if self._random.random() < _FORGED:
            address = _with_wrong_mac(sender)
            self._bring(_Report("bounce", address, email_id, recipient, sender, True, text))

    def forge(self, sender: str, email_id: str, recipient: str) -> None:
        """Somebody makes up a bounce message about a message that was delivered."""
        if sender.startswith(PREFIX):
            text = bounce_message(recipient)
            address = _with_wrong_mac(sender)
            self._bring(_Report("bounce", address, email_id, recipient, sender, True, text))

    def complain(self, sender: str, email_id: str, recipient: str, message: bytes) -> None:
        """The recipient calls a message spam. Every other provider leaves our Return-Path in."""
        if not sender.startswith(PREFIX):
            return
        head = message.partition(b"\r\n\r\n")[0].decode("utf-8", "replace").replace("\r\n", "\n")
        if self._random.random() < 0.5:
            head = f"Return-Path: <{sender}>\n{head}"
        text = complaint(recipient, head)
        address = f"complaints@{RETURN_HOST}"
        self._bring(_Report("complaint", address, email_id, recipient, sender, False, text))

    def _bring(self, report: _Report) -> None:
        task = asyncio.create_task(self._until_taken(report))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _until_taken(self, report: _Report) -> None:
        await asyncio.sleep(self._random.random() * _LATER)
        while True:
            async with self._line:
                reply = await self._try(report)
            if reply.startswith(("2", "5")):
                return
            await asyncio.sleep(self._random.uniform(*_PAUSES))

    async def _try(self, report: _Report) -> str:
        """One try, with its entry in the history. The last reply; empty if none came."""
        asked, reply = self._recorder.now(), ""
        try:
            with suppress(OSError, EOFError, TimeoutError):
                reply = await self._give(report)
        finally:
            self._recorder.add(
                Returned(
                    self._recorder.now(),
                    asked,
                    report.kind,
                    report.address,
                    report.email_id,
                    report.recipient,
                    report.path,
                    report.forged,
                    reply,
                )
            )
        return reply

    async def _give(self, report: _Report) -> str:
        """The last reply of one session: to the message, or to what was refused."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        session = _Session(reader, writer)
        try:
            await session.reply()
            for command in (
                "EHLO mx.chaos.example",
                "MAIL FROM:<>",
                f"RCPT TO:<{report.address}>",
                "DATA",
            ):
                reply = await session.say(command)
                if not reply.startswith(("2", "3")):
                    return reply
            return await session.say(f"{report.text}.")
        finally:
            writer.transport.abort()


class _Session:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def reply(self) -> str:
        """The last line of the next reply. Raises EOFError, OSError and TimeoutError."""
        async with asyncio.timeout(_PATIENCE):
            while line := (await self._reader.readline()).decode("utf-8", "replace"):
                if line[3:4] != "-":
                    return line.strip()
        raise EOFError

    async def say(self, text: str) -> str:
        self._writer.write(text.replace("\n", "\r\n").encode() + b"\r\n")
        return await self.reply()


def _is_of_one(sender: str, recipient: str) -> bool:
    """Whether the return path is of this recipient alone: then it may be named in any way."""
    return not recipient.endswith("@three.example")


def _with_wrong_mac(address: str) -> str:
    """The address, as somebody makes it up who does not have the key."""
    local, _, domain = address.rpartition("@")
    said, _, mac = local.rpartition(".")
    wrong = ("b" if mac[0] == "a" else "a") + mac[1:]
    return f"{said}.{wrong}@{domain}"
