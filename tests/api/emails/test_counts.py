"""GET /emails/counts: what is counted, of whose e-mails, page by page."""

from __future__ import annotations

import pytest

from babygun.api.emails import counts
from babygun.store import Store
from babygun.store.emails import listing
from tests.support.api import RunningApi
from tests.support.tries import GONE, LATER, OK, claimed, finished


async def some(api: RunningApi, store: Store) -> None:
    """Four e-mails: delivered, refused, deferred, being sent."""
    good, bad, soft, sending = [await api.accepted(tags=["order"]) for _ in range(4)]
    for email_id, result in ((good, OK), (bad, GONE), (soft, LATER)):
        await finished(store, email_id, {"ann@example.org": result})
    await claimed(store, sending)


async def test_counts_have_emails_by_status_and_recipients_by_queue_and_reason(
    api: RunningApi, store: Store
) -> None:
    await some(api, store)
    await api.accepted(await api.token_for())
    found = (await api.call("GET", "/emails/counts")).json
    assert found["emails"] == {
        "waiting": 1,
        "sending": 1,
        "complete": 1,
        "failed": 1,
        "cancelled": 0,
    }
    [queue] = found["queues"]
    assert queue["by_status"] == {"delivered": 1, "bounced": 1, "deferred": 1, "pending": 1}
    assert queue["delivered_at"] and queue["last_failure"]["reply"]["status_code"] in (550, 451)
    assert {(one["status"], one["reason"], one["count"]) for one in found["reasons"]} == {
        ("bounced", GONE.reply_class, 1),
        ("deferred", LATER.reply_class, 1),
    }
    [time] = found["times"]
    assert time["count"] == 1 and time["seconds"] > 0 and found["cursor"] is None
    admin = await api.token_for("admin")
    everybodys = (await api.call("GET", "/emails/counts", token=admin)).json
    assert everybodys["emails"]["waiting"] == 2


async def test_counts_are_filtered_as_the_listing_is(api: RunningApi, store: Store) -> None:
    await some(api, store)
    await api.accepted(subject="Another")
    for query, expected in (
        ("tag=order", 4),
        ("subject=another", 1),
        (f"reason={GONE.reply_class}", 1),
        ("reason=none", 0),
        ("ended_after=2020-01-01T00:00:00Z", 2),
        ("ended_before=2020-01-01T00:00:00Z", 0),
    ):
        emails = (await api.call("GET", f"/emails/counts?{query}")).json["emails"]
        assert sum(emails.values()) == expected, query
        page = (await api.call("GET", f"/emails?{query}")).json["emails"]
        assert len(page) == expected, query


async def test_counts_of_several_pages_add_up_and_the_smallest_queues_share_an_entry(
    api: RunningApi, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts, "SCAN_KEYS", 3)
    monkeypatch.setattr(listing, "_MOST_AT_ONCE", 2)
    monkeypatch.setattr(counts, "MOST_QUEUES", 0)
    await some(api, store)
    first = (await api.call("GET", "/emails/counts")).json
    second = (await api.call("GET", f"/emails/counts?cursor={first['cursor']}")).json
    assert [sum(page["emails"].values()) for page in (first, second)] == [3, 1]
    assert second["cursor"] is None
    assert [one["queue"] for one in first["queues"]] == ["_other"]
    (await api.call("GET", "/emails/counts?cursor=x")).problem(422, "invalid-request", "cursor")
