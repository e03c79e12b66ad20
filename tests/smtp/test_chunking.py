"""BDAT (RFC 3030): the message in one write with its envelope, where the server offers that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from babygun.smtp import Envelope, NotSent, SmtpPool, connection
from babygun.smtp.replies import Reply
from babygun.smtp.transaction import AT_ONCE
from tests.smtp.conftest import MESSAGE, Limits, send
from tests.smtp.scripted import Peer, ScriptedServer
from tests.support.smtp_server import HANG_UP, MisbehavingServer

NewPool = Callable[..., SmtpPool]
EHLO = b"250-scripted.example\r\n250-PIPELINING\r\n250 CHUNKING\r\n"
DOTS = b"Subject: dots\r\n\r\n.\r\n..\r\n.a\r\nend"


@pytest.fixture
async def server() -> AsyncIterator[MisbehavingServer]:
    async with MisbehavingServer(chunking=True) as server:
        yield server


async def hear_all(peer: Peer, *verbs: str, size: int) -> bytes:
    """A transaction's commands and its message, which must all come before any reply."""
    lines = await peer.hear(*verbs, "BDAT")
    assert lines[-1] == f"BDAT {size} LAST"
    return await peer.reader.readexactly(size)


def answering_once(said: bytes) -> Callable[[Peer], Awaitable[None]]:
    """A script that says this to the first transaction, then nothing more."""

    async def script(peer: Peer) -> None:
        await peer.greet(EHLO)
        await hear_all(peer, "MAIL", "RCPT", size=len(MESSAGE))
        peer.say(said)
        await peer.reader.read()

    return script


async def test_message_goes_in_one_write_with_its_envelope_and_undoubled_dots(
    new_pool: NewPool,
) -> None:
    got = []

    async def script(peer: Peer) -> None:
        await peer.greet(EHLO)
        got.append(await hear_all(peer, "MAIL", "RCPT", "RCPT", size=len(DOTS) + 2))
        peer.say(b"250 ok\r\n250 ok\r\n550 5.1.1 no\r\n250 2.0.0 taken\r\n")
        await peer.reader.read()

    async with ScriptedServer(script) as server:
        replies = await send(new_pool(server.port), "a@example.org", "b@example.org", message=DOTS)
    assert got == [DOTS + b"\r\n"]
    assert replies == {
        "a@example.org": Reply("message", 250, "2.0.0", "taken"),
        "b@example.org": Reply("rcpt", 550, "5.1.1", "no"),
    }


async def test_next_message_on_the_connection_goes_by_bdat_too(
    server: MisbehavingServer, new_pool: NewPool
) -> None:
    pool = new_pool(server.port)
    for name in "abc":
        assert (await send(pool, f"{name}@example.org", message=DOTS))[
            f"{name}@example.org"
        ].code == 250
    assert (
        server.commands["BDAT"],
        server.commands["DATA"],
        server.commands["RSET"],
        server.sessions,
    ) == (3, 0, 0, 1)
    assert {message.data for message in server.messages} == {DOTS + b"\r\n"}


@pytest.mark.parametrize("refused", ["softdata", "hard"])
async def test_failed_bdat_is_followed_by_rset(
    server: MisbehavingServer, new_pool: NewPool, refused: str
) -> None:
    pool = new_pool(server.port)
    await send(pool, f"{refused}@example.org")
    assert (await send(pool, "next@example.org"))["next@example.org"].code == 250
    if refused.startswith("soft"):  # that may be about the connection
        assert (server.commands["BDAT"], server.commands["RSET"], server.sessions) == (2, 0, 2)
    else:  # were RSET refused, the earlier recipients might get the message too: so no BDAT
        counts = [server.commands[verb] for verb in ("BDAT", "RSET", "DATA")]
        assert (counts, server.sessions) == ([1, 1, 1], 1)
    assert [message.recipients for message in server.messages] == [("next@example.org",)]


