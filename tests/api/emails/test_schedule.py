"""What waits for its time, over HTTP."""

from __future__ import annotations

from datetime import timedelta

import pytest

from babygun.etcd import Txn, delete, put
from babygun.runtime.clock import utc_now
from babygun.store import Store
from babygun.store.keys import JobRef, range_end
from tests.support.api import RunningApi
from tests.support.tries import LATER, finished


async def scheduled(
    api: RunningApi, token: str | None = None, limit: int = 100
) -> list[tuple[str, str, int]]:
    found: list[tuple[str, str, int]] = []
    query: dict[str, str] = {"limit": str(limit)}
    while True:
        page = (await api.call("GET", "/schedule", token=token, params=query)).json
        assert len(page["jobs"]) <= limit
        found += [(job["id"], job["due"], job["recipients"]) for job in page["jobs"]]
        if page["cursor"] is None:
            return found
        query["cursor"] = page["cursor"]


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_schedule_lists_what_waits_soonest_first_and_each_client_its_own(
    api: RunningApi, limit: int
) -> None:
    now = utc_now()
    other = await api.token_for()
    await api.accepted()
    expected: list[tuple[str, str, int]] = []
    for hours, token in ((3, None), (1, None), (2, other), (1, other)):
        at = (now + timedelta(hours=hours)).isoformat().replace("+00:00", "Z")
        email_id = await api.accepted(token, send_at=at, to=["a@example.org", "b@example.org"])
        expected.append(
            (
                email_id,
                (await api.call("GET", f"/emails/{email_id}", token=token)).json["not_before"],
                2,
            )
        )
    third, first, second, first_other = expected
    assert await scheduled(api, limit=limit) == [first, third]
    assert await scheduled(api, other, limit) == [first_other, second]
    assert await scheduled(api, await api.token_for("admin"), limit) == [
        first,
        first_other,
        second,
        third,
    ]
    assert (await api.call("GET", "/schedule")).json["jobs"][0]["overdue_seconds"] == 0
    await api.call("POST", f"/emails/{first[0]}/cancel")
    assert await scheduled(api, limit=limit) == [third]


async def test_schedule_says_whose_email_it_is_where_it_goes_and_why_it_waits(
    api: RunningApi, store: Store
) -> None:
    now = utc_now()
    at = (now + timedelta(hours=1)).isoformat()
    await api.accepted(subject="For later", to=["a@example.org", "b@example.org"], send_at=at)
    deferred = await api.accepted(subject="Once more", to="ann@example.org")
    await finished(store, deferred, {"ann@example.org": LATER})
    jobs = (await api.call("GET", "/schedule", params={"limit": "100"})).json["jobs"]
    known = {(job["subject"], job["to"], job["tries"], job["wait"]["why"]) for job in jobs}
    assert known == {
        ("For later", "a@example.org", 0, "scheduled"),
        ("Once more", "ann@example.org", 1, "retry"),
    }
    [again] = [job for job in jobs if job["id"] == deferred]
    assert (again["wait"]["reply"]["status_code"], again["sender"]) == (451, "shop@example.com")


async def test_schedule_says_how_long_something_is_overdue_and_passes_over_foreign_keys(
    api: RunningApi, store: Store
) -> None:
    now, waiting = utc_now(), store.keys.waiting
    email_id = await api.accepted(send_at=(now + timedelta(hours=1)).isoformat())
    [kv] = (await store.client.range(waiting, range_end(waiting))).kvs
    due = store.keys.not_before(now - timedelta(seconds=7), JobRef(email_id, "default"))
    await store.client.txn(Txn([], [delete(kv.key), put(due, kv.value)]))
    await store.client.put(waiting + b"0000/by-hand", b"x")
    admin = await api.token_for("admin")
    [job] = (await api.call("GET", "/schedule", token=admin)).json["jobs"]
    assert job["id"] == email_id and job["overdue_seconds"] >= 7


async def test_schedule_with_a_bad_parameter_is_refused(api: RunningApi) -> None:
    rows = [
        ("cursor=x", "cursor"),
        ("cursor=a/b/c", "cursor"),
        ("cursor=2026-11-25T09:10:00.171Z/x/default", "cursor"),
        ("limit=101", "limit"),
        ("status=failed", "status"),
    ]
    for query, field in rows:
        (await api.call("GET", f"/schedule?{query}")).problem(422, "invalid-request", field)
