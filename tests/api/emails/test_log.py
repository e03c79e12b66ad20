"""An e-mail's log over HTTP."""

from __future__ import annotations

from babygun.email.bounces import Bounce, Complaint
from babygun.email.model import TlsResult
from babygun.email.return_path import of_recipient
from babygun.email.tries import QueueResult, RecipientResult
from babygun.store import Store
from babygun.store.emails import reading
from babygun.store.emails.finish import PendingResult, finish
from babygun.store.emails.late import complaint, late_bounce
from tests.support.api import RunningApi, StartApi
from tests.support.tries import GONE, LATER, OK, WORKER, claimed, finished


async def test_log_shows_each_claim_before_the_end_of_its_try(
    api: RunningApi, store: Store
) -> None:
    email_id = await api.accepted(to=["ann@example.org", "bob@example.org"], bcc="carl@example.org")
    await finished(
        store, email_id, {"ann@example.org": OK, "bob@example.org": LATER, "carl@example.org": GONE}
    )
    log = (await api.call("GET", f"/emails/{email_id}/log")).json
    assert log["status"] == "incomplete"
    assert [line["event"] for line in log["entries"]] == ["accepted", "claimed", "deferred"]
    accepted, claim_line, outcome = log["entries"]
    assert accepted["client_id"]
    assert accepted["request_id"]
    assert (claim_line["worker_id"], claim_line["queue"], claim_line["try"]) == (
        WORKER,
        "default",
        1,
    )
    assert (outcome["worker_id"], outcome["queue"], outcome["try"]) == (WORKER, "default", 1)
    assert outcome["not_before"]
    assert {
        reply["email"]: (
            reply["status"],
            reply["status_code"],
            reply["enhanced_code"],
            reply["status_reason"],
        )
        for reply in outcome["replies"]
    } == {
        "ann@example.org": ("delivered", 250, "2.0.0", "Ok: queued"),
        "bob@example.org": ("deferred", 451, "4.7.1", "Try again later"),
        "carl@example.org": ("bounced", 550, "5.1.1", "No such user"),
    }


async def test_log_and_email_show_what_comes_back_after_the_delivery(
    api: RunningApi, store: Store
) -> None:
    email_id = await api.accepted(to=["ann@example.org", "bob@example.org"])
    await finished(store, email_id, {"ann@example.org": OK, "bob@example.org": OK})
    record = await reading.get_email(store, email_id)
    assert record is not None
    ann, bob = (
        of_recipient(email_id, r.email, 0, record.email.client_id) for r in record.email.recipients
    )
    bounce = Bounce(status_code=550, enhanced_code="5.1.1", reason="gone", reporter="mx.example")
    assert await late_bounce(store, ann, bounce) == "applied"
    assert await complaint(store, bob, Complaint()) == "applied"
    email = (await api.call("GET", f"/emails/{email_id}")).json
    first, second = email["recipients"]
    assert (email["status"], first["status"], first["late"]) == ("failed", "bounced", True)
    assert (second["status"], second["late"]) == ("delivered", False) and second["complained_at"]
    log = (await api.call("GET", f"/emails/{email_id}/log")).json["entries"]
    assert [line["event"] for line in log] == [
        "accepted",
        "claimed",
        "delivered",
        "bounced",
        "complained",
    ]
    late, spam = log[3:]
    assert (late["late"], late["queue"], late["try"]) == (True, "default", 1)
    assert late["reason"] == "a bounce message came back, from mx.example"
    assert [(r["email"], r["status_code"]) for r in late["replies"]] == [("ann@example.org", 550)]
    assert [(r["email"], r["status"]) for r in spam["replies"]] == [
        ("bob@example.org", "delivered")
    ]


async def test_log_and_email_show_what_a_try_got_of_tls(api: RunningApi, store: Store) -> None:
    email_id = await api.accepted(to=["ann@example.org"])
    first = TlsResult("sts_testing", "1.2", "ECDHE-RSA-AES256-GCM-SHA384", None, "tlsa-invalid")
    held = RecipientResult("hold", "tls", reason="not now")
    for outcome, tls in ((held, first), (OK, TlsResult("dane", "1.3", "X", "dane_ee"))):
        claim = await claimed(store, email_id)
        results = {"ann@example.org": outcome}
        result = QueueResult("default", WORKER, claim.claimed_at, results, tls=tls)
        await finish(store, [PendingResult(claim, result)])
    email = (await api.call("GET", f"/emails/{email_id}")).json
    last = {
        "policy": "dane",
        "connected": True,
        "version": "1.3",
        "cipher": "X",
        "verified": "dane_ee",
        "failure": None,
    }
    assert email["tls"] == [{"queue": "default", **last}]
    entries = (await api.call("GET", f"/emails/{email_id}/log")).json["entries"]
    tried = [line["tls"] for line in entries if line["replies"]]
    assert tried == [
        {
            "policy": "sts_testing",
            "connected": True,
            "version": "1.2",
            "cipher": "ECDHE-RSA-AES256-GCM-SHA384",
            "verified": None,
            "failure": "tlsa-invalid",
        },
        last,
    ]


async def test_log_and_email_show_what_is_being_sent(api: RunningApi, store: Store) -> None:
    email_id = await api.accepted()
    await claimed(store, email_id)
    email = (await api.call("GET", f"/emails/{email_id}")).json
    assert (email["sending"], email["worker_id"]) == (["default"], WORKER)
    last = (await api.call("GET", f"/emails/{email_id}/log")).json["entries"][-1]
    assert (last["event"], last["worker_id"], last["queue"], last["try"]) == (
        "claimed",
        WORKER,
        "default",
        1,
    )


async def test_queues_that_finished_together_have_lines_of_their_own(
    start_api: StartApi, store: Store
) -> None:
    api = await start_api(
        relays={"inner": {"url": "smtp://127.0.0.1:2525", "domains": ["example.org"]}}
    )
    email_id = await api.accepted(to=["a@example.org", "b@example.net"])
    inner, outer = await claimed(store, email_id, "inner"), await claimed(store, email_id)
    held = [
        PendingResult(inner, QueueResult("inner", WORKER, inner.claimed_at, {"a@example.org": OK})),
        PendingResult(
            outer, QueueResult("default", WORKER, outer.claimed_at, {"b@example.net": GONE})
        ),
    ]
    await finish(store, held)
    lines = (await api.call("GET", f"/emails/{email_id}/log")).json["entries"]
    assert sorted((line["event"], line["queue"]) for line in lines[1:]) == [
        ("bounced", "default"),
        ("claimed", "default"),
        ("claimed", "inner"),
        ("delivered", "inner"),
    ]
