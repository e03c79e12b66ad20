"""The calls on what is sent to a webhook: the list, a test event, sending again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.api.webhooks.conftest import Shop
from tests.support.api import EMAIL


async def deliveries(shop: Shop, webhook: Any, query: str = "") -> Any:
    answer = await shop.call("GET", f"/webhooks/{webhook['id']}/deliveries{query}")
    assert answer.status == 200, answer.text
    return answer.json


async def test_test_event_waits_to_be_sent_like_others(shop: Shop) -> None:
    webhook = await shop.webhook(events=["bounced"], tags=["order"])
    answer = await shop.call("POST", f"/webhooks/{webhook['id']}/test")
    assert answer.status == 202, answer.text
    event_id = answer.json["event_id"]
    assert answer.json["deliveries"] == f"/webhooks/{webhook['id']}/deliveries"
    [waits] = (await deliveries(shop, webhook))["deliveries"]
    assert waits == {
        "event_id": event_id,
        "type": "test",
        "email_id": None,
        "created_at": waits["created_at"],
        "state": "waiting",
        "tries": 0,
        "last_try_at": None,
        "status_code": None,
        "answer": None,
        "error": None,
        "next_try_at": None,
    }
    shown = (await shop.call("GET", f"/webhooks/{webhook['id']}")).json
    assert shown["health"]["waiting"] == 1


async def test_disabled_webhook_gets_no_events_by_a_call_and_its_answer_says_what_to_do(
    shop: Shop,
) -> None:
    webhook = await shop.webhook()
    path, hour_ago = f"/webhooks/{webhook['id']}", datetime.now(UTC) - timedelta(hours=1)
    await shop.call("PATCH", path, {"enabled": False})
    for call, body in (
        ("test", None),
        ("replay", {"since": hour_ago.isoformat()}),
        ("replay", {"event_ids": ["x"]}),
    ):
        refused = await shop.call("POST", f"{path}/{call}", body)
        assert f"PATCH {path}" in refused.problem(409, "conflict")["detail"]
    assert (await deliveries(shop, webhook))["deliveries"] == []


async def test_accepted_emails_are_listed_newest_first_and_page_by_page(shop: Shop) -> None:
    webhook = await shop.webhook()
    ids = [(await shop.call("POST", "/emails", EMAIL)).json["id"] for _ in range(5)]
    seen: list[str] = []
    query = "?limit=2"
    while True:
        page = await deliveries(shop, webhook, query)
        seen += [one["email_id"] for one in page["deliveries"]]
        assert {one["type"] for one in page["deliveries"]} <= {"accepted"}
        if page["cursor"] is None:
            break
        query = f"?limit=2&cursor={page['cursor']}"
    assert seen == ids[::-1]
    assert len((await deliveries(shop, webhook, "?state=waiting"))["deliveries"]) == 5
    for state in ("sent", "failed"):
        assert (await deliveries(shop, webhook, f"?state={state}"))["deliveries"] == []


async def test_listing_refuses_bad_parameters(shop: Shop) -> None:
    webhook = await shop.webhook()
    path = f"/webhooks/{webhook['id']}/deliveries"
    for query, field in [("?state=lost", "state"), ("?limit=x", "limit"), ("?cursor=x", "cursor")]:
        (await shop.call("GET", path + query)).problem(422, "invalid-request", field)


async def test_replay_refuses_what_names_no_events_or_names_them_twice(shop: Shop) -> None:
    webhook = await shop.webhook()
    path, now = f"/webhooks/{webhook['id']}/replay", datetime.now(UTC)
    hour_ago = (now - timedelta(hours=1)).isoformat()
    for body, field in (
        ({}, None),
        ({"since": hour_ago, "event_ids": ["x"]}, None),
        ({"until": hour_ago}, "since"),
        ({"cursor": "x"}, "since"),
        ({"since": now.isoformat(), "until": hour_ago}, "until"),
        ({"since": (now + timedelta(hours=1)).isoformat()}, "since"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-11-25T09:00:00"}, "since"),
        ({"event_ids": []}, "event_ids"),
        ({"event_ids": ["x"] * 1001}, "event_ids"),
    ):
        (await shop.call("POST", path, body)).problem(422, "invalid-request", field)


async def test_replay_names_the_events_that_are_not_kept(shop: Shop) -> None:
    webhook = await shop.webhook()
    path = f"/webhooks/{webhook['id']}/replay"
    unknown = "019ab8c2-7f41-7d3a-9c55-2b7e4f1a90c8-0001-delivered"
    answer = await shop.call("POST", path, {"event_ids": [unknown, unknown, "x/y", "\u0000"]})
    assert answer.status == 202, answer.text
    assert answer.json == {
        "replayed": 0,
        "not_found": [unknown, "x/y", "\u0000"],
        "cursor": None,
    }
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    nothing = await shop.call("POST", path, {"since": since})
    assert nothing.json == {"replayed": 0, "not_found": [], "cursor": None}
