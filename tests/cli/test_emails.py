"""``babygun emails``, against a real API."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

from babygun.email.bounces import Bounce
from babygun.email.return_path import of_recipient
from babygun.email.tries import QueueResult, RecipientResult
from babygun.store.emails.claims import claim
from babygun.store.emails.finish import PendingResult, finish
from babygun.store.emails.late import late_bounce
from babygun.store.emails.on_request import cancel
from babygun.store.keys import JobRef, range_end
from tests.support.commands import Command
from tests.support.rig import Rig

SEND = ("send", "--from", "me@example.com", "--to")


def in_60_days() -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=60)


async def test_emails_list_reads_on_until_what_the_filter_wants_is_found(
    rig: Rig, with_api: Command
) -> None:
    wanted = await rig.send("ann@example.org", subject="long ago")
    for _ in range(15):  # more than one page of a filtered listing reads
        await asyncio.gather(*(rig.send("bob@example.org") for _ in range(67)))
    await cancel(rig.store, wanted)
    listed = await with_api("emails", "list", "--status", "cancelled")
    assert wanted in listed.out and "more:" not in listed.out


async def test_emails_list_shows_when_a_scheduled_one_is_due(with_api: Command) -> None:
    await with_api(*SEND, "ann@example.org")
    assert "NOT BEFORE" not in (await with_api("emails", "list")).out
    due = in_60_days()
    await with_api(*SEND, "bob@example.org", "--at", due.isoformat())
    out = (await with_api("emails", "list")).out
    assert "NOT BEFORE (UTC)" in out
    shown = f"{due:%Y-%m-%d %H:%M:%S}"
    assert [shown in line for line in out.splitlines()] == [False, True, False]


async def test_several_emails_are_cancelled_and_tried_again_with_a_line_each(
    rig: Rig, with_api: Command
) -> None:
    ids = [await rig.send("ann@example.org") for _ in range(3)]
    await cancel(rig.store, ids[1])
    result = await with_api("emails", "cancel", *ids)
    assert result.status == 1
    assert [line.split(maxsplit=1) for line in result.out.splitlines()] == [
        [ids[0], "cancelled"],
        [ids[1], "The e-mail is cancelled already."],
        [ids[2], "cancelled"],
    ]
    result = await with_api("emails", "retry", *ids)
    assert (result.status, result.out.count("incomplete")) == (0, 3)
    unknown = await with_api("emails", "cancel", *(f"x{n}" for n in range(1001)))
    assert unknown.out.count("There is no e-mail") == 1001


async def test_emails_list_filters_by_recipient_time_and_what_happens_now(
    rig: Rig, with_api: Command
) -> None:
    ann, bob = await rig.send("ann@example.org"), await rig.send("bob@example.net")
    for words, ids in (
        (["--recipient", "@example.org"], [ann]),
        (["--recipient", "BOB@example.net", "--status", "waiting"], [bob]),
        (["--status", "sending"], []),
        (["--before", "2020-01-01T00:00:00+01:00"], []),
        (["--after", "2020-01-01T00:00:00+01:00"], [bob, ann]),
        (["--subject", "HELL", "--sender", "@example.com", "--id", ann[:-1]], [ann]),
        (["--recipient", "ann@example.org", "--recipient", "bob@example.net"], []),
        (["--subject", "h", "--subject", "nowhere"], []),
        (["--tag", "a", "--tag", "b"], []),
        (["--client", "nobody"], []),
    ):
        listed = await with_api("emails", "list", "--json", *words)
        assert [email["id"] for email in json.loads(listed.out)["emails"]] == ids, words
    refused = await with_api("emails", "list", "--after", "yesterday")
    assert refused.status == 1 and "(after)" in refused.error


async def test_emails_list_names_the_first_recipient_of_a_wide_email(
    rig: Rig, with_api: Command
) -> None:
    email_id = await rig.send_wide(20)
    assert "ann@d0000.example +19" in (await with_api("emails", "list")).out
    shown = await with_api("emails", "show", email_id)
    assert shown.out.count("@d00") == 20


async def test_emails_show_says_that_a_recipient_bounced_late(rig: Rig, with_api: Command) -> None:
    email_id = await rig.send("ann@example.org")
    ref = JobRef(email_id, (await rig.get(email_id)).recipients[0].queue)
    lease_id = await rig.store.client.grant(60)
    claimed = await claim(rig.store, ref, worker_id="w1", lease_id=lease_id)
    assert claimed is not None
    taken = {"ann@example.org": RecipientResult("deliver", "delivered", 250)}
    result = QueueResult(ref.queue, "w1", claimed.claimed_at, taken)
    await finish(rig.store, [PendingResult(claimed, result)])
    path = of_recipient(email_id, "ann@example.org", 0, "client")
    await late_bounce(rig.store, path, Bounce(status_code=550, reporter="mx.example.net"))
    shown = (await with_api("emails", "show", email_id)).out
    assert "bounced late" in shown and "a bounce message came back, from mx.example.net" in shown


async def test_emails_show_waits_for_the_end(rig: Rig, with_api: Command) -> None:
    email_id = await rig.send("ann@example.org")
    waits = asyncio.create_task(with_api("emails", "show", email_id, "--wait"))
    await cancel(rig.store, email_id)
    shown = await waits
    assert shown.status == 0 and "status         cancelled" in shown.out


async def test_emails_cancel_and_retry_do_as_they_say_or_say_why_not(
    rig: Rig, with_api: Command
) -> None:
    sent = await with_api(*SEND, "ann@example.org", "--at", in_60_days().isoformat())
    email_id = sent.out.strip()
    assert (await with_api("emails", "cancel", email_id)).out.startswith("cancelled")
    again = await with_api("emails", "cancel", email_id)
    assert again.status == 1 and "cancelled already" in again.error
    assert (await with_api("emails", "retry", email_id)).out.startswith("incomplete")
    unknown = await with_api("emails", "show", "01a21000-1b9b-7058-a863-be5a676c7d85")
    assert unknown.status == 1 and unknown.error.startswith("babygun: ")


async def test_emails_change_gives_what_waits_another_time_and_tags(
    rig: Rig, with_api: Command
) -> None:
    email_id = await rig.send("ann@example.org", send_at=in_60_days())
    at = in_60_days().isoformat()
    changed = await with_api(
        "emails", "change", email_id, "--at", at, "--no-tags", "--metadata", "order=4711"
    )
    assert changed.status == 0 and changed.out.startswith("incomplete\nto be sent at ")
    email = await rig.get(email_id)
    assert (email.tags, email.metadata) == ((), {"order": "4711"})
    now = await with_api("emails", "change", email_id, "--at", "now")
    assert (now.status, now.out) == (0, "incomplete\n")
    nothing = await with_api("emails", "change", email_id)
    assert nothing.status == 2 and "name what to change" in nothing.error


async def test_what_waits_is_sent_now_by_id_and_by_filter(rig: Rig, with_api: Command) -> None:
    later = in_60_days()
    ids = [
        await rig.send(f"ann@{domain}.example", send_at=later) for domain in ("a", "a", "b", "c")
    ]
    ready = await rig.send("bob@a.example")
    one = await with_api("emails", "send-now", ids[0])
    assert (one.status, one.out) == (0, "incomplete\n")
    again = await with_api("emails", "send-now", ids[0])
    assert again.status == 1 and "nothing of the e-mail waits" in again.error.lower()
    assert (await with_api("emails", "send-now")).status == 2
    some = await with_api("emails", "send-now", "--recipient", "@a.example")
    assert (some.status, some.out.splitlines()[0]) == (1, "1 e-mail of 3 made ready"), some
    assert "2 e-mails not changed: Nothing of the e-mail waits" in some.out
    none = await with_api("emails", "send-now", "--class", "mailbox_full")
    assert (none.status, none.out) == (0, "no such e-mail waits\n")
    rest = await with_api("emails", "send-now", "--queue", "main")
    assert rest.out.splitlines()[0] == "2 e-mails of 5 made ready"
    jobs = await rig.store.client.range(rig.store.keys.jobs, range_end(rig.store.keys.jobs))
    assert {rig.store.keys.parse_job(kv.key).email_id for kv in jobs.kvs} == {*ids, ready}
