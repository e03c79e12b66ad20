"""Webhooks: made, changed, deleted, and their secrets."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from babygun.errors import (
    Conflict,
    EtcdError,
    EtcdUnavailable,
    NotFound,
    OutcomeUnknown,
    OutOfSpace,
)
from babygun.store import Store, codec
from babygun.store.access.clients import create_client
from babygun.store.webhooks import change
from babygun.store.webhooks.change import (
    change_webhook,
    create_webhook,
    delete_webhook,
    disable_webhook,
    find_webhook,
    list_all_webhooks,
    list_webhooks,
    read_secret,
    rotate_secret,
)
from babygun.store.webhooks.notices import give_back
from babygun.store.webhooks.records import MOST_WEBHOOKS, Webhook, WebhookHealth, WebhookSecret
from tests.store.webhooks.steps import URL, disabled, new_webhook, owned, with_client
from tests.support.faulty_etcd import FAULTS, Died, Fault, FaultyProcess
from tests.support.invariants import check_invariants
from tests.support.rig import Rig


async def test_webhook_is_made_with_a_secret_that_is_given_out_and_stored_apart(rig: Rig) -> None:
    client, _ = await create_client(rig.store, name="app", scopes=("webhooks",))
    webhook, secret = await create_webhook(
        rig.store, client.identity, url=URL, events=("bounced",), tags=("order",), description="one"
    )
    assert await list_webhooks(rig.store, client.identity) == (webhook,)
    assert await find_webhook(rig.store, webhook.id) == (client.identity, webhook)
    assert webhook.enabled and webhook.events == ("bounced",)
    assert secret.startswith("whsec_")
    assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32
    found = await rig.store.client.get(rig.store.keys.client_webhooks(client.identity))
    assert found and secret.encode() not in found.value
    stored = await read_secret(rig.store, webhook.id)
    assert stored and stored.secret == secret
    await check_invariants(rig.store)


async def test_webhook_takes_the_secret_that_a_client_gives(rig: Rig) -> None:
    await with_client(rig.store)
    given = change.new_secret()
    webhook, secret = await create_webhook(rig.store, "client", url=URL, secret=given)
    stored = await read_secret(rig.store, webhook.id)
    assert secret == given and stored and stored.secret == given


async def test_webhook_of_no_client_or_of_an_earlier_one_is_not_made(rig: Rig) -> None:
    with pytest.raises(NotFound):
        await create_webhook(rig.store, "nobody", url=URL)
    client, _ = await create_client(rig.store, name="app", scopes=("webhooks",))
    with pytest.raises(NotFound):
        await create_webhook(rig.store, f"{client.id}:other", url=URL)
    assert not await list_all_webhooks(rig.store)


async def test_client_has_at_most_ten_webhooks_also_if_many_are_made_at_once(rig: Rig) -> None:
    await with_client(rig.store)
    made = await asyncio.gather(
        *(create_webhook(rig.store, "client", url=URL) for _ in range(MOST_WEBHOOKS + 3)),
        return_exceptions=True,
    )
    assert sum(isinstance(one, Conflict) for one in made) == 3
    assert len(await list_webhooks(rig.store, "client")) == MOST_WEBHOOKS
    await check_invariants(rig.store)


async def test_webhook_is_made_once_or_not_at_all_whatever_becomes_of_the_requests(
    rig: Rig,
) -> None:
    await with_client(rig.store)
    for fault in FAULTS:
        for number in (1, 2):
            await _make_with_fault(rig, number, fault)


async def _make_with_fault(rig: Rig, number: int, fault: Fault) -> None:
    process = FaultyProcess(rig.settings)
    await process.store.start()

    async def make(store: Store) -> Any:
        return await create_webhook(store, "client", url=URL, description=f"{fault} {number}")

    made = None
    try:
        made = await process.do(make, faults={number: fault})
    except (EtcdUnavailable, OutcomeUnknown, Died):
        pass
    for late in process.late:
        await process.arrive(late)
    await process.close()
    there = list(await list_webhooks(rig.store, "client"))
    assert len(there) <= 1
    if made:
        assert there == [made[0]], f"{fault} of request {number}"
        stored = await read_secret(rig.store, made[0].id)
        assert stored and stored.secret == made[1]
    await check_invariants(rig.store)
    for webhook in there:
        await delete_webhook(rig.store, "client", webhook.id)


async def test_changes_at_once_are_all_kept(rig: Rig) -> None:
    webhook = await new_webhook(rig.store)
    await asyncio.gather(
        change_webhook(rig.store, "client", webhook.id, lambda w: replace(w, url="https://b")),
        change_webhook(rig.store, "client", webhook.id, lambda w: replace(w, tags=("order",))),
        rotate_secret(rig.store, "client", webhook.id),
    )
    (now,) = await list_webhooks(rig.store, "client")
    assert (now.url, now.tags, now.created_at) == ("https://b", ("order",), webhook.created_at)
    assert now.updated_at >= webhook.updated_at


async def test_webhook_is_disabled_once_with_the_reason(rig: Rig) -> None:
    webhook = await new_webhook(rig.store)
    off = await disabled(rig.store, webhook, "It answered 410.")
    assert off and not off.enabled and off.disabled and off.disabled.reason == "It answered 410."
    assert await disabled(rig.store, webhook, "again") is None
    assert await disabled(rig.store, off, "again") is None
    assert await delete_webhook(rig.store, "client", webhook.id)
    assert await disable_webhook(rig.store, "client", webhook, 1, "again") is None


@pytest.mark.parametrize("number", [1, 2])
async def test_webhook_that_changes_amid_its_disabling_stays_on(rig: Rig, number: int) -> None:
    webhook = await new_webhook(rig.store)
    token = await owned(rig.store, webhook)

    async def enable() -> None:
        await change_webhook(rig.store, "client", webhook.id, lambda one: one)

    assert await _disable(rig, webhook, token, number, enable) is None
    [now] = await list_webhooks(rig.store, "client")
    assert now.enabled and now.updated_at > webhook.updated_at


@pytest.mark.parametrize("number", [1, 2])
async def test_webhook_that_another_worker_takes_amid_its_disabling_stays_on(
    rig: Rig, number: int
) -> None:
    webhook = await new_webhook(rig.store)
    token = await owned(rig.store, webhook)

    async def lose() -> None:
        await give_back(rig.store, webhook.id, token)
        assert await owned(rig.store, webhook) != token

    assert await _disable(rig, webhook, token, number, lose) is None
    assert await list_webhooks(rig.store, "client") == (webhook,)


async def test_webhook_is_disabled_though_another_one_of_the_client_changes_meanwhile(
    rig: Rig,
) -> None:
    webhook = await new_webhook(rig.store)
    token = await owned(rig.store, webhook)

    async def other() -> None:
        await new_webhook(rig.store)

    assert await _disable(rig, webhook, token, 2, other)
    assert [one.enabled for one in await list_webhooks(rig.store, "client")] == [False, True]


async def _disable(
    rig: Rig,
    webhook: Webhook,
    token: int,
    number: int,
    meanwhile: Callable[[], Awaitable[None]],
) -> Any:
    """What the owner's disabling gives. ``meanwhile``: done before its request of this number."""
    process = FaultyProcess(rig.settings)
    await process.store.start()

    async def disable(store: Store) -> Any:
        return await disable_webhook(store, "client", webhook, token, "It answered 410.")

    try:
        return await process.do(disable, meanwhile={number: meanwhile})
    finally:
        await process.close()


