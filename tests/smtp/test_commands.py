"""The envelope's commands and parameters: SIZE, 8BITMIME, SMTPUTF8, and refusals before MAIL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from babygun.email.addresses import parse_address
from babygun.smtp import Envelope, SmtpPool
from babygun.smtp.commands import prepare
from babygun.smtp.connection import Capabilities
from tests.smtp.conftest import send, yes
from tests.smtp.scripted import Peer, ScriptedServer
from tests.support.field import rows
from tests.support.smtp_server import MisbehavingServer

NewPool = Callable[..., SmtpPool]
HEAD = b"Subject: x\r\n\r\n"


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
async def test_header_that_needs_smtputf8_gets_it_where_it_is_offered(
    new_pool: NewPool, offered: bool
) -> None:
    def render(eight_bit: bool, smtputf8: bool) -> bytes:
        return (f"Cc: {'büro' if smtputf8 else 'left-out'}@example.org\r\n\r\n").encode()

    async with MisbehavingServer(smtputf8=offered) as server:
        envelope = Envelope("a@example.org", ("b@example.org",), render, needs_smtputf8=True)
        outcome = await new_pool(server.port).deliver(envelope, may_send=yes)
        assert outcome.replies["b@example.org"].code == 250
        assert {"SMTPUTF8", "BODY=8BITMIME"} <= set(server.messages[0].options) or not offered
        assert ("büro".encode() in server.messages[0].data) == offered


async def test_local_part_with_stray_dots_goes_in_quotation_marks(new_pool: NewPool) -> None:
    heard: list[str] = []

    async def script(peer: Peer) -> None:
        await peer.greet()
        heard.extend(await peer.hear("MAIL", "RCPT", "RCPT", "DATA"))
        peer.say(b"250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n")
        await peer.message()
        peer.say(b"250 taken\r\n")

    recipients = [parse_address(f"{local}@docomo.example").email for local in ("a..b", "ann.")]
    async with ScriptedServer(script) as server:
        replies = await send(new_pool(server.port), *recipients)
    assert [reply.code for reply in replies.values()] == [250, 250]
    assert heard[1:3] == ['RCPT TO:<"a..b"@docomo.example>', 'RCPT TO:<"ann."@docomo.example>']


@pytest.mark.parametrize("row", rows("addresses", "taken"), ids=lambda row: row["text"])
async def test_address_of_the_field_stands_in_the_path_as_its_row_says(row: dict[str, Any]) -> None:
    email = parse_address(row["text"]).email
    envelope = Envelope("me@example.com", (email,), lambda eight_bit, smtputf8: HEAD)
    prepared = await prepare(envelope, Capabilities())
    assert prepared.rcpts == [f"RCPT TO:<{row.get('path', row['text'])}>\r\n".encode()]


async def test_message_that_can_not_be_rendered_raises_and_harms_no_connection(
    new_pool: NewPool,
) -> None:
    def render(eight_bit: bool, smtputf8: bool) -> bytes:
        raise LookupError("no such charset")

    async with MisbehavingServer() as server:
        pool = new_pool(server.port)
        with pytest.raises(LookupError):
            await pool.deliver(Envelope("a@example.org", ("b@example.org",), render), may_send=yes)
        assert (pool.connections.in_use, pool.connections.waiting) == (0, 0)
        assert (await send(pool, "b@example.org"))["b@example.org"].code == 250


async def test_signature_stands_before_the_message_exactly_as_it_goes_out() -> None:
    async def sign(message: bytes) -> bytes:
        assert message == b"Subject: a\r\n\r\n.one\r\ntwo\r\n"
        return b"Signed: yes\r\n" + message

    envelope = Envelope(
        "me@example.com",
        ("ann@example.org",),
        lambda eight_bit, smtputf8: b"Subject: a\r\n\r\n.one\ntwo",
        sign=sign,
    )
    prepared = await prepare(envelope, Capabilities(size_offered=True))
    assert prepared.content == b"Signed: yes\r\nSubject: a\r\n\r\n.one\r\ntwo\r\n"
    assert f"SIZE={len(prepared.content)}".encode() in prepared.mail
