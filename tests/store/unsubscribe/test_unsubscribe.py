"""Unsubscribing: the suppression and its event, in a real etcd."""

from __future__ import annotations

import asyncio
import json

import pytest

from babygun.email.suppression import Suppression, SuppressionReason
from babygun.runtime.clock import utc_now
from babygun.store import Store, codec
from babygun.store.access.clients import create_client, delete_client
from babygun.store.keys import range_end
from babygun.store.suppressions.suppressions import add, get_one
from babygun.store.unsubscribe.tokens import Subscription
from babygun.store.unsubscribe.unsubscribe import unsubscribe
from babygun.store.webhooks.change import create_webhook
from tests.support.rig import Rig, changed, rig_for


async def subscription(store: Store, name: str = "news") -> Subscription:
    client, _ = await create_client(store, name="shop", scopes=())
    return Subscription(client.identity, name, "ann@example.org")


async def events(store: Store) -> list[dict[str, object]]:
    """The events that wait for a webhook."""
    prefix = store.keys.notices
    found = await store.client.range(prefix, range_end(prefix))
    return [json.loads(bytes(codec.decode_notice(kv.value).event)) for kv in found.kvs]


async def stored(store: Store, what: Subscription) -> Suppression | None:
    return await get_one(store, what.client_id, what.address, list_name=what.list)


async def webhook(store: Store, what: Subscription, **options: object) -> None:
    await create_webhook(store, what.client_id, url="https://example.com/hook", **options)  # type: ignore[arg-type]


async def test_address_is_suppressed_on_its_list_for_ever_and_the_webhook_gets_one_event(
    rig: Rig,
) -> None:
    what = await subscription(rig.store)
    await webhook(rig.store, what)
    assert await unsubscribe(rig.store, what)
    found = await stored(rig.store, what)
    assert found is not None and (found.reason, found.until) == ("unsubscribe", None)
    assert await stored(rig.store, what._replace(list="*")) is None
    [event] = await events(rig.store)
    data = event["data"]
    assert isinstance(data, dict)
    assert event["type"] == "unsubscribed" and data["list"] == "news"
    assert data["client_id"] == what.client_id.partition(":")[0]
    assert [one["email"] for one in data["recipients"]] == ["ann@example.org"]
    assert data["event_id"].endswith("-0000-unsubscribed")


async def test_second_call_and_calls_at_the_same_time_make_no_second_event(rig: Rig) -> None:
    what = await subscription(rig.store)
    await webhook(rig.store, what)
    wrote = await asyncio.gather(*(unsubscribe(rig.store, what) for _ in range(8)))
    assert sorted(wrote) == [False] * 7 + [True]
    assert not await unsubscribe(rig.store, what)
    assert len(await events(rig.store)) == 1


async def test_webhook_that_another_process_has_just_made_gets_the_event(rig: Rig) -> None:
    what = await subscription(rig.store)
    async with rig_for(rig.settings) as other:
        await webhook(other.store, what)
    assert await unsubscribe(rig.store, what)
    assert len(await events(rig.store)) == 1


async def test_client_without_a_webhook_has_no_event(rig: Rig) -> None:
    what = await subscription(rig.store)
    assert await unsubscribe(rig.store, what)
    assert await events(rig.store) == []


@pytest.mark.parametrize(
    ("reason", "wrote"),
    [("hard_bounce", True), ("manual", True), ("complaint", False), ("unsubscribe", False)],
)
async def test_what_is_there_stays_if_it_was_the_owners_wish(
    rig: Rig, reason: SuppressionReason, wrote: bool
) -> None:
    what = await subscription(rig.store)
    old = Suppression(reason, utc_now())
    await add(rig.store, what.client_id, what.address, old, list_name="news")
    assert await unsubscribe(rig.store, what) is wrote
    found = await stored(rig.store, what)
    assert found is not None and found.reason == ("unsubscribe" if wrote else reason)


async def test_client_that_is_deleted_or_made_again_gets_no_suppression(rig: Rig) -> None:
    what = await subscription(rig.store)
    client_id = what.client_id.partition(":")[0]
    await delete_client(rig.store, client_id)
    assert not await unsubscribe(rig.store, what)
    await create_client(rig.store, name="shop", scopes=(), client_id=client_id)
    assert not await unsubscribe(rig.store, what)
    assert await stored(rig.store, what) is None


async def test_suppression_ends_where_a_setting_says_so(rig: Rig) -> None:
    async with rig_for(changed(rig.settings, suppress_others=3600.0)) as own:
        what = await subscription(own.store)
        assert await unsubscribe(own.store, what)
        found = await stored(own.store, what)
        assert found is not None and found.until is not None
