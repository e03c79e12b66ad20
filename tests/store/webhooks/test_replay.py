"""Events are sent again: each waits once more, and nothing is lost in between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Literal

import pytest

from babygun.store import Store, codec
from babygun.store.keys import NoticeRef, range_end
from babygun.store.webhooks import replay
from babygun.store.webhooks.change import delete_webhook
from babygun.store.webhooks.listing import list_notices
from babygun.store.webhooks.records import Webhook
from babygun.store.webhooks.replay import replay_between, replay_ids
from tests.store.webhooks.steps import new_webhook
from tests.store.webhooks.written import NOW, event_of, put
from tests.support.faulty_etcd import faulty
from tests.support.rig import Rig

START = int(NOW.timestamp() * 1000)


@pytest.fixture
async def webhook(rig: Rig) -> Webhook:
    return await new_webhook(rig.store)


async def keys_of(store: Store, webhook: Webhook) -> list[str]:
    """The names of all keys of the webhook's notices, by their kind."""
    keys, found = store.keys, []
    for kind, prefix in (
        ("ready", keys.webhook_notices(webhook.id)),
        ("due", keys.webhook_due_notices(webhook.id)),
        ("sent", keys.webhook_sent_notices(webhook.id)),
    ):
        kvs = (await store.client.range(prefix, range_end(prefix))).kvs
        found += [f"{kind} {keys.last_part(kv.key)}" for kv in kvs]
    return found


async def test_events_by_id_wait_again_with_all_their_tries(rig: Rig, webhook: Webhook) -> None:
    store, id = rig.store, webhook.id
    sent, failed, due, ready, left = (event_of(START + n) for n in range(5))
    await put(store, sent, "sent", webhook_id=id)
    await put(store, failed, "failed", webhook_id=id)
    await put(store, left, "sent", webhook_id=id)
    await put(store, due, due=NOW + timedelta(hours=6), webhook_id=id)
    await put(store, ready, webhook_id=id)
    asked = [sent, failed, due, ready, event_of(START), "x/y", "", "\0"]
    assert set(await replay_ids(store, id, asked)) == {sent, failed, due, ready}
    assert await keys_of(store, webhook) == [
        *(f"ready {event}" for event in (sent, failed, due, ready)),
        f"sent {left}",
    ]
    for event in (sent, failed, due):
        found = await store.client.get(store.keys.notice(NoticeRef(id, event)))
        assert found and not found.lease
        notice = codec.decode_notice(found.value)
        assert (notice.tries, notice.state, notice.since) == (0, "waiting", NOW)
        assert notice.last and notice.last.status_code == 500, "what became of it is still said"


async def test_events_of_a_time_wait_again_in_bounded_steps(
    rig: Rig, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "_SCAN", 4)
    monkeypatch.setattr(replay, "_AT_ONCE", 2)
    store, id = rig.store, webhook.id
    events = [event_of(START + n) for n in range(11)]
    for n, event in enumerate(events):
        at = NOW + timedelta(minutes=n)
        await put(store, event, "failed" if n % 2 else "sent", since=at, webhook_id=id)
    since, until = NOW + timedelta(minutes=2), NOW + timedelta(minutes=9)
    counts, cursor = [], None
    while True:
        count, cursor = await replay_between(store, id, since, until, cursor)
        counts.append(count)
        if cursor is None:
            break
    assert (sum(counts), len(counts)) == (7, 3)
    assert await keys_of(store, webhook) == [
        *(f"ready {event}" for event in events[2:9]),
        *(f"sent {event}" for event in (*events[:2], *events[9:])),
    ]
    with pytest.raises(ValueError, match="no cursor"):
        await replay_between(store, id, since, until, "x")


async def test_event_that_is_replayed_twice_at_once_waits_once(rig: Rig, webhook: Webhook) -> None:
    event = event_of(START)
    await put(rig.store, event, "sent", webhook_id=webhook.id)
    await asyncio.gather(*(replay_ids(rig.store, webhook.id, [event]) for _ in range(8)))
    assert await keys_of(rig.store, webhook) == [f"ready {event}"]


async def _again(store: Store, ref: NoticeRef) -> None:
    """Writes a sent notice once more, as an erasure does."""
    found = await store.client.get(store.keys.sent_notice(ref))
    assert found
    await store.client.put(found.key, found.value, found.lease)


async def _gone(store: Store, ref: NoticeRef) -> None:
    """As the end of the retention."""
    await store.client.delete(store.keys.sent_notice(ref))


async def _replayed(store: Store, ref: NoticeRef) -> None:
    await replay_ids(store, ref.webhook_id, [ref.event_id])


@pytest.mark.parametrize(("change", "stays"), [(_again, True), (_gone, False), (_replayed, True)])
async def test_event_that_changes_meanwhile_is_named_if_it_waits_again(
    rig: Rig,
    webhook: Webhook,
    change: Callable[[Store, NoticeRef], Awaitable[None]],
    stays: bool,
) -> None:
    event, other = event_of(START), event_of(START + 1)
    for each in (event, other):
        await put(rig.store, each, "sent", webhook_id=webhook.id)
    async with faulty(rig.settings) as process:
        found = await process.do(
            lambda store: replay_ids(store, webhook.id, [event, other]),
            meanwhile={2: lambda: change(rig.store, NoticeRef(webhook.id, event))},
        )
    expected = [event, other] if stays else [other]
    assert set(found) == set(expected)
    assert await keys_of(rig.store, webhook) == [f"ready {each}" for each in expected]


async def test_event_that_changes_meanwhile_is_replayed_by_its_time(
    rig: Rig, webhook: Webhook
) -> None:
    event = event_of(START)
    await put(rig.store, event, "sent", since=NOW, webhook_id=webhook.id)
    async with faulty(rig.settings) as process:
        count, _ = await process.do(
            lambda store: replay_between(store, webhook.id, NOW, NOW + timedelta(1), None),
            meanwhile={2: lambda: _again(rig.store, NoticeRef(webhook.id, event))},
        )
    assert count == 1
    assert await keys_of(rig.store, webhook) == [f"ready {event}"]


@pytest.mark.parametrize("state", ["sent", "waiting"])
async def test_event_whose_next_try_ends_meanwhile_waits_again(
    rig: Rig, webhook: Webhook, state: Literal["sent", "waiting"]
) -> None:
    event = event_of(START)
    ref = NoticeRef(webhook.id, event)
    due = NOW + timedelta(hours=6)
    await put(rig.store, event, due=due, webhook_id=webhook.id)

    async def tried() -> None:
        later = due + timedelta(hours=6) if state == "waiting" else None
        await rig.store.client.delete(rig.store.keys.due_notice(ref, due))
        await put(rig.store, event, state, due=later, webhook_id=webhook.id)

    async with faulty(rig.settings) as process:
        found = await process.do(
            lambda store: replay_ids(store, webhook.id, [event]), meanwhile={4: tried}
        )
    assert found == [event]
    assert await keys_of(rig.store, webhook) == [f"ready {event}"]


async def test_webhook_that_is_gone_gets_nothing_to_send(rig: Rig, webhook: Webhook) -> None:
    event = event_of(START)
    assert await delete_webhook(rig.store, "client", webhook.id)
    await put(rig.store, event, "sent", webhook_id=webhook.id)
    assert await replay_ids(rig.store, webhook.id, [event]) == []
    page = await list_notices(rig.store, webhook.id, state="waiting", limit=5, cursor=None)
    assert page.deliveries == []