async def test_rotated_secret_keeps_the_one_before_for_a_day(rig: Rig) -> None:
    webhook = await new_webhook(rig.store)
    first = await read_secret(rig.store, webhook.id)
    second = await rotate_secret(rig.store, "client", webhook.id)
    assert first and second.previous == first.secret and second.previous_until
    assert second.previous_until - webhook.created_at >= timedelta(hours=24)
    third = await rotate_secret(rig.store, "client", webhook.id, secret="whsec_given")
    assert (third.secret, third.previous) == ("whsec_given", second.secret)
    assert await read_secret(rig.store, webhook.id) == third


@pytest.mark.parametrize("given", [None, "whsec_given"])
@pytest.mark.parametrize(
    ("fault", "doubt"),
    [
        ("lost", OutcomeUnknown),
        ("unanswered", OutcomeUnknown),
        ("unanswered", OutOfSpace),
        ("late", OutcomeUnknown),
        ("overtaken", OutcomeUnknown),
    ],
)
async def test_secret_in_use_stays_though_an_answer_is_lost_while_it_is_changed(
    rig: Rig, fault: Fault, doubt: type[EtcdError], given: str | None
) -> None:
    webhook = await new_webhook(rig.store)
    first = await read_secret(rig.store, webhook.id)
    process = FaultyProcess(rig.settings)
    process.doubt = doubt
    await process.store.start()

    async def rotate(store: Store) -> WebhookSecret:
        return await rotate_secret(store, "client", webhook.id, given)

    made: WebhookSecret = await process.do(rotate, faults={2: fault})
    for late in process.late:
        await process.arrive(late)
    await process.close()
    kept = await read_secret(rig.store, webhook.id)
    assert first and kept == made and kept.previous == first.secret


