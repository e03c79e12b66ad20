"""What a message looks like on the other side: byte for byte, in UTF-8, large."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from babygun.smtp import Envelope, SmtpPool
from babygun.smtp.connection import dot_stuffed, wire_form
from babygun.smtp.replies import Reply
from tests.smtp.conftest import send, yes
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
        assert pool.open == 0


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
        assert pool.open == 0  # half a message went out: what came next would be taken for its rest


async def test_size_is_announced_without_stuffing(new_pool: NewPool) -> None:
    message = HEAD + b".\r\n" * 100
    async with MisbehavingServer() as server:
        await send(new_pool(server.port), "b@example.org", message=message)
        assert server.messages[0].options == (f"SIZE={len(message)}",)


async def test_message_over_the_size_offered_is_refused_here(new_pool: NewPool) -> None:
    async with MisbehavingServer(size=1000) as server:
        pool = new_pool(server.port)
        replies = await send(pool, "b@example.org", "c@example.org", message=HEAD + b"y" * 1000)
        for reply in replies.values():
            assert (reply.phase, reply.code, reply.enhanced) == ("mail", 552, "5.3.4")
            assert "refused by Babygun" in reply.text
        assert server.attempts.total() == 0
        assert (await send(pool, "b@example.org"))["b@example.org"].code == 250


def rendered(asked: list[tuple[bool, bool]]) -> Callable[[bool, bool], bytes]:
    def render(eight_bit: bool, smtputf8: bool) -> bytes:
        asked.append((eight_bit, smtputf8))
        return HEAD + ("Grüße\r\n".encode() if eight_bit else b"Gr=C3=BC=C3=9Fe\r\n")

    return render


async def test_eight_bit_content_is_declared(new_pool: NewPool) -> None:
    asked: list[tuple[bool, bool]] = []
    async with MisbehavingServer() as server:
        await new_pool(server.port).deliver(
            Envelope("a@example.org", ("b@example.org",), rendered(asked)), may_send=yes
        )
        assert asked == [(True, False)]
        assert "BODY=8BITMIME" in server.messages[0].options
        assert "Grüße".encode() in server.messages[0].data


async def test_server_without_8bitmime_gets_seven_bits(new_pool: NewPool) -> None:
    asked: list[tuple[bool, bool]] = []
    async with MisbehavingServer(eight_bit=False) as server:
        await new_pool(server.port).deliver(
            Envelope("a@example.org", ("b@example.org",), rendered(asked)), may_send=yes
        )
        assert asked == [(False, False)]
        assert server.messages[0].data.isascii()
        assert not any(option.startswith("BODY") for option in server.messages[0].options)


async def test_utf8_addresses_go_with_smtputf8(new_pool: NewPool) -> None:
    async with MisbehavingServer() as server:
        await send(
            new_pool(server.port),
            "büro@bücher.example",
            sender="jörg@example.org",
            message="Subject: Grüße\r\n\r\n".encode(),
            utf8=True,
        )
        message = server.messages[0]
        assert (message.sender, message.recipients) == (
            "jörg@example.org",
            ("büro@bücher.example",),
        )
        assert {"SMTPUTF8", "BODY=8BITMIME"} < set(message.options)


@pytest.mark.parametrize("smtputf8", [True, False])
async def test_domain_beyond_ascii_goes_as_a_labels(new_pool: NewPool, smtputf8: bool) -> None:
    async with MisbehavingServer(smtputf8=smtputf8) as server:
        replies = await send(new_pool(server.port), "b@bücher.example", sender="a@bücher.example")
        assert replies["b@bücher.example"].code == 250
        message = server.messages[0]
        assert (message.sender, message.recipients) == (
            "a@xn--bcher-kva.example",
            ("b@xn--bcher-kva.example",),
        )
        assert "SMTPUTF8" not in message.options


async def test_local_part_beyond_ascii_is_refused_where_smtputf8_is_not_offered(
    new_pool: NewPool,
) -> None:
    async with MisbehavingServer(smtputf8=False) as server:
        pool = new_pool(server.port)
        replies = await send(pool, "büro@example.org", "b@bücher.example", utf8=True)
        refused = replies["büro@example.org"]
        assert (refused.phase, refused.code, refused.enhanced) == ("rcpt", 553, "5.6.7")
        assert replies["b@bücher.example"].code == 250
        replies = await send(pool, "b@example.org", sender="jörg@example.org", utf8=True)
        assert (replies["b@example.org"].phase, replies["b@example.org"].enhanced) == (
            "mail",
            "5.6.7",
        )


@pytest.mark.parametrize("offered", [True, False])
async def test_header_that_needs_smtputf8_gets_it_or_a_refusal(
    new_pool: NewPool, offered: bool
) -> None:
    def render(eight_bit: bool, smtputf8: bool) -> bytes:
        if not smtputf8:
            raise ValueError("büro@example.org needs SMTPUTF8")
        return "Cc: büro@example.org\r\n\r\n".encode()

    async with MisbehavingServer(smtputf8=offered) as server:
        outcome = await new_pool(server.port).deliver(
            Envelope("a@example.org", ("b@example.org",), render), may_send=yes
        )
        assert outcome.replies["b@example.org"].enhanced == ("2.0.0" if offered else "5.6.7")
        assert [
            {"SMTPUTF8", "BODY=8BITMIME"} <= set(message.options) for message in server.messages
        ] == [True] * offered


async def test_message_that_can_not_be_rendered_raises_and_harms_no_connection(
    new_pool: NewPool,
) -> None:
    def render(eight_bit: bool, smtputf8: bool) -> bytes:
        raise LookupError("no such charset")

    async with MisbehavingServer() as server:
        pool = new_pool(server.port)
        with pytest.raises(LookupError):
            await pool.deliver(Envelope("a@example.org", ("b@example.org",), render), may_send=yes)
        assert (pool.in_use, pool.waiting) == (0, 0)
        assert (await send(pool, "b@example.org"))["b@example.org"].code == 250