async def test_connection_that_was_silent_for_long_gets_data(
    server: MisbehavingServer, new_pool: NewPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = new_pool(server.port)
    await send(pool, "a@example.org")
    monkeypatch.setattr(connection, "LIVELY", 0.0)
    await send(pool, "b@example.org")
    assert (server.commands["BDAT"], server.commands["DATA"], server.sessions) == (1, 1, 1)


async def test_silent_connection_that_is_dead_costs_the_message_nothing(
    server: MisbehavingServer, new_pool: NewPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = new_pool(server.port)
    await send(pool, "a@example.org")
    monkeypatch.setattr(connection, "LIVELY", 0.0)
    server.mail["late@example.org"] = lambda attempt: HANG_UP if server.sessions == 1 else ""
    replies = await send(pool, "b@example.org", sender="late@example.org")
    assert replies["b@example.org"].code == 250
    assert (server.sessions, len(server.messages)) == (2, 2)


async def test_large_message_waits_until_its_recipients_are_taken(
    server: MisbehavingServer, new_pool: NewPool
) -> None:
    large = b"Subject: large\r\n\r\n" + (b"x" * 70 + b"\r\n") * (AT_ONCE // 72 - 1)
    assert len(large) <= AT_ONCE < len(large) + 74
    pool = new_pool(server.port)
    assert (await send(pool, "a@example.org", message=large))["a@example.org"].code == 250
    assert (await send(pool, "a@example.org", message=large + b"x" * 72))[
        "a@example.org"
    ].code == 250
    assert (server.commands["BDAT"], server.commands["DATA"]) == (1, 1)


async def test_more_recipients_than_one_group_are_asked_first(
    server: MisbehavingServer, new_pool: NewPool
) -> None:
    replies = await send(new_pool(server.port), *(f"r{n}@example.org" for n in range(101)))
    assert {reply.code for reply in replies.values()} == {250}
    assert (server.commands["BDAT"], server.commands["DATA"]) == (0, 1)


@pytest.mark.parametrize("code", [500, 502, 504])
async def test_server_that_does_not_know_bdat_after_all_gets_data(
    new_pool: NewPool, code: int
) -> None:
    got = []

    async def script(peer: Peer) -> None:
        await peer.greet(EHLO)
        if peer.number == 1:
            await hear_all(peer, "MAIL", "RCPT", "RCPT", size=len(MESSAGE))
            peer.say(
                b"250 ok\r\n250 ok\r\n450 4.2.1 later\r\n" + b"%d 5.5.1 what?\r\n" % code * 6
            )  # the message's lines seemed to be commands
            assert not await peer.reader.read()
            return
        await peer.hear("MAIL", "RCPT", "RCPT", "DATA")
        peer.say(b"250 ok\r\n250 ok\r\n550 5.1.1 no\r\n354 go\r\n")
        got.append(await peer.message())
        peer.say(b"250 2.0.0 taken\r\n")
        got.append(await peer.transaction())
        await peer.reader.read()

    async with ScriptedServer(script) as server:
        pool = new_pool(server.port)
        replies = await send(pool, "a@example.org", "b@example.org")
        await send(pool, "c@example.org")
        assert server.connections == 2
    assert got == [MESSAGE, MESSAGE]
    assert replies == {
        "a@example.org": Reply("message", 250, "2.0.0", "taken"),
        "b@example.org": Reply("rcpt", 550, "5.1.1", "no"),
    }


async def test_relay_whose_chunking_is_off_gets_data(
    server: MisbehavingServer, new_pool: NewPool
) -> None:
    await send(new_pool(server.port, chunking=False), "a@example.org")
    assert (server.commands["BDAT"], server.commands["DATA"]) == (0, 1)


async def test_server_without_pipelining_gets_data(new_pool: NewPool) -> None:
    async with MisbehavingServer(chunking=True, pipelining=False) as server:
        await send(new_pool(server.port), "a@example.org")
        assert (server.commands["BDAT"], server.commands["DATA"]) == (0, 1)


async def test_may_send_false_sends_nothing(server: MisbehavingServer, new_pool: NewPool) -> None:
    with pytest.raises(NotSent):
        await new_pool(server.port).deliver(
            Envelope("a@example.org", ("b@example.org",), lambda eight_bit, smtputf8: MESSAGE),
            may_send=lambda: False,
        )
    assert (server.commands["BDAT"], server.transactions, server.messages) == (0, 0, [])


@pytest.mark.parametrize("said", [b"", b"250 ok\r\n", b"250 ok\r\n250 ok\r\n"])
async def test_connection_lost_before_the_last_reply_is_uncertain(
    new_pool: NewPool, said: bytes
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(EHLO)
        await hear_all(peer, "MAIL", "RCPT", size=len(MESSAGE))
        peer.say(said)

    async with ScriptedServer(script) as server:
        reply = (await send(new_pool(server.port), "a@example.org"))["a@example.org"]
    assert (reply.phase, reply.code, reply.uncertain) == ("message", None, True)


async def test_used_connection_that_breaks_without_an_answer_is_replaced(new_pool: NewPool) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(EHLO)
        await hear_all(peer, "MAIL", "RCPT", size=len(MESSAGE))
        peer.say(b"250 ok\r\n250 ok\r\n250 ok\r\n")
        if peer.number == 1:
            await hear_all(peer, "MAIL", "RCPT", size=len(MESSAGE))
        else:
            await peer.reader.read()

    async with ScriptedServer(script) as server:
        pool = new_pool(server.port)
        assert [(await send(pool, "a@example.org"))["a@example.org"].code for _ in range(2)] == [
            250,
            250,
        ]
        assert server.connections == 2


async def test_used_connection_that_is_silent_leaves_the_message_uncertain(
    new_pool: NewPool, limits: Limits
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(EHLO)
        await hear_all(peer, "MAIL", "RCPT", size=len(MESSAGE))
        peer.say(b"250 ok\r\n250 ok\r\n250 ok\r\n")
        await hear_all(peer, "MAIL", "RCPT", size=len(MESSAGE))
        limits.pass_soon()
        await peer.reader.read()

    async with ScriptedServer(script) as server:
        pool = new_pool(server.port)
        await send(pool, "a@example.org")
        reply = (await send(pool, "a@example.org"))["a@example.org"]
        assert (reply.phase, reply.code, reply.uncertain) == ("message", None, True)
        assert server.connections == 1


@pytest.mark.parametrize(
    ("said", "phase"),
    [(b"", "mail"), (b"250 ok\r\n", "rcpt"), (b"250 ok\r\n250 ok\r\n", "message")],
)
async def test_goodbye_in_place_of_a_reply_is_certain(
    new_pool: NewPool, said: bytes, phase: str
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(EHLO)
        await hear_all(peer, "MAIL", "RCPT", size=len(MESSAGE))
        peer.say(said + b"421 4.3.2 going down\r\n")

    async with ScriptedServer(script) as server:
        reply = (await send(new_pool(server.port), "a@example.org"))["a@example.org"]
    assert (reply.phase, reply.code, reply.uncertain) == (phase, 421, False)


async def test_mail_refused_counts_for_all_whatever_bdat_is_answered(new_pool: NewPool) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(EHLO)
        await hear_all(peer, "MAIL", "RCPT", size=len(MESSAGE))
        peer.say(b"550 5.1.8 not you\r\n503 5.5.1 no MAIL\r\n503 5.5.1 no MAIL\r\n")
        await peer.hear("RSET", "MAIL", "RCPT", "DATA")
        peer.say(b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n")
        await peer.message()
        peer.say(b"250 ok\r\n")
        await peer.reader.read()

    async with ScriptedServer(script) as server:
        pool = new_pool(server.port)
        assert await send(pool, "a@example.org") == {
            "a@example.org": Reply("mail", 550, "5.1.8", "not you")
        }
        assert (await send(pool, "a@example.org"))["a@example.org"].code == 250


async def test_reply_of_300_to_bdat_ends_the_connection(new_pool: NewPool) -> None:
    async with ScriptedServer(answering_once(b"250 ok\r\n250 ok\r\n354 go on\r\n")) as server:
        pool = new_pool(server.port)
        reply = (await send(pool, "a@example.org"))["a@example.org"]
    assert (reply.code, reply.uncertain) == (None, True)
    assert "354 in reply to BDAT" in reply.text
    assert pool.connections.open == 0
