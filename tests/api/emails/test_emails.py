"""E-mails over the API: accepted, shown, listed, cancelled, tried again; each client its own."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from babygun.email.lifecycle import QueueResult
from babygun.etcd import Txn, delete_range
from babygun.intake.ids import new_email_id
from babygun.runtime.clock import utc_now
from babygun.store import Store
from babygun.store.emails.finish import PendingResult, finish
from babygun.store.keys import JobRef, range_end
from tests.api.conftest import EMAIL, RunningApi, StartApi
from tests.support.tries import GONE, LATER, OK, WORKER, claimed, finished


async def test_accepted_email_is_in_etcd_when_the_answer_comes(
    api: RunningApi, store: Store
) -> None:
    answer = await api.send()
    assert answer.status == 202
    email_id = answer.json["id"]
    assert answer.headers["Location"] == f"/emails/{email_id}"
    assert answer.json["status"] == "incomplete"
    assert answer.json["recipients"] == 1
    assert abs(datetime.fromisoformat(answer.json["created_at"]) - utc_now()) < timedelta(seconds=5)
    keys = store.keys
    for key in (
        keys.email(email_id),
        keys.chunk(email_id, 0),
        keys.job(JobRef(email_id, "default")),
    ):
        assert await store.client.get(key), key


async def test_email_is_shown_with_every_field_that_was_given(api: RunningApi) -> None:
    email_id = await api.accepted(
        sender="Shop <shop@example.com>",
        to=["Ann <ann@example.org>", "bob@example.org"],
        cc="carl@example.org",
        bcc=["dora@example.org"],
        reply_to="help@example.com",
        subject="Grüße № 1",
        body="Text ☃\n",
        html="<p>HTML</p>",
        headers={"X-Order": "1"},
        attachments=[
            {
                "filename": "ä.txt",
                "content_type": "text/plain",
                "content": base64.b64encode(b"hi").decode(),
                "content_id": "c1",
            }
        ],
        tags=["order", "order", "a:b"],
        metadata={"order": "1"},
    )
    answer = await api.call("GET", f"/emails/{email_id}")
    email = answer.json
    recipients = email.pop("recipients")
    created = email.pop("created_at")
    assert email.pop("updated_at") == created
    assert email.pop("client_id")
    assert email.pop("size") > 0
    assert email == {
        "id": email_id,
        "sender": "Shop <shop@example.com>",
        "subject": "Grüße № 1",
        "body": "Text ☃\n",
        "html": "<p>HTML</p>",
        "headers": ["X-Order: 1"],
        "reply_to": ["help@example.com"],
        "attachments": [
            {"filename": "ä.txt", "content_type": "text/plain", "content_id": "c1", "size": 2}
        ],
        "not_before": None,
        "status": "incomplete",
        "status_reason": None,
        "tries": 0,
        "worker_id": None,
        "tags": ["order", "a:b"],
        "metadata": {"order": "1"},
        "content_expired": False,
        "sending": [],
    }
    assert [(r["email"], r["kind"]) for r in recipients] == [
        ("ann@example.org", "to"),
        ("bob@example.org", "to"),
        ("carl@example.org", "cc"),
        ("dora@example.org", "bcc"),
    ]
    assert recipients[0] == {
        "email": "ann@example.org",
        "kind": "to",
        "status": "pending",
        "status_code": None,
        "enhanced_code": None,
        "status_reason": None,
        "reply_class": None,
        "queue": "default",
        "tries": 0,
        "updated_at": None,
    }


async def test_recipients_by_kind_and_header_lines_are_taken_beside_the_other_forms(
    api: RunningApi,
) -> None:
    email_id = await api.accepted(
        to="ann@example.org",
        recipients=[
            {"email": "Bob <bob@example.org>"},
            {"email": "carl@example.org", "kind": "cc"},
            {"email": "dora@example.org", "kind": "bcc"},
        ],
        headers=[
            "X-A: 1",
            "X-A: 2",
            "List-Id:x",
            "Date: Mon, 24 Nov 2025 10:00:00 +0000",
            "Message-ID: <1@example.com>",
        ],
    )
    email = (await api.call("GET", f"/emails/{email_id}")).json
    assert [(r["email"], r["kind"]) for r in email["recipients"]] == [
        ("ann@example.org", "to"),
        ("bob@example.org", "to"),
        ("carl@example.org", "cc"),
        ("dora@example.org", "bcc"),
    ]
    assert email["headers"] == [
        "X-A: 1",
        "X-A: 2",
        "List-Id: x",
        "Date: Mon, 24 Nov 2025 10:00:00 +0000",
        "Message-ID: <1@example.com>",
    ]


async def test_address_given_several_times_gets_one_copy_as_what_it_was_first(
    api: RunningApi,
) -> None:
    answer = await api.send(
        to=["Ann <ann@example.org>", "ann@EXAMPLE.org"],
        cc="ann@example.org",
        bcc="bob@example.org",
        recipients=[{"email": "bob@example.org"}],
    )
    assert answer.json["recipients"] == 2
    email = (await api.call("GET", answer.headers["Location"])).json
    assert [(r["email"], r["kind"]) for r in email["recipients"]] == [
        ("ann@example.org", "to"),
        ("bob@example.org", "bcc"),
    ]


async def test_fields_that_are_null_count_as_left_out(api: RunningApi) -> None:
    nothing = dict.fromkeys(
        [
            "cc",
            "bcc",
            "recipients",
            "reply_to",
            "subject",
            "body",
            "html",
            "headers",
            "attachments",
            "send_at",
            "tags",
            "metadata",
        ]
    )
    answer = await api.call(
        "POST", "/emails", json={"sender": "a@example.com", "to": "b@example.org", **nothing}
    )
    assert answer.status == 202


async def test_email_of_1000_recipients_is_accepted(api: RunningApi) -> None:
    email_id = await api.accepted(to=[f"a{n}@example.org" for n in range(1000)])
    assert len((await api.call("GET", f"/emails/{email_id}")).json["recipients"]) == 1000


async def test_large_attachment_is_kept_whole(api: RunningApi, store: Store) -> None:
    data = bytes(range(256)) * 4096 * 5
    email_id = await api.accepted(
        attachments=[{"filename": "a.bin", "content": base64.b64encode(data).decode()}]
    )
    held = await claimed(store, email_id)
    assert held.content.attachments[0].content == data


async def test_email_for_later_waits(api: RunningApi, store: Store) -> None:
    at = utc_now() + timedelta(hours=2)
    zone = at.astimezone(UTC).isoformat()
    email_id = await api.accepted(send_at=zone)
    email = (await api.call("GET", f"/emails/{email_id}")).json
    assert datetime.fromisoformat(email["not_before"]) == at
    assert await store.client.get(store.keys.job(JobRef(email_id, "default"))) is None
    assert await store.client.get(store.keys.not_before(at, JobRef(email_id, "default")))


@pytest.mark.parametrize("past", ["2001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"])
async def test_email_for_a_time_gone_by_is_sent_now(
    api: RunningApi, store: Store, past: str
) -> None:
    email_id = await api.accepted(send_at=past)
    assert await store.client.get(store.keys.job(JobRef(email_id, "default")))


async def test_recipients_go_into_the_queues_of_their_relays(start_api: StartApi) -> None:
    relays = {"inner": {"url": "smtp://127.0.0.1:2525", "domains": ["example.org"]}}
    api = await start_api(relays=relays)
    email_id = await api.accepted(to=["a@example.org", "b@example.net"])
    email = (await api.call("GET", f"/emails/{email_id}")).json
    assert [r["queue"] for r in email["recipients"]] == ["inner", "default"]


# --- whose -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/log", "/cancel", "/retry"])
async def test_email_of_another_client_is_not_found(api: RunningApi, path: str) -> None:
    email_id = await api.accepted()
    other = await api.token_for()
    method = "POST" if path in ("/cancel", "/retry") else "GET"
    theirs = (await api.call(method, f"/emails/{email_id}{path}", token=other)).problem(
        404, "not-found"
    )
    none = (await api.call(method, f"/emails/{new_email_id()}{path}", token=other)).problem(
        404, "not-found"
    )
    assert theirs["detail"] == none["detail"]
    assert (await api.call("GET", f"/emails/{email_id}")).json["status"] == "incomplete"


@pytest.mark.parametrize(
    "email_id", ["x", "%2F", "%00", "%FF", "00000000-0000-0000-0000-000000000000", "a" * 5000]
)
async def test_email_of_an_impossible_id_is_not_found(api: RunningApi, email_id: str) -> None:
    for method, path in (("GET", ""), ("GET", "/log"), ("POST", "/cancel"), ("POST", "/retry")):
        (await api.call(method, f"/emails/{email_id}{path}")).problem(404, "not-found")


async def test_listing_shows_a_client_its_own_and_an_admin_everybodys(api: RunningApi) -> None:
    mine = await api.accepted()
    other = await api.token_for()
    theirs = await api.accepted(other)
    assert [e["id"] for e in (await api.call("GET", "/emails")).json["emails"]] == [mine]
    assert [e["id"] for e in (await api.call("GET", "/emails", token=other)).json["emails"]] == [
        theirs
    ]
    admin = await api.token_for("admin")
    assert [e["id"] for e in (await api.call("GET", "/emails", token=admin)).json["emails"]] == [
        theirs,
        mine,
    ]
    assert (await api.call("GET", f"/emails/{mine}", token=admin)).status == 200


# --- Idempotency-Key -------------------------------------------------------------------------------------------------


async def test_repeated_call_gets_the_first_answer(api: RunningApi) -> None:
    key = {"Idempotency-Key": "order 1/é".replace("é", "e")}
    first, second = await api.send(http_headers=key), await api.send(http_headers=key)
    assert first.status == second.status == 202
    assert second.json == first.json
    assert second.headers["Location"] == first.headers["Location"]
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert len((await api.call("GET", "/emails")).json["emails"]) == 1


async def test_repeated_key_with_another_body_is_refused(api: RunningApi) -> None:
    key = {"Idempotency-Key": "k"}
    await api.send(http_headers=key)
    (await api.send(http_headers=key, subject="Other")).problem(
        409, "idempotency-conflict", "Idempotency-Key"
    )
    assert len((await api.call("GET", "/emails")).json["emails"]) == 1


async def test_key_of_another_client_is_another_key(api: RunningApi) -> None:
    other = await api.token_for()
    key = {"Idempotency-Key": "k"}
    assert (await api.send(http_headers=key)).json["id"] != (
        await api.send(other, http_headers=key)
    ).json["id"]


async def test_twenty_calls_at_once_with_one_key_make_one_email(
    api: RunningApi, start_api: StartApi
) -> None:
    second = await start_api()
    answers = await asyncio.gather(
        *[
            (api, second)[n % 2].send(api.token, http_headers={"Idempotency-Key": "k"})
            for n in range(20)
        ]
    )
    assert {answer.status for answer in answers} == {202}
    assert len({answer.json["id"] for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    assert len((await api.call("GET", "/emails")).json["emails"]) == 1


# --- what became of it -----------------------------------------------------------------------------------------------


async def test_log_tells_each_try_with_its_claim_before_it(api: RunningApi, store: Store) -> None:
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


async def test_queues_that_finished_together_are_told_apart(
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


async def test_email_whose_content_is_gone_says_so(api: RunningApi, store: Store) -> None:
    email_id = await api.accepted(sender="Shop <shop@example.com>")
    await finished(store, email_id, {"ann@example.org": OK})
    chunks = store.keys.content(email_id)
    await store.client.txn(Txn([], [delete_range(chunks, range_end(chunks))]))
    email = (await api.call("GET", f"/emails/{email_id}")).json
    assert email["content_expired"] is True
    assert [email[name] for name in ("body", "html", "headers", "reply_to", "attachments")] == [
        None
    ] * 5
    assert (email["status"], email["sender"], email["subject"]) == (
        "complete",
        "shop@example.com",
        "Hello",
    )


async def test_cancelled_email_is_not_sent_and_can_be_sent_after_all(
    api: RunningApi, store: Store
) -> None:
    email_id = await api.accepted()
    cancelled = await api.call("POST", f"/emails/{email_id}/cancel")
    assert (cancelled.status, cancelled.json["status"]) == (200, "cancelled")
    assert await store.client.get(store.keys.job(JobRef(email_id, "default"))) is None
    (await api.call("POST", f"/emails/{email_id}/cancel")).problem(409, "conflict")
    again = await api.call("POST", f"/emails/{email_id}/retry")
    assert (again.status, again.json["status"]) == (200, "incomplete")
    assert await store.client.get(store.keys.job(JobRef(email_id, "default")))
    assert [
        line["event"] for line in (await api.call("GET", f"/emails/{email_id}/log")).json["entries"]
    ] == ["accepted", "cancelled", "retried"]


async def test_retry_goes_to_the_recipients_not_reached_alone(
    api: RunningApi, store: Store
) -> None:
    email_id = await api.accepted(to=["ann@example.org", "bob@example.org"])
    await finished(store, email_id, {"ann@example.org": OK, "bob@example.org": GONE})
    failed = (await api.call("GET", f"/emails/{email_id}")).json
    assert failed["status"] == "failed"
    assert "1 of 2" in failed["status_reason"]
    email = (await api.call("POST", f"/emails/{email_id}/retry")).json
    assert [(r["email"], r["status"]) for r in email["recipients"]] == [
        ("ann@example.org", "delivered"),
        ("bob@example.org", "pending"),
    ]


async def test_what_the_state_does_not_allow_is_refused_with_the_reason(
    api: RunningApi, store: Store
) -> None:
    waiting, sending, delivered, expired = [await api.accepted() for _ in range(4)]
    await claimed(store, sending)
    await finished(store, delivered, {"ann@example.org": OK})
    await finished(store, expired, {"ann@example.org": GONE})
    chunks = store.keys.content(expired)
    await store.client.txn(Txn([], [delete_range(chunks, range_end(chunks))]))
    rows = [
        (waiting, "retry", "not final"),
        (sending, "cancel", "being sent"),
        (delivered, "cancel", "complete already"),
        (delivered, "retry", "every recipient"),
        (expired, "retry", "content"),
    ]
    for email_id, action, word in rows:
        assert (
            word
            in (await api.call("POST", f"/emails/{email_id}/{action}"))
            .problem(409, "conflict")["detail"]
            .lower()
        )


async def test_fingerprint_is_of_the_bytes_as_sent(api: RunningApi) -> None:
    headers = {"Content-Type": "application/json", "Idempotency-Key": "k"}
    for indent, status in ((None, 202), (None, 202), (1, 409)):
        data: Any = json.dumps(EMAIL, indent=indent).encode()
        assert (await api.call("POST", "/emails", data=data, headers=headers)).status == status
