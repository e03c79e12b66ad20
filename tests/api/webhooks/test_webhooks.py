"""The calls by which a client has webhooks: what they answer, change and refuse."""

from __future__ import annotations

import asyncio
import base64
from datetime import UTC, datetime, timedelta

from babygun.store import Store
from babygun.store.webhooks.change import find_webhook, read_secret
from tests.api.webhooks.conftest import URL, Shop
from tests.store.webhooks.steps import disabled
from tests.support.api import RunningApi, StartApi, fields_of

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


async def test_webhook_is_made_with_a_secret_that_is_shown_once(shop: Shop, store: Store) -> None:
    answer = await shop.call("POST", "/webhooks", {"url": URL})
    made = answer.json
    assert (answer.status, answer.headers["Location"]) == (201, f"/webhooks/{made['id']}")
    secret = made.pop("secret")
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    assert made == {
        "id": made["id"],
        "client_id": shop.id.partition(":")[0],
        "url": URL,
        "events": ["*"],
        "tags": [],
        "description": "",
        "enabled": True,
        "disabled": None,
        "created_at": made["created_at"],
        "updated_at": made["created_at"],
        "health": {
            "status": "new",
            "last_success_at": None,
            "failing_since": None,
            "last_error": None,
            "waiting": 0,
        },
    }
    assert (await shop.call("GET", f"/webhooks/{made['id']}")).json == made
    assert (await shop.call("GET", "/webhooks")).json == {"webhooks": [made], "cursor": None}
    kept = await read_secret(store, made["id"])
    assert kept is not None and kept.secret == secret


async def test_webhook_keeps_its_filter_and_the_secret_that_its_client_gives(
    shop: Shop, store: Store
) -> None:
    made = await shop.webhook(
        url=" https://bücher.example/ü ",
        events=["bounced", "delivered", "bounced"],
        tags=["order", "order", "a:b"],
        description="  the shop's orders ",
        secret=SECRET,
    )
    assert made["url"] == "https://xn--bcher-kva.example/%C3%BC"
    assert (made["events"], made["tags"]) == (["delivered", "bounced"], ["order", "a:b"])
    assert (made["description"], made["secret"]) == ("the shop's orders", SECRET)
    kept = await read_secret(store, made["id"])
    assert kept is not None and kept.secret == SECRET
    for events in (["*", "bounced"], None):
        assert (await shop.webhook(events=events))["events"] == ["*"]


async def test_everything_that_is_wrong_with_a_webhook_is_named_at_once(shop: Shop) -> None:
    answer = await shop.call(
        "POST",
        "/webhooks",
        {
            "url": "https://10.0.0.1/",
            "events": ["deliverd", "accepted", "email.bounced"],
            "tags": ["a b", "good"],
            "description": "x" * 201,
            "secret": "secret",
        },
    )
    problem = answer.problem(422, "invalid-request", "url")
    fields = ("url", "events[0]", "events[2]", "tags[0]", "description", "secret")
    assert tuple(fields_of(problem)) == fields
    said = {error["field"]: error["detail"] for error in problem["errors"]}
    assert "did you mean delivered?" in said["events[0]"]
    assert "did you mean bounced?" in said["events[2]"]
    assert "webhook_allow_networks" in said["url"]
    for body, field in (
        ({}, "url"),
        ({"url": URL, "events": []}, "events"),
        ({"url": URL, "tags": [f"t{n}" for n in range(11)]}, "tags"),
        ({"url": URL, "enabled": True}, "enabled"),
        ({"url": "http://shop.example.com/"}, "url"),
    ):
        (await shop.call("POST", "/webhooks", body)).problem(422, "invalid-request", field)
    assert (await shop.call("GET", "/webhooks")).json["webhooks"] == []


async def test_url_of_this_machine_is_taken_where_the_settings_allow_it(
    start_api: StartApi, shop: Shop
) -> None:
    from ipaddress import ip_network

    lax = await start_api(
        webhook_allow_http=True, webhook_allow_networks=(ip_network("127.0.0.0/8"),)
    )
    body = {"url": "http://127.0.0.1:8000/mail"}
    assert (await lax.call("POST", "/webhooks", token=shop.token, json=body)).status == 201


async def test_eleventh_webhook_is_refused_also_when_many_are_made_at_once(shop: Shop) -> None:
    answers = await asyncio.gather(
        *(shop.call("POST", "/webhooks", {"url": f"{URL}/{n}"}) for n in range(14))
    )
    made = {answer.json["id"] for answer in answers if answer.status == 201}
    for answer in answers:
        if answer.status != 201:
            assert "10" in answer.problem(409, "conflict")["detail"]
    listed = {one["id"] for one in (await shop.call("GET", "/webhooks")).json["webhooks"]}
    assert len(made) == 10 and listed == made


async def test_changes_at_the_same_time_are_all_kept(shop: Shop) -> None:
    made = await shop.webhook(secret=SECRET)
    path = f"/webhooks/{made['id']}"
    changes = (
        {"url": f"{URL}/new"},
        {"events": ["bounced"]},
        {"tags": ["order"]},
        {"description": "orders"},
        {"enabled": False},
    )
    answers = await asyncio.gather(*(shop.call("PATCH", path, change) for change in changes))
    assert [answer.status for answer in answers] == [200] * len(changes)
    now = (await shop.call("GET", path)).json
    for change in changes:
        for field, value in change.items():
            assert now[field] == value
    assert now["health"]["status"] == "disabled" and now["disabled"] is None
    assert now["created_at"] == made["created_at"] and now["updated_at"] >= made["updated_at"]


