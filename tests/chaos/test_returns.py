"""What comes back in a run: a server of the test's own takes, defers or refuses it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from babygun.bounces.parse import read
from scripts.chaos import returns
from scripts.chaos.history import History, Recorder, Returned
from scripts.chaos.returns import Returns
from tests.support.processes import PATIENCE
from tests.support.streams import listening

SENDER = "bounces+id.recipienta.client.mac2@bounces.held0.example"
FORGED = "bounces+id.recipienta.client.aac2@bounces.held0.example"


class Bounced:
    """Replies to messages in the order of ``replies``, then 250; to a wrong address with 550."""

    def __init__(self) -> None:
        self.replies: list[str] = []
        self.messages: list[tuple[str, bytes]] = []  # with the address

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        address = ""
        while line := (await reader.readline()).decode().strip():
            reply = "250-bounced\r\n250 Ok" if line.startswith("EHLO") else "250 Ok"
            if line.startswith("RCPT"):
                address = line[line.index("<") + 1 : -1]
                reply = "550 5.1.1 Nobody" if address == FORGED else reply
            elif line == "DATA":
                writer.write(b"354 Go on\r\n")
                message = await reader.readuntil(b"\r\n.\r\n")
                reply = self.replies.pop(0) if self.replies else "250 2.0.0 Taken"
                if not reply:
                    break
                self.messages.append((address, message))
            writer.write(f"{reply}\r\n".encode())
        writer.close()


class World:
    def __init__(self, bounced: Bounced, returns: Returns, recorder: Recorder, file: Path) -> None:
        self.bounced, self.returns = bounced, returns
        self._recorder, self._file = recorder, file

    async def events(self) -> list[Returned]:
        """All of them, once everything was brought."""
        async with asyncio.timeout(PATIENCE):
            while self.returns.open:  # noqa: ASYNC110 - a run asks in the same way
                await asyncio.sleep(0.01)
        self._recorder.close()
        return list(History(self._file).events(Returned))


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(returns, "_LATER", 0.0)
    monkeypatch.setattr(returns, "_PAUSES", (0.0, 0.0))
    monkeypatch.setattr(returns, "_FORGED", 0.0)
    monkeypatch.setattr(returns, "_FORWARDED", 0.0)
    bounced = Bounced()
    recorder = Recorder(tmp_path / "history")
    async with listening(bounced.serve) as port:
        bringing = Returns(recorder, port)
        yield World(bounced, bringing, recorder, tmp_path / "history")
        await bringing.stop()


async def test_bounce_message_is_brought_until_it_is_taken(world: World) -> None:
    world.bounced.replies = ["451 4.3.0 Later", ""]
    world.returns.bounce(SENDER, "e1", "ann@one.example")
    replies = [event.reply for event in await world.events()]
    assert replies == ["451 4.3.0 Later", "", "250 2.0.0 Taken"]
    address, message = world.bounced.messages[-1]
    [failure] = read(message).failures
    assert (address, failure.addresses) == (SENDER, ("ann@one.example",))


async def test_complaint_names_the_message_and_goes_to_its_own_address(world: World) -> None:
    world.returns.complain(SENDER, "e1", "ann@one.example", b"Subject: hi\r\n\r\ntext\r\n")
    [event] = await world.events()
    assert (event.kind, event.address) == ("complaint", "complaints@bounces.chaos.example")
    said = read(world.bounced.messages[0][1]).complaint
    assert said is not None and "Subject: hi" in said.head


async def test_forged_message_has_a_wrong_mac_and_is_brought_once(world: World) -> None:
    world.returns.forge(SENDER, "e1", "ann@one.example")
    [event] = await world.events()
    assert event.forged and event.address == FORGED and event.path == SENDER
    assert event.reply.startswith("550")


async def test_message_without_a_return_path_brings_nothing_back(world: World) -> None:
    world.returns.bounce("me@sender.example", "e1", "ann@one.example")
    world.returns.complain("me@sender.example", "e1", "ann@one.example", b"")
    assert await world.events() == []
