"""E-mails cancelled, and tried again."""

from __future__ import annotations

from babygun.etcd import Txn, delete_range
from babygun.store import Store
from babygun.store.keys import JobRef, range_end
from tests.support.api import RunningApi
from tests.support.tries import GONE, OK, claimed, finished


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


async def test_retry_goes_only_to_the_recipients_not_reached(api: RunningApi, store: Store) -> None:
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


async def test_change_that_the_state_does_not_allow_is_refused_with_the_reason(
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
        (waiting, "send-now", "nothing of the e-mail waits"),
        (sending, "send-now", "nothing of the e-mail waits"),
        (delivered, "send-now", "complete already"),
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
