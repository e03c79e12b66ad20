"""One worker, one relay, every outcome; on a real etcd and over real SMTP."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from email import policy
from email.parser import BytesParser

import pytest

from babygun.email.model import Attachment
from babygun.runtime.clock import utc_now
from babygun.store import codec
from babygun.store.cluster import checkin
from babygun.store.cluster.processes import list_workers
from babygun.store.records import Worker
from tests.support.field import rows
from tests.support.invariants import check_invariants
from tests.support.rig import LONG_LEASE, Rig
from tests.support.smtp_server import HANG_UP, MisbehavingServer
from tests.support.tries import make_due_now


async def test_email_to_one_recipient_is_delivered_and_complete(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    async with rig.worker() as worker:
        email_id = await rig.send("ann@example.org", subject="Grüße", body="Zeile\n")
        [email] = await rig.ended(email_id)
        assert (email.status, email.tries, email.worker_id) == (
            "complete",
            1,
            worker.membership.worker_id,
        )
        [recipient] = email.recipients
        assert (
            recipient.status,
            recipient.status_code,
            recipient.enhanced_code,
            recipient.tries,
        ) == ("delivered", 250, "2.0.0", 1)
        assert await rig.events(email_id) == ["accepted", "delivered"]
        [message] = smtp.messages
        assert (message.sender, message.recipients) == ("me@example.com", ("ann@example.org",))
        parsed = BytesParser(policy=policy.default).parsebytes(message.data)
        assert parsed["Subject"] == "Grüße" and parsed["Message-ID"] == f"<{email_id}@example.com>"
        await check_invariants(rig.store)


async def test_each_line_about_an_attempt_names_email_queue_and_worker(
    rig: Rig, smtp: MisbehavingServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "babygun"):
        email_id = await rig.send("ann@example.org")
        gone = await rig.send("ann@example.org")
        await rig.store.client.delete(rig.store.keys.chunk(gone, 0))
        async with rig.worker() as worker:
            await rig.ended(email_id, gone)
            worker_id = worker.membership.worker_id
    lines = [(record.message, record.fields) for record in caplog.records]  # type: ignore[attr-defined]
    attempts = [(event, fields) for event, fields in lines if "email_id" in fields]
    assert {"try finished", "content missing"} <= {event for event, _ in attempts}
    for event, fields in attempts:
        assert fields["email_id"] in (email_id, gone), event
        assert (fields["queue"], fields["worker_id"]) == ("main", worker_id), event


@pytest.mark.parametrize(
    ("recipient", "status", "recipient_status", "code", "reply_class", "tries", "events"),
    [
        (
            "soft@example.org",
            "failed",
            "expired",
            451,
            "temporary",
            3,
            ["accepted", "deferred", "deferred", "expired"],
        ),
        ("hard@example.org", "failed", "bounced", 550, "bad_mailbox", 1, ["accepted", "bounced"]),
        (
            "full@example.org",
            "failed",
            "expired",
            552,
            "mailbox_full",
            3,
            ["accepted", "deferred", "deferred", "expired"],
        ),
        (
            "softdata@example.org",
            "failed",
            "expired",
            451,
            "temporary",
            3,
            ["accepted", "deferred", "deferred", "expired"],
        ),
        ("harddata@example.org", "failed", "bounced", 554, "policy", 1, ["accepted", "bounced"]),
        (
            "drop-data@example.org",
            "failed",
            "expired",
            None,
            "network",
            3,
            ["accepted", "deferred", "deferred", "expired"],
        ),
        (
            "drop-dot@example.org",
            "failed",
            "expired",
            None,
            "uncertain",
            3,
            ["accepted", "deferred", "deferred", "expired"],
        ),
        (
            "flaky-1@example.org",
            "complete",
            "delivered",
            250,
            "delivered",
            2,
            ["accepted", "deferred", "delivered"],
        ),
        (
            "flaky-2@example.org",
            "complete",
            "delivered",
            250,
            "delivered",
            3,
            ["accepted", "deferred", "deferred", "delivered"],
        ),
        (
            "slow@example.org",
            "complete",
            "delivered",
            250,
            "delivered",
            1,
            ["accepted", "delivered"],
        ),
    ],
)
async def test_outcome_of_each_misbehaviour_is_recorded_as_what_it_is(
    rig: Rig,
    recipient: str,
    status: str,
    recipient_status: str,
    code: int | None,
    reply_class: str,
    tries: int,
    events: list[str],
) -> None:
    async with rig.worker():
        email_id = await rig.send(recipient)
        [email] = await rig.ended(email_id)
        got = email.recipients[0]
        assert (email.status, got.status, got.status_code, got.reply_class, got.tries) == (
            status,
            recipient_status,
            code,
            reply_class,
            tries,
        )
        assert await rig.events(email_id) == events
        await check_invariants(rig.store)


async def test_greylisted_email_waits_as_long_as_the_server_asked(rig: Rig) -> None:
    async with rig.worker():
        email_id = await rig.send("grey@example.org")
        entry = await rig.logged(email_id, "deferred")
        due = entry.attempts[0].not_before
        # Between the reply and the log entry the process may stand still.
        assert due is not None and timedelta(seconds=40) < due - entry.at < timedelta(seconds=71)
        seen = await check_invariants(rig.store)
        assert {ref.email_id for ref in seen.waiting} == {email_id}


async def test_mixed_recipients_are_distinguished_and_only_the_soft_ones_tried_again(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    async with rig.worker():
        email_id = await rig.send("ann@example.org", "hard@example.org", "flaky-1@example.org")
        [email] = await rig.ended(email_id)
        assert {r.email: (r.status, r.tries) for r in email.recipients} == {
            "ann@example.org": ("delivered", 1),
            "hard@example.org": ("bounced", 1),
            "flaky-1@example.org": ("delivered", 2),
        }
        assert (email.status, email.status_reason) == (
            "failed",
            "1 of 3 recipients not reached: 1 bounced (bad_mailbox)",
        )
        assert smtp.attempts == {
            "ann@example.org": 1,
            "hard@example.org": 1,
            "flaky-1@example.org": 2,
        }
        assert len({BytesParser().parsebytes(m.data)["Message-ID"] for m in smtp.messages}) == 1


async def test_uncertain_delivery_is_sent_again_as_the_same_message(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    smtp.message["ann@example.org"] = lambda attempt: HANG_UP if attempt == 1 else ""
    async with rig.worker():
        email_id = await rig.send("ann@example.org")
        [email] = await rig.ended(email_id)
    assert email.status == "complete" and len(smtp.messages) == 2
    assert smtp.messages[0].data == smtp.messages[1].data, (
        "a second copy is recognized by its bytes"
    )
    first = (await rig.log(email_id))[1].attempts[0].replies[0]
    assert first.reply_class == "uncertain" and first.status_code is None


async def test_too_many_recipients_for_a_transaction_are_split_without_a_try(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    smtp.max_recipients = 4
    recipients = [f"r{n}@example.org" for n in range(10)]
    async with rig.worker():
        [email] = await rig.ended(await rig.send(*recipients))
    assert email.status == "complete" and {r.tries for r in email.recipients} == {1}
    assert [len(m.recipients) for m in smtp.messages] == [4, 4, 2]


async def test_server_that_takes_not_one_of_too_many_is_tried_later(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    smtp.rcpt = {f"r{n}@example.org": "452 4.5.3 Too many recipients" for n in range(3)}
    async with rig.worker():
        [email] = await rig.ended(await rig.send(*smtp.rcpt))
    assert email.status == "failed" and {(r.reply_class, r.tries) for r in email.recipients} == {
        ("too_many_recipients", 3)
    }


async def test_lost_step_is_repeated_on_a_fresh_connection_without_a_try(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    smtp.rcpt["ann@example.org"] = lambda attempt: (
        "503 5.5.1 Bad sequence of commands" if attempt == 1 else ""
    )
    async with rig.worker():
        [email] = await rig.ended(await rig.send("ann@example.org"))
    assert (email.status, email.tries, smtp.sessions) == ("complete", 1, 2)


async def test_attachment_of_5_mb_arrives_byte_for_byte(rig: Rig, smtp: MisbehavingServer) -> None:
    data = bytes(range(256)) * 20_480
    async with rig.worker():
        [email] = await rig.ended(
            await rig.send(
                "ann@example.org",
                attachments=(Attachment("a.bin", "application/octet-stream", data),),
            )
        )
    assert email.status == "complete" and email.chunks == 7
    parsed = BytesParser(policy=policy.default).parsebytes(smtp.messages[0].data)
    [attachment] = parsed.iter_attachments()  # type: ignore[attr-defined]
    assert attachment.get_content() == data


@pytest.mark.parametrize(
    "offered",
    [
        {"chunking": True},
        {},
        {"pipelining": False, "eight_bit": False, "smtputf8": False},
    ],
    ids=["BDAT", "DATA", "no extensions"],
)
async def test_attachments_of_every_kind_arrive_over_each_transport(
    rig: Rig, offered: dict[str, bool]
) -> None:
    inner = "Subject: x\r\n\r\nGrüße\r\n.\r\n..\r\n".encode()
    calendar = b"BEGIN:VCALENDAR\nMETHOD:REQUEST\nSUMMARY:" + "Grüße\n.\n".encode()
    files = (
        Attachment("größe.csv", "text/csv; charset=utf-8", b".\n..\r\n.\r"),
        Attachment("a.eml", "message/rfc822", inner),
        Attachment("i.ics", "text/calendar; method=REQUEST", calendar, alternative=True),
        Attachment("empty", "application/octet-stream", b""),
    )
    eight_bit = offered.get("eight_bit", True)
    async with MisbehavingServer(**offered) as server:  # type: ignore[arg-type]
        async with rig.worker(relays={"main": {"url": server.url}}):
            [email] = await rig.ended(await rig.send("ann@example.org", attachments=files))
        [message] = server.messages
    assert email.status == "complete" and (message.data.isascii() != eight_bit)
    assert server.commands["BDAT"] == offered.get("chunking", False)
    parsed = BytesParser(policy=policy.default).parsebytes(message.data)
    parts = {part.get_filename(): part for part in parsed.walk() if part.get_filename()}
    assert list(parts) == [file.filename for file in files]
    for file in (files[0], files[2], files[3]):
        assert parts[file.filename].get_payload(decode=True) == file.content
        assert parts[file.filename].get_content_type() == file.content_type.partition(";")[0]
    if eight_bit:
        assert b"\r\n\r\n" + inner + b"\r\n--" in message.data
        assert parts["a.eml"].get_content_type() == "message/rfc822"
    else:
        assert parts["a.eml"].get_payload(decode=True) == inner
    [shown] = [
        part
        for part in parsed.walk()
        if part.get_content_type() == "text/calendar" and not part.get_filename()
    ]
    assert shown.get_content().encode() == calendar.replace(b"\n", b"\r\n")  # type: ignore[attr-defined]


async def test_attachment_that_base64_makes_too_large_for_the_server_is_not_sent(rig: Rig) -> None:
    async with MisbehavingServer(size=130_000) as server:
        file = Attachment("a.bin", "application/octet-stream", bytes(100_000))
        async with rig.worker(relays={"main": {"url": server.url}}):
            [email] = await rig.ended(await rig.send("ann@example.org", attachments=(file,)))
        assert not server.messages
    [recipient] = email.recipients
    assert (recipient.status, recipient.reply_class) == ("bounced", "too_large")
    assert "bytes, the server takes 130000" in (recipient.status_reason or "")


async def test_scheduled_email_waits_for_its_time(rig: Rig, smtp: MisbehavingServer) -> None:
    async with rig.worker():
        late = await rig.send("bob@example.org", send_at=utc_now() + timedelta(hours=1))
        at = utc_now() + timedelta(seconds=1)
        await rig.ended(await rig.send("ann@example.org", send_at=at))
        assert utc_now() >= at and len(smtp.messages) == 1
        seen = await check_invariants(rig.store)
        assert not seen.jobs and {ref.email_id for ref in seen.waiting} == {late}


async def test_200_sends_run_at_once_on_one_loop(rig: Rig, smtp: MisbehavingServer) -> None:
    relays = {"main": {"url": smtp.url, "max_connections": 250}}
    async with rig.worker(relays=relays, worker_concurrency=300) as worker:
        ids = await asyncio.gather(*(rig.send(f"hang{n}@example.org") for n in range(220)))
        await smtp.hanging.reached(220)
        assert len(worker.dispatch.in_flight) == 220 and smtp.max_transactions >= 200
        smtp.release()
        assert {e.status for e in await rig.ended(*ids)} == {"complete"}


async def test_relay_that_is_down_defers_and_delivers_when_it_is_back(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    await smtp.stop()
    async with rig.worker(retry_intervals=(3600.0,)):
        email_id = await rig.send("ann@example.org")
        entry = await rig.logged(email_id, "deferred")
        assert entry.attempts[0].replies[0].reply_class == "network"
        await smtp.start()
        await make_due_now(rig.store, email_id, "main")
        [email] = await rig.ended(email_id)
        assert email.status == "complete"


def shows(record: Worker, checkins: int) -> bool | None:
    """True once it has checked in so often, and has all shards. It checks in for those, too."""
    return True if record.checkins >= checkins and record.slice == (0, 256) else None


async def test_checkins_of_a_worker_show_it_alive(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkin, "_AT_STOP", 60.0)
    async with rig.worker(lease_ttl=LONG_LEASE) as worker:
        for number in (2, 3):  # else the next one comes by itself after some seconds
            worker.membership._check_in.check_in_soon()
            await rig.seen(
                rig.store.keys.workers,
                lambda value, number=number: shows(codec.decode_state(value, Worker), number),
            )
        [record] = await list_workers(rig.store)
        assert (
            record.id == worker.membership.worker_id
            and record.slice == (0, 256)
            and record.checkins >= 3
            and record.ip == "127.0.0.1"
        )
    assert await list_workers(rig.store) == []


@pytest.mark.parametrize("offered", ["one by one", "pipelining", "chunking"])
async def test_utf8_address_without_smtputf8_bounces_alone_and_is_left_out_of_the_header(
    rig: Rig, smtp: MisbehavingServer, offered: str
) -> None:
    smtp.smtputf8 = False
    smtp.pipelining, smtp.chunking = offered != "one by one", offered == "chunking"
    async with rig.worker():
        email_id = await rig.send(
            "ann@example.org", "zoë@bücher.example", "bob@example.org", reply_to=("é@x.example",)
        )
        only = await rig.send("zoë@example.org")
        email, lonely = await rig.ended(email_id, only)
    reason = (
        "the server does not offer SMTPUTF8, which the address needs"
        " (refused by Babygun, nothing was sent)"
    )
    ann, zoe, bob = email.recipients
    assert [ann.status, bob.status] == ["delivered", "delivered"]
    for bounced in (zoe, lonely.recipients[0]):
        assert (bounced.status, bounced.status_code, bounced.enhanced_code) == (
            "bounced",
            553,
            "5.6.7",
        )
        assert (bounced.status_reason, bounced.tries) == (reason, 1)
    [message] = smtp.messages
    assert message.recipients == ("ann@example.org", "bob@example.org")
    assert message.data.isascii() and "SMTPUTF8" not in message.options
    parsed = BytesParser(policy=policy.default).parsebytes(message.data)
    assert [a.addr_spec for a in parsed["To"].addresses] == ["ann@example.org", "bob@example.org"]
    assert "zoë@bücher.example" in parsed["To"].groups[1].display_name
    assert "é@x.example" in parsed["Reply-To"].groups[0].display_name


@pytest.mark.parametrize("offered", ["one by one", "pipelining", "chunking"])
async def test_utf8_address_with_smtputf8_is_delivered_and_shown(
    rig: Rig, smtp: MisbehavingServer, offered: str
) -> None:
    smtp.pipelining, smtp.chunking = offered != "one by one", offered == "chunking"
    async with rig.worker():
        email_id = await rig.send("ann@example.org", "zoë@example.org")
        [email] = await rig.ended(email_id)
    assert email.status == "complete"
    [message] = smtp.messages
    assert message.recipients == ("ann@example.org", "zoë@example.org")
    assert {"SMTPUTF8", "BODY=8BITMIME"} <= set(message.options)
    assert "\r\nTo: ann@example.org, zoë@example.org\r\n".encode() in message.data


async def test_utf8_sender_without_smtputf8_bounces_with_that_reason(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    smtp.smtputf8 = False
    async with rig.worker():
        [email] = await rig.ended(await rig.send("ann@example.org", sender="zoë@example.com"))
    [recipient] = email.recipients
    assert (recipient.status, recipient.enhanced_code) == ("bounced", "5.6.7")
    assert "does not offer SMTPUTF8" in (recipient.status_reason or "")


async def test_record_with_one_mailbox_twice_from_an_earlier_version_goes_on(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    forms = ("ann@bücher.example", "ann@xn--bcher-kva.example", "Ann@bücher.example")
    async with rig.worker():
        [email] = await rig.ended(await rig.send(*forms))
        assert [(r.email, r.status) for r in email.recipients] == [
            (form, "delivered") for form in forms
        ]
        await check_invariants(rig.store)
    [message] = smtp.messages
    assert len(message.recipients) == 3


async def test_alarm_names_the_relay_and_the_user_and_no_password_or_recipient(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    async with MisbehavingServer(credentials=("relay-user", "s3cret")) as server:
        server.mail["me@example.com"] = (
            "553 5.1.8 Sender address rejected: Domain not found (for ann@example.org)"
        )
        relays = {"main": {"url": server.url, "tls": "none"}}
        with caplog.at_level(logging.WARNING, "babygun"):
            async with rig.worker(relays=relays):
                [email] = await rig.ended(await rig.send("ann@example.org"))
    assert (email.recipients[0].status, email.recipients[0].reply_class) == (
        "bounced",
        "configuration",
    )
    [fields] = [
        record.fields  # type: ignore[attr-defined]
        for record in caplog.records
        if record.message == "reply needs operator"
    ]
    assert (fields["relay"], fields["user"]) == (f"127.0.0.1:{server.port}", "relay-user")
    assert fields["text"] == "Sender address rejected: Domain not found (for …)"
    assert "s3cret" not in str(fields)


async def test_mail_that_is_refused_ends_as_the_table_of_replies_says(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    """Replies to MAIL that hold no site: only a sender or message at fault makes a bounce."""
    groups = [
        (group, text)
        for group in rows("replies", "group")
        for text in group["replies"]
        if group["phase"] == "mail"
        and group.get("about") not in ("session", "connections")
        and text[:3].isdigit()
        and not text.startswith("421")
        and "\n" not in text
    ]
    assert len(groups) > 60
    senders = {f"s{number}@example.com": row for number, row in enumerate(groups)}
    smtp.mail = {sender: text for sender, (_, text) in senders.items()}
    async with rig.worker():
        ids = [await rig.send("ann@example.org", sender=sender) for sender in senders]
        ended = await rig.ended(*ids)
    wrong = []
    for email, (group, text) in zip(ended, senders.values(), strict=True):
        [recipient] = email.recipients
        got = (recipient.reply_class, recipient.status, recipient.tries)
        fails = group["action"] == "fail"
        if got != (group["class"], "bounced" if fails else "expired", 1 if fails else 3):
            wrong.append((text, got))
    assert wrong == []


async def test_email_that_goes_in_plain_text_since_tls_failed_says_so(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    smtp.broken_starttls = True
    async with rig.worker():
        [email] = await rig.ended(await rig.send("ann@example.org"))
    [recipient] = email.recipients
    assert (recipient.status, recipient.tries) == ("delivered", 1)
    assert recipient.status_reason is not None
    assert recipient.status_reason.endswith(
        "(sent in plain text, since TLS failed: 454 4.7.0 TLS not available)"
    )


async def test_recipients_that_the_server_hung_up_on_go_in_transactions_of_their_own(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    """It says 421 at the third recipient of a transaction. No try is used up, nobody gets two."""
    to = [f"r{n}@example.org" for n in range(6)] + ["hard@example.org"]
    smtp.hang_up_after = 2
    async with rig.worker():
        [email] = await rig.ended(await rig.send(*to))
    assert [r.status for r in email.recipients] == ["delivered"] * 6 + ["bounced"]
    assert email.tries == 1
    assert sorted(r for message in smtp.messages for r in message.recipients) == to[:6]
    await check_invariants(rig.store)
