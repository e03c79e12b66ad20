"""Each recipient's outcome for each behaviour of a server: pipelined, one by one, chunked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import pytest

from babygun.email.model import Content
from babygun.mime import render
from babygun.smtp import Envelope, NotSent, SmtpPool
from babygun.smtp.replies import Reply
from tests.smtp.conftest import MESSAGE, send, yes
from tests.support.smtp_server import HANG_UP, MisbehavingServer

NewPool = Callable[..., SmtpPool]


@pytest.fixture(params=["pipelining", "in-steps", "chunking"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[MisbehavingServer]:
    async with MisbehavingServer(
        pipelining=request.param != "in-steps", chunking=request.param == "chunking"
    ) as server:
        yield server


@pytest.fixture(params=["pipelining", "in-steps"])
async def data_server(request: pytest.FixtureRequest) -> AsyncIterator[MisbehavingServer]:
    """One that gets the message after it has accepted the envelope."""
    async with MisbehavingServer(pipelining=request.param == "pipelining") as server:
        yield server


TABLE = [
    ("ok@example.org", Reply("message", 250, "2.0.0", "Taken as 1"), 1),
    ("soft@example.org", Reply("rcpt", 451, "4.3.0", "Temporary failure"), 0),
    ("hard@example.org", Reply("rcpt", 550, "5.1.1", "No such user here"), 0),
    ("full@example.org", Reply("rcpt", 552, "5.2.2", "Mailbox full"), 0),
    ("grey@example.org", Reply("rcpt", 450, "4.7.1", "Greylisted, try again in 60 seconds"), 0),
    ("slow@example.org", Reply("message", 250, "2.0.0", "Taken as 1"), 1),
    ("flaky-1@example.org", Reply("rcpt", 451, "4.3.0", "Not yet (1 of 1)"), 0),
    ("softdata@example.org", Reply("message", 451, "4.3.0", "Try that again"), 0),
    ("harddata@example.org", Reply("message", 554, "5.7.1", "Not this message"), 0),
]


@pytest.mark.parametrize(
    ("recipient", "reply", "messages"), TABLE, ids=[row[0].partition("@")[0] for row in TABLE]
)
async def test_reply_of_each_behaviour_reaches_the_outcome(
    server: MisbehavingServer, new_pool: NewPool, recipient: str, reply: Reply, messages: int
) -> None:
    pool = new_pool(server.port)
    assert await send(pool, recipient) == {recipient: reply}
    assert len(server.messages) == messages
    kept = 0 if recipient.startswith("softdata") else 1  # its 451 may be about the connection
    assert (pool.connections.open, pool.connections.in_use, pool.connections.waiting) == (
        kept,
        0,
        0,
    )


@pytest.mark.parametrize("refused", ["soft", "hard", "full", "harddata"])
async def test_connection_after_a_refusal_carries_the_next_message(
    server: MisbehavingServer, new_pool: NewPool, refused: str
) -> None:
    pool = new_pool(server.port)
    await send(pool, f"{refused}@example.org")
    assert (await send(pool, "next@example.org"))["next@example.org"].code == 250
    assert [message.recipients for message in server.messages] == [("next@example.org",)]
    assert server.sessions == 1


async def test_recipients_of_one_message_have_their_own_replies(
    server: MisbehavingServer, new_pool: NewPool
) -> None:
    replies = await send(
        new_pool(server.port),
        "a@example.org",
        "hard@example.org",
        "soft@example.org",
        "b@example.org",
        "full@example.org",
    )
    assert {recipient: reply.code for recipient, reply in replies.items()} == {
        "a@example.org": 250,
        "hard@example.org": 550,
        "soft@example.org": 451,
        "b@example.org": 250,
        "full@example.org": 552,
    }
    assert [message.recipients for message in server.messages] == [
        ("a@example.org", "b@example.org")
    ]


async def test_refusal_after_the_dot_leaves_refused_recipients_their_own_reply(
    server: MisbehavingServer, new_pool: NewPool
) -> None:
    replies = await send(new_pool(server.port), "harddata@example.org", "hard@example.org")
    assert replies["harddata@example.org"] == Reply("message", 554, "5.7.1", "Not this message")
    assert replies["hard@example.org"].phase == "rcpt"


async def test_mail_refused_counts_for_all(server: MisbehavingServer, new_pool: NewPool) -> None:
    server.mail["bad@example.org"] = "550 5.1.8 Sender unknown"
    pool = new_pool(server.port)
    replies = await send(pool, "a@example.org", "b@example.org", sender="bad@example.org")
    assert replies == dict.fromkeys(
        ["a@example.org", "b@example.org"], Reply("mail", 550, "5.1.8", "Sender unknown")
    )
    assert (await send(pool, "a@example.org"))["a@example.org"].code == 250
    assert server.sessions == 1


async def test_connection_dropped_at_data_is_not_uncertain(
    data_server: MisbehavingServer, new_pool: NewPool
) -> None:
    replies = await send(new_pool(data_server.port), "drop-data@example.org", "hard@example.org")
    lost = replies["drop-data@example.org"]
    assert (lost.phase, lost.code, lost.uncertain) == ("data", None, False)
    assert "connection" in lost.text
    assert replies["hard@example.org"].code == 550  # it was answered before
    assert data_server.messages == []


async def test_connection_dropped_after_the_dot_is_uncertain(
    server: MisbehavingServer, new_pool: NewPool
) -> None:
    replies = await send(new_pool(server.port), "drop-dot@example.org", "hard@example.org")
    lost = replies["drop-dot@example.org"]
    assert (lost.phase, lost.code, lost.uncertain) == ("message", None, True)
    assert replies["hard@example.org"].code == 550
    assert len(server.messages) == 1  # so it was right not to call it failed


async def test_connection_dropped_at_mail_and_rcpt_names_the_phase(
    data_server: MisbehavingServer, new_pool: NewPool
) -> None:
    data_server.mail["drop@example.org"] = HANG_UP
    data_server.rcpt["dropped@example.org"] = HANG_UP
    pool = new_pool(data_server.port)
    assert (await send(pool, "a@example.org", sender="drop@example.org"))[
        "a@example.org"
    ].phase == "mail"
    replies = await send(
        pool, "a@example.org", "hard@example.org", "dropped@example.org", "b@example.org"
    )
    assert {recipient: (reply.phase, reply.code) for recipient, reply in replies.items()} == {
        "a@example.org": ("rcpt", None),  # accepted, but never sent to
        "hard@example.org": ("rcpt", 550),
        "dropped@example.org": ("rcpt", None),
        "b@example.org": ("rcpt", None),
    }


async def test_reply_that_does_not_come_times_out(
    data_server: MisbehavingServer, new_pool: NewPool
) -> None:
    pool = new_pool(data_server.port, timeout=1.0)
    reply = (await send(pool, "hang@example.org"))["hang@example.org"]
    assert (reply.phase, reply.code, reply.uncertain) == ("rcpt", None, False)
    assert "no reply within 1 s" in reply.text
    assert pool.connections.open == 0


async def test_message_without_a_final_reply_times_out_uncertain(
    server: MisbehavingServer, new_pool: NewPool
) -> None:
    async def never(attempt: int) -> str:
        server.hung.set()
        return await server.answer_rcpt("hang@example.org", 0)

    server.message["a@example.org"] = never
    reply = (await send(new_pool(server.port, data_timeout=0.2, timeout=60), "a@example.org"))[
        "a@example.org"
    ]
    assert (reply.phase, reply.code, reply.uncertain) == ("message", None, True)


async def test_slow_replies_within_the_timeout_each_succeed(
    server: MisbehavingServer, new_pool: NewPool
) -> None:
    server.slow_seconds = 0.2
    # 3 s in all, each reply 0.2 s after the one before.
    recipients = [f"slow{n}@example.org" for n in range(15)]
    replies = await send(new_pool(server.port, timeout=2.5), *recipients)
    assert {reply.code for reply in replies.values()} == {250}


async def test_may_send_false_sends_nothing_and_raises(
    data_server: MisbehavingServer, new_pool: NewPool
) -> None:
    pool = new_pool(data_server.port)
    asked = []

    def no() -> bool:
        asked.append(data_server.transactions)
        return False

    with pytest.raises(NotSent):
        await pool.deliver(
            Envelope("a@example.org", ("b@example.org",), lambda eight_bit, smtputf8: MESSAGE),
            may_send=no,
        )
    assert asked == [1]  # asked once, when the server was already waiting for the content
    assert pool.connections.open == 0
    assert (await send(pool, "c@example.org"))["c@example.org"].code == 250
    assert [message.recipients for message in data_server.messages] == [("c@example.org",)]


async def test_may_send_is_not_asked_where_nobody_was_accepted(
    data_server: MisbehavingServer, new_pool: NewPool
) -> None:
    def unexpected() -> bool:
        raise AssertionError

    outcome = await new_pool(data_server.port).deliver(
        Envelope("a@example.org", ("hard@example.org",), lambda eight_bit, smtputf8: MESSAGE),
        may_send=unexpected,
    )
    assert outcome.replies["hard@example.org"].code == 550


async def test_thousand_recipients_all_get_the_message(
    server: MisbehavingServer, new_pool: NewPool
) -> None:
    recipients = [f"{'hard' if n % 100 == 7 else 'r'}{n}@example.org" for n in range(1000)]
    replies = await send(new_pool(server.port), *recipients)
    assert [recipient for recipient in recipients if replies[recipient].code != 250] == [
        recipient for recipient in recipients if recipient.startswith("hard")
    ]
    assert server.messages[0].recipients == tuple(
        recipient for recipient in recipients if recipient.startswith("r")
    )


async def test_too_many_recipients_are_refused_with_few_questions(
    server: MisbehavingServer, new_pool: NewPool
) -> None:
    server.max_recipients = 110
    recipients = [f"r{n}@example.org" for n in range(1000)]
    replies = await send(new_pool(server.port), *recipients)
    assert [replies[recipient].code for recipient in recipients] == [250] * 110 + [452] * 890
    assert replies["r999@example.org"] == Reply("rcpt", 452, "4.5.3", "Too many recipients")
    assert server.messages[0].recipients == tuple(recipients[:110])
    assert 110 < sum(server.attempts.values()) < 130


async def test_repeated_recipient_is_sent_to_once(
    server: MisbehavingServer, new_pool: NewPool
) -> None:
    outcome = await new_pool(server.port).deliver(
        Envelope("a@example.org", ("b@example.org",) * 3, lambda eight_bit, smtputf8: MESSAGE),
        may_send=yes,
    )
    assert outcome.replies["b@example.org"].code == 250
    assert server.messages[0].recipients == ("b@example.org",)


async def test_null_sender_is_sent_as_such(server: MisbehavingServer, new_pool: NewPool) -> None:
    assert (await send(new_pool(server.port), "b@example.org", sender=""))[
        "b@example.org"
    ].code == 250
    assert server.messages[0].sender == ""


@pytest.mark.parametrize(
    "address",
    [
        "b@example.org> SIZE=1",
        "b@example.org\r\nRSET",
        "b",
        "@example.org",
        "b@",
        "b c@example.org",
        "b@example.org\x00",
        "",
    ],
)
async def test_address_that_would_break_the_command_is_refused_here(
    server: MisbehavingServer, new_pool: NewPool, address: str
) -> None:
    replies = await send(new_pool(server.port), address, "good@example.org")
    assert (replies[address].phase, replies[address].code, replies[address].enhanced) == (
        "rcpt",
        553,
        "5.1.3",
    )
    assert replies["good@example.org"].code == 250
    if address:
        replies = await send(new_pool(server.port), "good@example.org", sender=address)
        assert (replies["good@example.org"].phase, replies["good@example.org"].enhanced) == (
            "mail",
            "5.1.3",
        )


async def test_quoted_local_part_passes(server: MisbehavingServer, new_pool: NewPool) -> None:
    assert (await send(new_pool(server.port), '"b c"@example.org'))['"b c"@example.org'].code == 250


async def test_header_block_arrives_octet_for_octet(
    server: MisbehavingServer, new_pool: NewPool
) -> None:
    """Folded, with raw UTF-8, and with a name that begins with a dot, as RFC 5322 allows."""
    headers = ((".X-Dot", "a"), ("X-Long", "word " * 400), ("X-Kampagne", "Grüße " * 50))
    content = Content("zoë@bücher.example", "Größe " * 50, ("ann@example.org",), headers=headers)
    date = datetime(2026, 11, 25, 7, 5, 9, tzinfo=UTC)
    message = render(content, message_id="<x@example.org>", date=date, smtputf8=True)
    replies = await send(new_pool(server.port), "ann@example.org", message=message, utf8=True)
    assert replies["ann@example.org"].code == 250
    assert [taken.data for taken in server.messages] == [message]
