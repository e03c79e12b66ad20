"""The receivers, spoken to by hand: what they answer and what they write to the history."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from scripts.chaos.digests import digest
from scripts.chaos.history import Greylisted, History, Received, Recorder
from scripts.chaos.receivers import Receiver
from tests.support.processes import PATIENCE

BODY = "first\r\n..\r\nlast\r\n"  # dot-stuffed
MESSAGE = (
    f"Message-ID: <id-1@x.example>\r\nSubject: hi [chaos m]\r\nTo: ok.m@x.example\r\n\r\n{BODY}"
)


class Dialogue:
    """A connection to a receiver."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def reply(self) -> str:
        """The next reply's code; empty when the connection has ended."""
        async with asyncio.timeout(PATIENCE):
            while line := (await self._reader.readline()).decode():
                if line[3:4] != "-":
                    return line[:3]
        return ""

    async def say(self, *lines: str) -> list[str]:
        self._writer.write("".join(f"{line}\r\n" for line in lines).encode())
        return [await self.reply() for _ in lines]

    async def send(self, text: str) -> str:
        self._writer.write(text.encode())
        return await self.reply()

    def close(self) -> None:
        self._writer.transport.abort()


class Receiving:
    """A receiver and its history."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "history"
        self._recorder = Recorder(self._path)
        self.receiver = Receiver("one", self._recorder, chunking=True)
        self._dialogues: list[Dialogue] = []

    async def dialogue(self) -> Dialogue:
        port = await self.receiver.start()
        self._dialogues.append(Dialogue(*await asyncio.open_connection("127.0.0.1", port)))
        return self._dialogues[-1]

    async def transaction(self, local_part: str) -> tuple[str, Dialogue]:
        """A greeting, EHLO, MAIL, RCPT and DATA; returns the reply to the message."""
        dialogue = await self.dialogue()
        assert await dialogue.reply() == "220"
        said = ("EHLO me", "MAIL FROM:<a@b.example>", f"RCPT TO:<{local_part}@x.example>", "DATA")
        assert await dialogue.say(*said) == ["250", "250", "250", "354"]
        return await dialogue.send(f"{MESSAGE}.\r\n"), dialogue

    async def received(self) -> list[Received]:
        for dialogue in self._dialogues:
            dialogue.close()
        await self.receiver.stop()
        self._recorder.close()
        return list(History(self._path).events(Received))


@pytest.fixture
async def receiving(tmp_path: Path) -> AsyncIterator[Receiving]:
    here = Receiving(tmp_path)
    yield here
    await here.received()


async def test_message_that_is_taken_is_in_the_history_with_its_digest(
    receiving: Receiving,
) -> None:
    reply, _ = await receiving.transaction("ok.m")
    assert reply == "250"
    [received] = await receiving.received()
    assert (received.mark, received.email_id, received.committed) == ("m", "id-1", True)
    assert received.recipients == received.shown == ("ok.m@x.example",)
    assert received.digest == digest("hi [chaos m]", "first\n.\nlast\n", [])


async def test_message_by_bdat_is_the_same(receiving: Receiving) -> None:
    dialogue = await receiving.dialogue()
    await dialogue.reply()
    await dialogue.say("EHLO me", "MAIL FROM:<>", "RCPT TO:<ok.m@x.example>")
    message = MESSAGE.replace("\r\n..", "\r\n.")
    assert await dialogue.send(f"BDAT {len(message)} LAST\r\n{message}") == "250"
    [received] = await receiving.received()
    assert received.digest == digest("hi [chaos m]", "first\n.\nlast\n", [])


async def test_message_that_is_refused_is_not_committed(receiving: Receiving) -> None:
    reply, _ = await receiving.transaction("bounce-dot.m")
    assert reply == "554"
    [received] = await receiving.received()
    assert received.committed is False


async def test_cut_after_the_dot_takes_the_message_and_says_nothing(receiving: Receiving) -> None:
    assert [(await receiving.transaction("cut-dot-1.m"))[0] for _ in range(2)] == ["", "250"]
    assert [each.committed for each in await receiving.received()] == [None, True]


async def test_cut_before_the_dot_takes_no_message(receiving: Receiving) -> None:
    reply, _ = await receiving.transaction("cut-1.m")
    assert reply == ""
    assert not await receiving.received()


async def test_server_that_refuses_the_session_greets_so_and_hangs_up(
    receiving: Receiving,
) -> None:
    receiving.receiver.greeting = "554 5.3.2 No service"
    dialogue = await receiving.dialogue()
    assert [await dialogue.reply(), await dialogue.reply()] == ["554", ""]
    receiving.receiver.normal()
    assert await (await receiving.dialogue()).reply() == "220"


async def test_greylisted_recipient_is_taken_the_second_time_and_written_down(
    receiving: Receiving, tmp_path: Path
) -> None:
    dialogue = await receiving.dialogue()
    assert await dialogue.reply() == "220"
    rcpt = "RCPT TO:<grey.m@x.example>"
    assert await dialogue.say("EHLO me", "MAIL FROM:<a@b.example>", rcpt, rcpt) == [
        *("250", "250", "451", "250")
    ]
    await receiving.received()
    events = list(History(tmp_path / "history").events(Greylisted))
    assert [(each.recipient, each.source) for each in events] == [
        ("grey.m@x.example", "127.0.0.1")
    ] * 2


async def test_recipient_of_no_run_is_refused(receiving: Receiving) -> None:
    dialogue = await receiving.dialogue()
    await dialogue.reply()
    assert await dialogue.say("EHLO me", "MAIL FROM:<>", "RCPT TO:<ann@x.example>") == [
        *("250", "250"),
        "553",
    ]