async def test_change_keeps_what_it_leaves_out_and_refuses_what_breaks_a_rule(shop: Shop) -> None:
    made = await shop.webhook(events=["bounced"], tags=["order"], description="x")
    path = f"/webhooks/{made['id']}"
    for nothing in ({}, {"url": None, "events": None, "tags": None, "enabled": None}):
        same = (await shop.call("PATCH", path, nothing)).json
        assert {name: same[name] for name in ("url", "events", "tags", "description")} == {
            name: made[name] for name in ("url", "events", "tags", "description")
        }
    wide = (await shop.call("PATCH", path, {"events": ["*"], "tags": [], "description": ""})).json
    assert (wide["events"], wide["tags"], wide["description"]) == (["*"], [], "")
    for body, field in (
        ({"url": "https://localhost/"}, "url"),
        ({"events": ["bounce"]}, "events[0]"),
        ({"secret": SECRET}, "secret"),
        ({"enabled": "yes"}, "enabled"),
    ):
        (await shop.call("PATCH", path, body)).problem(422, "invalid-request", field)


async def test_disabled_webhook_says_why_until_it_is_enabled(shop: Shop, store: Store) -> None:
    made = await shop.webhook()
    path = f"/webhooks/{made['id']}"
    found = await find_webhook(store, made["id"])
    assert found is not None
    assert await disabled(store, found[1], "The endpoint answered 410 Gone.", found[0])
    off = (await shop.call("GET", path)).json
    assert not off["enabled"] and off["health"]["status"] == "disabled"
    assert off["disabled"]["reason"] == "The endpoint answered 410 Gone."
    on = (await shop.call("PATCH", path, {"enabled": True})).json
    assert on["enabled"] and on["disabled"] is None and on["health"]["status"] == "new"


async def test_deleted_webhook_is_gone_and_leaves_room(shop: Shop) -> None:
    made = [await shop.webhook() for _ in range(10)]
    path = f"/webhooks/{made[3]['id']}"
    assert (await shop.call("DELETE", path)).status == 204
    for method, more in (("GET", ""), ("DELETE", ""), ("POST", "/test"), ("POST", "/secret")):
        (await shop.call(method, path + more)).problem(404, "not-found")
    await shop.webhook()
    assert len((await shop.call("GET", "/webhooks")).json["webhooks"]) == 10


async def test_new_secret_leaves_the_old_one_a_day(shop: Shop, store: Store) -> None:
    made = await shop.webhook()
    path = f"/webhooks/{made['id']}/secret"
    given = await shop.call("POST", path, {"secret": SECRET})
    assert (given.status, given.json["secret"]) == (200, SECRET)
    left = datetime.fromisoformat(given.json["previous_until"]) - datetime.now(UTC)
    assert timedelta(hours=23) < left <= timedelta(hours=25)
    kept = await read_secret(store, made["id"])
    assert kept is not None and (kept.secret, kept.previous) == (SECRET, made["secret"])
    random = (await shop.call("POST", path)).json["secret"]
    assert random not in (SECRET, made["secret"])
    (await shop.call("POST", path, {"secret": "x"})).problem(422, "invalid-request", "secret")


async def test_client_sees_its_own_webhooks_and_admins_all(
    shop: Shop, other_shop: Shop, admin: Shop
) -> None:
    own, theirs = await shop.webhook(), await other_shop.webhook()

    async def seen(who: Shop, query: str = "") -> list[str]:
        answer = await who.call("GET", f"/webhooks{query}")
        assert answer.status == 200, answer.text
        return [one["id"] for one in answer.json["webhooks"]]

    assert (await seen(shop), await seen(other_shop)) == ([own["id"]], [theirs["id"]])
    assert {own["id"], theirs["id"]} == set(await seen(admin))
    assert await seen(admin, f"?client={theirs['client_id']}") == [theirs["id"]]
    assert await seen(admin, "?client=nobody") == []
    assert await seen(shop, f"?client={theirs['client_id']}") == []
    path = f"/webhooks/{theirs['id']}"
    (await shop.call("PATCH", path, {"enabled": False})).problem(404, "not-found")
    changed = await admin.call("PATCH", path, {"description": "by an operator"})
    assert changed.json["client_id"] == theirs["client_id"]
    assert (await other_shop.call("GET", path)).json["description"] == "by an operator"


async def test_listing_goes_page_by_page(shop: Shop, other_shop: Shop, admin: Shop) -> None:
    made = {(await one.webhook())["id"] for one in (shop, other_shop, shop)}
    seen: list[str] = []
    query = "?limit=2"
    while True:
        page = (await admin.call("GET", f"/webhooks{query}")).json
        seen += [one["id"] for one in page["webhooks"]]
        if page["cursor"] is None:
            break
        query = f"?limit=2&cursor={page['cursor']}"
    assert len(seen) == 3 and set(seen) == made
    for query, field in (("?limit=0", "limit"), ("?cursor=x", "cursor")):
        (await shop.call("GET", f"/webhooks{query}")).problem(422, "invalid-request", field)


async def test_calls_need_the_scope(api: RunningApi, shop: Shop) -> None:
    path = f"/webhooks/{(await shop.webhook())['id']}"
    for method, called in (
        ("GET", "/webhooks"),
        ("POST", "/webhooks"),
        ("GET", path),
        ("PATCH", path),
        ("DELETE", path),
        ("POST", f"{path}/test"),
        ("POST", f"{path}/secret"),
        ("POST", f"{path}/replay"),
        ("GET", f"{path}/deliveries"),
    ):
        (await api.call(method, called)).problem(403, "insufficient-scope")
