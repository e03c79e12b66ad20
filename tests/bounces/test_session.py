"""The sessions of mail servers: what they may send, how much of it and for how long."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from babygun.bounces import session
from babygun.runtime.settings import Settings
from tests.support.bounce_server import Bounced, bounce_server
from tests.support.certificates import Authority
from tests.support.processes import PATIENCE
from tests.support.scraping import scraped

COMPLAINTS = "complaints@bounces.example.com"
MESSAGE = b"Subject: hello\n\nI am nobody's report.\n"


@pytest_asyncio.fixture
async def bounced(settings: Settings) -> AsyncIterator[Bounced]:
    async with bounce_server(settings) as running:
        yield running


async def test_message_for_a_known_address_is_taken_and_the_session_goes_on(
    bounced: Bounced,
) -> None:
    async with bounced.connected() as mail_server:
        offered = (await mail_server.greet()).split("\n")
        assert offered[0] == "250-bounces.example.com"
        assert {line[4:] for line in offered[1:]} == {
            f"SIZE {session.LARGEST}",
            "8BITMIME",
            "SMTPUTF8",
            "PIPELINING",
        }
        for _ in range(2):
            assert await mail_server.give(MESSAGE, COMPLAINTS) == "250 2.0.0 Taken"
        assert (await mail_server.say("QUIT")).startswith("221")


async def test_address_of_others_is_refused_with_any_sender(bounced: Bounced) -> None:
    for sender in ("", "me@example.com"):
        for address in ("ann@example.org", "ann@bounces.example.com", "complaints@example.org"):
            reply = await bounced.give(MESSAGE, address, sender=sender)
            assert reply == "550 5.1.1 No such address here"


async def test_session_of_many_wrong_addresses_is_ended(bounced: Bounced) -> None:
    async with bounced.connected() as mail_server:
        await mail_server.greet()
        await mail_server.say("MAIL FROM:<>")
        replies = [
            await mail_server.say(f"RCPT TO:<bounces+{number}@bounces.example.com>")
            for number in range(11)
        ]
        assert [reply[:3] for reply in replies] == ["550"] * 10 + ["421"]
        assert await mail_server.reply() == ""


async def test_message_of_too_many_addresses_goes_to_the_first_ones(bounced: Bounced) -> None:
    async with bounced.connected() as mail_server:
        await mail_server.greet()
        await mail_server.say("MAIL FROM:<>")
        replies = [await mail_server.say(f"RCPT TO:<{COMPLAINTS}>") for _ in range(21)]
        assert [reply[:3] for reply in replies] == ["250"] * 20 + ["452"]


async def test_commands_in_one_packet_are_answered_in_their_order(bounced: Bounced) -> None:
    async with bounced.connected() as mail_server:
        await mail_server.greet()
        words = f"MAIL FROM:<>\r\nRCPT TO:<{COMPLAINTS}>\r\nDATA\r\n"
        mail_server.writer.write(f"{words}Subject: x\r\n\r\nbody\r\n.\r\nQUIT\r\n".encode())
        replies = [(await mail_server.reply())[:3] for _ in range(5)]
        assert replies == ["250", "250", "354", "250", "221"]


async def test_dot_after_a_bare_line_feed_does_not_end_the_message(bounced: Bounced) -> None:
    """Or a second message could be smuggled in."""
    async with bounced.connected() as mail_server:
        await mail_server.greet()
        await mail_server.say("MAIL FROM:<>")
        await mail_server.say(f"RCPT TO:<{COMPLAINTS}>")
        await mail_server.say("DATA")
        mail_server.writer.write(b"a\n.\nMAIL FROM:<>\n.\r\nb\r.\r\n")
        assert (await mail_server.say("\r\n.")).startswith("250")


async def test_message_of_any_length_is_read_past_in_little_memory(bounced: Bounced) -> None:
    """One of lines, and one of a single line without an end."""
    for piece in (b"x" * 70 + b"\r\n", b"x" * 72):
        async with bounced.connected() as mail_server:
            await mail_server.greet()
            await mail_server.say("MAIL FROM:<>")
            await mail_server.say(f"RCPT TO:<{COMPLAINTS}>")
            await mail_server.say("DATA")
            tracemalloc.start()
            try:
                for _ in range(8):
                    mail_server.writer.write(piece * (1 << 14))  # 1.1 MiB
                    await mail_server.writer.drain()
                reply = await mail_server.say("\r\n.")
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert reply.startswith("250")
            assert peak < 8 << 20


async def test_message_that_is_too_large_is_refused_and_the_session_ends(
    bounced: Bounced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "LARGEST", 100_000)
    async with bounced.connected() as mail_server:
        await mail_server.greet()
        await mail_server.say("MAIL FROM:<>")
        await mail_server.say(f"RCPT TO:<{COMPLAINTS}>")
        await mail_server.say("DATA")
        mail_server.writer.write(b"line\r\n" * 20_000)
        assert (await mail_server.reply()).startswith("552 5.3.4")
        assert await mail_server.reply() == ""


async def test_message_that_does_not_end_is_given_up(
    bounced: Bounced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_DATA_WITHIN", 0.1)
    async with bounced.connected() as mail_server:
        await mail_server.greet()
        await mail_server.say("MAIL FROM:<>")
        await mail_server.say(f"RCPT TO:<{COMPLAINTS}>")
        await mail_server.say("DATA")
        mail_server.writer.write(b"Subject: slow\r\n")
        assert (await mail_server.reply()).startswith("421 4.4.2")
        assert await mail_server.reply() == ""


async def test_server_that_reads_no_reply_is_cut_off(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_IDLE", 0.2)
    monkeypatch.setattr(session, "_FLUSHED_WITHIN", 0.1)
    async with bounce_server(settings) as bounced, bounced.connected() as mail_server:
        mail_server.reader._limit = 1  # type: ignore[attr-defined]
        mail_server.writer.write(b"HELP\r\n" * 500_000)
        async with asyncio.timeout(PATIENCE):
            while bounced.server.connections:  # noqa: ASYNC110 (it has no signal)
                await asyncio.sleep(0.01)


async def test_connections_beyond_the_limit_of_one_address_are_refused(
    settings: Settings,
) -> None:
    async with (
        bounce_server(replace(settings, bounce_connections=20)) as bounced,
        bounced.connected() as first,
        bounced.connected() as second,
    ):
        for mail_server in (first, second):
            assert (await mail_server.reply()).startswith("220")
        async with bounced.connected() as third:
            assert (await third.reply()).startswith("421 4.7.0")
            assert await third.reply() == ""
        await first.say("QUIT")
        assert await first.reply() == ""
        async with bounced.connected() as fourth:
            assert (await fourth.reply()).startswith("220")


async def test_session_by_tls_takes_messages_and_forgets_what_came_before(
    settings: Settings, tmp_path: object
) -> None:
    pem = Authority(tmp_path).sign("bounces.example.com")  # type: ignore[arg-type]
    given = replace(settings, bounce_cert=str(pem.cert), bounce_key=str(pem.key))
    async with bounce_server(given) as bounced, bounced.connected() as mail_server:
        assert "STARTTLS" in await mail_server.greet()
        await mail_server.say("MAIL FROM:<>")
        offered = await mail_server.start_tls()
        assert "STARTTLS" not in offered and "AUTH" not in offered
        assert (await mail_server.say(f"RCPT TO:<{COMPLAINTS}>")).startswith("503")
        assert await mail_server.give(MESSAGE, COMPLAINTS) == "250 2.0.0 Taken"


async def test_broken_tls_of_a_server_is_no_fault_of_ours(
    settings: Settings, tmp_path: object
) -> None:
    pem = Authority(tmp_path).sign("bounces.example.com")  # type: ignore[arg-type]
    given = replace(settings, bounce_cert=str(pem.cert), bounce_key=str(pem.key))
    before = scraped("bounced")
    async with bounce_server(given) as bounced, bounced.connected() as mail_server:
        await mail_server.greet()
        await mail_server.say("STARTTLS")
        mail_server.writer.write(b"this is no handshake\r\n" * 10)
        async with asyncio.timeout(PATIENCE):
            await mail_server.reader.read()
    name = "babygun_returned_refused_total"
    assert scraped("bounced").since(before, name, reason="error") == 0


async def test_login_is_not_offered_and_refused(bounced: Bounced) -> None:
    async with bounced.connected() as mail_server:
        await mail_server.greet()
        assert (await mail_server.say("AUTH PLAIN AGEAYg=="))[:1] == "5"


async def test_connection_that_breaks_off_in_a_message_leaves_nothing(bounced: Bounced) -> None:
    async with bounced.connected() as mail_server:
        await mail_server.greet()
        await mail_server.say("MAIL FROM:<>")
        await mail_server.say(f"RCPT TO:<{COMPLAINTS}>")
        await mail_server.say("DATA")
        mail_server.writer.write(b"Subject: half\r\n")
        await mail_server.writer.drain()
        mail_server.writer.transport.abort()
    async with asyncio.timeout(PATIENCE):
        while bounced.server.connections:  # noqa: ASYNC110 (it has no signal)
            await asyncio.sleep(0.01)
