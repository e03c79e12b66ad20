"""What a client changes of an e-mail that waits."""

from __future__ import annotations

from datetime import timedelta

from babygun.runtime.clock import format_time, utc_now
from babygun.store import Store
from tests.support.api import RunningApi
from tests.support.tries import claimed


async def test_email_that_waits_gets_another_time_tags_and_metadata(api: RunningApi) -> None:
    now = utc_now().replace(microsecond=0)
    sooner, later = (format_time(now + timedelta(days=days)) for days in (1, 2))
    email_id = await api.accepted(send_at=sooner, tags=["order"], metadata={"order": "1"})
    path = f"/emails/{email_id}"
    moved = await api.call("PATCH", path, json={"send_at": later, "metadata": None})
    assert moved.status == 200
    assert moved.json["send_at"] == moved.json["not_before"]
    assert moved.json["send_at"] > (await api.call("GET", f"{path}/log")).json["entries"][0]["at"]
    assert (moved.json["tags"], moved.json["metadata"]) == (["order"], {"order": "1"})
    plain = (await api.call("PATCH", path, json={"tags": [], "metadata": {}})).json
    assert (plain["tags"], plain["metadata"]) == ([], {})
    sent = await api.call("PATCH", path, json={"send_at": format_time(now)})
    assert (sent.status, sent.json["not_before"]) == (200, None)
    stale = await api.call("PATCH", path, json={"tags": ["x"], "revision": moved.json["revision"]})
    assert "has changed meanwhile" in stale.problem(409, "conflict")["detail"]
    newest = {"tags": [], "revision": sent.json["revision"]}  # as it is: that is no change
    assert (await api.call("PATCH", path, json=newest)).status == 200
    entries = (await api.call("GET", f"{path}/log")).json["entries"]
    assert [entry["event"] for entry in entries] == ["accepted", *["changed"] * 3]


async def test_change_of_an_email_that_breaks_a_rule_names_the_field(api: RunningApi) -> None:
    path = f"/emails/{await api.accepted()}"
    rows = [
        ({}, "body", "Name what to change"),
        ({"tags": None}, "body", "Name what to change"),
        ({"tags": ["a b"]}, "tags[0]", "A tag has"),
        ({"metadata": {"a": "b" * 5000}}, "metadata", "at most 4096"),
        ({"send_at": "2999-01-01T00:00:00Z"}, "send_at", "days ahead"),
        ({"send_at": "tomorrow"}, "send_at", "Give a time with an offset"),
        ({"subject": "other"}, "subject", "There is no field"),
    ]
    for body, field, words in rows:
        problem = (await api.call("PATCH", path, json=body)).json
        assert problem["field"] == field and words in problem["detail"], problem


async def test_send_at_of_an_email_that_is_being_sent_or_ends_before_is_a_conflict(
    api: RunningApi, store: Store
) -> None:
    at = {"send_at": format_time(utc_now() + timedelta(days=3))}
    sending = await api.accepted()
    await claimed(store, sending)
    soon, end = (format_time(utc_now() + timedelta(days=days)) for days in (1, 2))
    ends = await api.accepted(send_at=soon, expires_at=end)
    for email_id, words in ((sending, "first try"), (ends, "expires_at")):
        refused = await api.call("PATCH", f"/emails/{email_id}", json=at)
        assert words in refused.problem(409, "conflict")["detail"]
