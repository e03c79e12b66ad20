"""The message on its way to the server: dots, line ends, and messages of many megabytes."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from babygun.smtp import SmtpPool
from babygun.smtp.connection import dot_stuffed, wire_form
from babygun.smtp.replies import Reply
from tests.smtp.conftest import send
from tests.smtp.scripted import Peer, ScriptedServer
from tests.support.smtp_server import MisbehavingServer

NewPool = Callable[..., SmtpPool]
HEAD = b"Subject: x\r\n\r\n"

DOTS = [
    b".\r\n",
    b"..\r\n",
    b"a\r\n.\r\nb\r\n",
    b".\r\n.\r\n..\r\n...\r\n",
    b"a.\r\n.b\r\n. c\r\n",
    b"\r\n\r\n.\r\n",
    b"",
]


@pytest.mark.parametrize("body", DOTS)
@pytest.mark.parametrize("head", [HEAD, b""], ids=["header", "bare"])
async def test_dots_arrive_as_they_were_sent(new_pool: NewPool, head: bytes, body: bytes) -> None:
    async with MisbehavingServer() as server:
        await send(new_pool(server.port), "b@example.org", message=head + body)
        assert server.messages[0].data == head + body


async def test_random_lines_arrive_as_they_were_sent(new_pool: NewPool) -> None:
    rng = random.Random(11)
    async with MisbehavingServer() as server:
        pool = new_pool(server.port)
        for _ in range(50):
            lines = [
                bytes(rng.choices(b".\t aB=", k=rng.randrange(6))) for _ in range(rng.randrange(40))
            ]
            message = HEAD + b"".join(line + b"\r\n" for line in lines)
            await send(pool, "b@example.org", message=message)
            assert server.messages[-1].data == message


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        (b"a\nb", b"a\r\nb\r\n"),
        (b"a\rb\r\n", b"a\r\nb\r\n"),
        (b"a\r\r\nb\r\n", b"a\r\n\r\nb\r\n"),
        (b"a\n.\nRCPT TO:<evil@example.org>\r\n", b"a\r\n..\r\nRCPT TO:<evil@example.org>\r\n"),
        (b"a\r.\r\n", b"a\r\n..\r\n"),
        (b"a\r\n.", b"a\r\n..\r\n"),
    ],
)
def test_lone_line_ends_never_end_a_message(message: bytes, wire: bytes) -> None:
    assert dot_stuffed(wire_form(message)) == wire


async def test_five_megabytes_arrive_whole_and_the_loop_goes_on(new_pool: NewPool) -> None:
    message = HEAD + (b"." * 75 + b"\r\n") * 70_000
    async with MisbehavingServer() as server:
        pool = new_pool(server.port)
        assert (await send(pool, "b@example.org", message=message))["b@example.org"].code == 250
        assert server.messages[0].data == message
        assert (await send(pool, "c@example.org"))["c@example.org"].code == 250
        assert server.sessions == 1


async def test_large_message_to_a_server_that_stops_reading_times_out_certain(
    new_pool: NewPool,
) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(b"250-scripted.example\r\n250 PIPELINING\r\n")
        await peer.hear("MAIL", "RCPT", "DATA")
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        peer.say(b"250 ok\r\n250 ok\r\n354 go\r\n")
        await peer.writer.wait_closed()

    async with ScriptedServer(script) as server:
        pool = new_pool(server.port, data_timeout=0.3)
        reply = (await send(pool, "b@example.org", message=HEAD + b"y" * 30_000_000))[
            "b@example.org"
        ]
        assert (reply.phase, reply.code, reply.uncertain) == ("data", None, False)
        assert "took no data for 0.3 s" in reply.text
        assert pool.connections.open == 0


async def test_large_message_refused_in_the_middle_has_that_reply(new_pool: NewPool) -> None:
    async def script(peer: Peer) -> None:
        await peer.greet(b"250-scripted.example\r\n250 PIPELINING\r\n")
        await peer.hear("MAIL", "RCPT", "DATA")
        peer.say(b"250 ok\r\n250 ok\r\n354 go\r\n")
        await peer.reader.readexactly(100_000)
        peer.say(b"552 5.3.4 That is enough\r\n")
        await peer.reader.read()

    async with ScriptedServer(script) as server:
        pool = new_pool(server.port)
        replies = await send(pool, "b@example.org", message=HEAD + (b"y" * 70 + b"\r\n") * 500_000)
        assert replies["b@example.org"] == Reply("message", 552, "5.3.4", "That is enough")
        assert (
            pool.connections.open == 0
        )  # half a message went out: what came next would be taken for its rest
