"""Servers that don't speak proper SMTP: garbled replies end the connection, odd ones are taken."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from babygun.smtp import SmtpPool
from babygun.smtp.replies import Reply
from babygun.smtp.reply_parser import TEXT_MAX
from tests.smtp.conftest import send
from tests.smtp.scripted import Peer, ScriptedServer

NewPool = Callable[..., SmtpPool]
OK = b"250 ok\r\n"
GO = b"354 go\r\n"


async def outcome_of(
    new_pool: NewPool, script: Callable[[Peer], Awaitable[None]], *recipients: str, **given: float
) -> dict[str, Reply]:
    async with ScriptedServer(script) as server:
        pool = new_pool(server.port, **given)
        replies = await send(pool, *(recipients or ("b@example.org",)))
        await pool.close()
    return replies


RUBBISH = {
    "no code": b"hello there\r\n",
    "code of one digit": b"2 ok\r\n",
    "code out of range": b"999 what\r\n",
    "preliminary code": b"150 wait\r\n",
    "code without end": b"2500 ok\r\n",
    "other digits": "２５０ ok\r\n".encode(),
    "empty line": b"\r\n",
    "two codes in one reply": b"250-ok\r\n550 no\r\n",
    "nul bytes": b"\0\0\0\0\r\n",
    "a line without end": b"250 " + b"x" * 100_000,
    "lines without end": b"250-more\r\n" * 10_000,
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
}


@pytest.mark.parametrize("rubbish", RUBBISH.values(), ids=RUBBISH.keys())
@pytest.mark.parametrize("phase", ["mail", "message"])
async def test_garbage_ends_the_connection(new_pool: NewPool, rubbish: bytes, phase: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        if phase == "message":
            await peer.transaction(after_dot=rubbish)
        else:
            await peer.hear("MAIL", "RCPT", "DATA")
            peer.say(rubbish)
        await peer.reader.read()

    reply = (await outcome_of(new_pool, script))["b@example.org"]
    assert (reply.phase, reply.code, reply.uncertain) == (phase, None, phase == "message")
    assert "protocol error" in reply.text
    assert len(reply.text) < 300


@pytest.mark.parametrize("step", [1, 2, 3, 7])
async def test_replies_in_pieces_of_any_size_are_put_together(new_pool: NewPool, step: int) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.hear("MAIL", "RCPT", "RCPT", "DATA")
        replies = (
            b"250-2.1.0 first\r\n250-2.1.0 second\r\n250 2.1.0 third\r\n250 ok\r\n"
            b"550-5.1.1 no\r\n550 5.1.1 such user\r\n354 go\r\n"
        )
        for at in range(0, len(replies), step):
            peer.say(replies[at : at + step])
            await peer.writer.drain()
            await asyncio.sleep(0)
        await peer.message()
        for byte in b"250-2.0.0 thank\r\n250 2.0.0 you\r\n":
            peer.say(bytes([byte]))
            await asyncio.sleep(0)
        await peer.hear("QUIT")

    replies = await outcome_of(new_pool, script, "a@example.org", "b@example.org")
    assert replies == {
        "a@example.org": Reply("message", 250, "2.0.0", "thank you"),
        "b@example.org": Reply("rcpt", 550, "5.1.1", "no such user"),
    }


async def test_bare_codes_and_lone_line_feeds_are_taken(new_pool: NewPool) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.transaction(b"250\r\n250\n354\n", after_dot=b"250\n")
        await peer.hear("QUIT")

    assert await outcome_of(new_pool, script) == {"b@example.org": Reply("message", 250, None, "")}


async def test_data_accepted_without_recipients_gets_a_lone_dot(new_pool: NewPool) -> None:
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.hear("MAIL", "RCPT", "DATA")
        peer.say(b"250 ok\r\n550 5.1.1 no\r\n354 go\r\n")
        seen.append(await peer.message())
        peer.say(b"554 5.5.1 No valid recipients\r\n")
        seen.append(await peer.transaction())  # no RSET in between: the dot has ended it
        await peer.hear("QUIT")

    async with ScriptedServer(script) as server:
        pool = new_pool(server.port)
        assert await send(pool, "b@example.org") == {
            "b@example.org": Reply("rcpt", 550, "5.1.1", "no")
        }
        assert (await send(pool, "c@example.org"))["c@example.org"].code == 250
        await pool.close()
        assert server.connections == 1
    assert seen[0] == b""
    assert seen[1].startswith(b"From: ")


async def test_data_accepted_after_a_refused_mail_gets_a_lone_dot(new_pool: NewPool) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.hear("MAIL", "RCPT", "DATA")
        peer.say(b"550 5.7.1 not you\r\n250 ok\r\n354 go\r\n")
        assert await peer.message() == b""
        peer.say(OK)
        await peer.hear("QUIT")

    assert await outcome_of(new_pool, script) == {
        "b@example.org": Reply("mail", 550, "5.7.1", "not you")
    }


async def test_data_refused_though_recipients_were_accepted_counts_for_them(
    new_pool: NewPool,
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.hear("MAIL", "RCPT", "RCPT", "DATA")
        peer.say(OK + OK + b"550 5.1.1 no\r\n554 5.3.2 not now\r\n")
        await peer.hear("RSET", "MAIL", "RCPT", "DATA")
        peer.say(OK + OK + OK + GO)
        await peer.message()
        peer.say(OK)
        await peer.hear("QUIT")

    async with ScriptedServer(script) as server:
        pool = new_pool(server.port)
        replies = await send(pool, "a@example.org", "b@example.org")
        assert replies == {
            "a@example.org": Reply("data", 554, "5.3.2", "not now"),
            "b@example.org": Reply("rcpt", 550, "5.1.1", "no"),
        }
        assert (await send(pool, "c@example.org"))["c@example.org"].code == 250
        await pool.close()


async def test_rset_refused_leads_to_a_fresh_connection(new_pool: NewPool) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        if peer.number == 1:
            await peer.hear("MAIL", "RCPT", "DATA")
            peer.say(OK + b"550 no\r\n503 no\r\n")
            await peer.hear("RSET", "MAIL", "RCPT", "DATA")
            peer.say(b"502 what\r\n" + OK + OK + GO)
            assert await peer.reader.read() == b""
        else:
            await peer.transaction()
            await peer.hear("QUIT")

    async with ScriptedServer(script) as server:
        pool = new_pool(server.port)
        await send(pool, "a@example.org")
        assert (await send(pool, "b@example.org"))["b@example.org"].code == 250
        await pool.close()
        assert server.connections == 2


@pytest.mark.parametrize("data", [b"250 ok\r\n", b"334 more\r\n"])
async def test_wrong_positive_reply_to_data_is_a_protocol_error(
    new_pool: NewPool, data: bytes
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.hear("MAIL", "RCPT", "DATA")
        peer.say(OK + OK + data)
        assert await peer.reader.read() == b""

    reply = (await outcome_of(new_pool, script))["b@example.org"]
    assert (reply.phase, reply.code, reply.uncertain) == ("data", None, False)


async def test_wrong_reply_to_the_message_is_uncertain(new_pool: NewPool) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.transaction(after_dot=GO)
        await peer.reader.read()

    reply = (await outcome_of(new_pool, script))["b@example.org"]
    assert (reply.phase, reply.code, reply.uncertain) == ("message", None, True)


async def test_reply_ahead_of_the_message_stops_it(new_pool: NewPool) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.hear("MAIL", "RCPT", "DATA")
        peer.say(OK + OK + GO + b"250 queued already\r\n")
        assert await peer.reader.read() == b""  # no content follows

    reply = (await outcome_of(new_pool, script))["b@example.org"]
    assert (reply.phase, reply.code, reply.uncertain) == ("data", None, False)
    assert "a reply to nothing" in reply.text


async def test_rubbish_behind_the_final_reply_takes_nothing_from_it(new_pool: NewPool) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.transaction(after_dot=b"250 2.0.0 queued\r\nrubbish\r\n")
        assert await peer.reader.read() == b""  # but the connection is not used again

    async with ScriptedServer(script) as server:
        pool = new_pool(server.port)
        assert await send(pool, "b@example.org") == {
            "b@example.org": Reply("message", 250, "2.0.0", "queued")
        }
        assert (pool.connections.open, pool.connections.in_use) == (0, 0)


async def test_half_closed_connection_ends_a_large_message_at_once(new_pool: NewPool) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(b"250-scripted.example\r\n250 PIPELINING\r\n")
        await peer.hear("MAIL", "RCPT", "DATA")
        peer.say(OK + OK + GO)
        await peer.reader.readexactly(100_000)
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        peer.writer.write_eof()
        await peer.writer.wait_closed()

    async with ScriptedServer(script) as server:
        pool = new_pool(server.port, data_timeout=60)
        async with asyncio.timeout(20):
            reply = (await send(pool, "b@example.org", message=b"y" * 30_000_000))["b@example.org"]
        assert (reply.phase, reply.code, reply.uncertain) == ("data", None, False)


@pytest.mark.parametrize("half", [b"250 o", b"250-2.0.0 queued\r\n", b""])
async def test_half_a_reply_and_a_close_is_a_lost_connection(
    new_pool: NewPool, half: bytes
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.transaction(after_dot=half)

    reply = (await outcome_of(new_pool, script))["b@example.org"]
    assert (reply.phase, reply.code, reply.uncertain) == ("message", None, True)


@pytest.mark.parametrize(
    ("answered", "phase"), [(b"", "mail"), (OK, "rcpt"), (OK + OK + OK, "data")]
)
async def test_421_in_the_middle_is_the_reply_of_that_phase(
    new_pool: NewPool, answered: bytes, phase: str
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.hear("MAIL", "RCPT", "RCPT", "DATA")
        peer.say(answered + b"421 4.3.2 Going down\r\n")
        assert await peer.reader.read() == b""

    replies = await outcome_of(new_pool, script, "a@example.org", "b@example.org")
    assert replies == dict.fromkeys(
        ["a@example.org", "b@example.org"], Reply(phase, 421, "4.3.2", "Going down")
    )  # type: ignore[arg-type]


async def test_421_after_the_dot_is_certain(new_pool: NewPool) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.transaction(after_dot=b"421 4.3.2 Going down\r\n")

    assert await outcome_of(new_pool, script) == {
        "b@example.org": Reply("message", 421, "4.3.2", "Going down")
    }


async def test_helo_only_server_is_spoken_to_in_steps(new_pool: NewPool) -> None:
    async def script(peer: Peer) -> None:
        peer.say(b"220 old.example\r\n")
        await peer.hear("EHLO")
        peer.say(b"500 what\r\n")
        await peer.hear("HELO")
        peer.say(OK)
        for verb in ("MAIL", "RCPT"):
            await peer.hear(verb)
            peer.say(OK)
        await peer.hear("DATA")
        peer.say(GO)
        await peer.message()
        peer.say(OK)
        await peer.hear("QUIT")
        peer.say(b"221 bye\r\n")

    assert (await outcome_of(new_pool, script))["b@example.org"].code == 250


async def test_text_of_a_reply_is_cut_and_cleaned(new_pool: NewPool) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet()
        await peer.hear("MAIL", "RCPT", "DATA")
        peer.say(
            OK
            + b"".join(b"550-5.7.1 \xff\x1b[31m" + b"y" * 400 + b"\r\n" for _ in range(20))
            + b"550 5.7.1 end\r\n503 no\r\n"
        )
        await peer.hear("QUIT")

    reply = (await outcome_of(new_pool, script))["b@example.org"]
    assert (reply.code, reply.enhanced) == (550, "5.7.1")
    assert reply.text.startswith("\ufffd [31m")
    assert 500 < len(reply.text) <= TEXT_MAX


@pytest.mark.parametrize(
    "greeting",
    [b"554 5.7.1 go away\r\n", b"421 4.3.2 later\r\n", b"rubbish\r\n", b"", b"220 hello\r\n"],
)
async def test_greeting_that_is_none_fails_in_its_phase(new_pool: NewPool, greeting: bytes) -> None:
    async def script(peer: Peer) -> None:
        peer.say(greeting)

    reply = (await outcome_of(new_pool, script))["b@example.org"]
    assert reply.phase == ("ehlo" if greeting.startswith(b"220") else "greeting")
    assert reply.code == (int(greeting[:3]) if greeting[:1] in (b"5", b"4") else None)
    assert not reply.uncertain
    assert reply.text