async def test_secret_that_is_given_twice_ends_no_other(rig: Rig) -> None:
    webhook = await new_webhook(rig.store)
    first = await read_secret(rig.store, webhook.id)
    made = await rotate_secret(rig.store, "client", webhook.id, secret="whsec_given")
    assert await rotate_secret(rig.store, "client", webhook.id, secret="whsec_given") == made
    assert first and made.previous == first.secret
    assert await read_secret(rig.store, webhook.id) == made


async def test_webhook_is_made_though_etcd_says_that_it_is_full_after_it_has_written(
    rig: Rig,
) -> None:
    await with_client(rig.store)
    process = FaultyProcess(rig.settings)
    process.doubt = OutOfSpace
    await process.store.start()

    async def make(store: Store) -> Any:
        return await create_webhook(store, "client", url=URL)

    webhook, secret = await process.do(make, faults={2: "unanswered"})
    await process.close()
    assert await list_webhooks(rig.store, "client") == (webhook,)
    stored = await read_secret(rig.store, webhook.id)
    assert stored and stored.secret == secret


async def test_deleted_webhook_leaves_nothing(rig: Rig) -> None:
    gone, stays = await new_webhook(rig.store), await new_webhook(rig.store)
    await rig.send("ann@example.org")
    health = codec.encode_state(WebhookHealth())
    await rig.store.client.put(rig.store.keys.webhook_health(gone.id), health)
    assert await delete_webhook(rig.store, "client", gone.id)
    assert not await delete_webhook(rig.store, "client", gone.id)
    seen = await check_invariants(rig.store)
    assert not [key for key in seen.keys if gone.id.encode() in key]
    assert await list_webhooks(rig.store, "client") == (stays,)
    with pytest.raises(NotFound):
        await rotate_secret(rig.store, "client", gone.id)
    with pytest.raises(NotFound):
        await change_webhook(rig.store, "client", gone.id, lambda w: w)


async def test_client_whose_last_webhook_is_deleted_has_no_key_of_them(rig: Rig) -> None:
    webhook = await new_webhook(rig.store)
    await delete_webhook(rig.store, "client", webhook.id)
    assert await rig.store.client.get(rig.store.keys.client_webhooks("client")) is None
    await rig.send("ann@example.org")
    assert not (await check_invariants(rig.store)).outbox.notices
