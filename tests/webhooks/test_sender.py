"""The workers that send notices: who owns which webhook, as workers come, stop and die."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NoReturn

import pytest
from aiohttp import web
from msgspec.structs import replace

from babygun.store import Store
from babygun.store.emails.acceptance import accept
from babygun.store.emails.new_email import prepare
from babygun.store.webhooks import notices, secrets
from babygun.store.webhooks.change import (
    change_webhook,
    delete_webhook,
    read_secret,
    rotate_secret,
)
from babygun.store.webhooks.notices import Taken, owned_webhooks
from babygun.store.webhooks.records import WebhookSecret
from babygun.store.webhooks.replay import replay_ids
from babygun.webhooks import sender
from babygun.webhooks.sender import Sender
from babygun.worker import Worker
from tests.support.processes import PATIENCE
from tests.support.rig import SHORT_LEASE
from tests.support.webhook_server import Request, WebhookServer, ok
from tests.webhooks.stage import Stage


async def test_two_workers_share_the_webhooks_and_each_event_is_sent_once(
    stage: Stage, receiver: WebhookServer
) -> None:
    webhooks = [await stage.webhook(receiver.url) for _ in range(8)]
    async with stage.sending() as one, stage.sending() as other:
        await until(lambda: live(one, other) and len(lanes(one) | lanes(other)) == 8)
        ids = [event for webhook in webhooks for event in await stage.notices(webhook, 20)]
        for webhook in webhooks:
            await stage.final(webhook, 20)
        held = {w.id for w in webhooks if one.membership.slice.holds(w.id)}
        await until(lambda: lanes(one) == held and not lanes(one) & lanes(other))
    assert sorted(receiver.ids) == sorted(ids)


async def test_worker_that_stops_finishes_its_requests_and_gives_the_webhook_back(
    stage: Stage, receiver: WebhookServer
) -> None:
    go = asyncio.Event()

    async def wait(request: Request) -> web.Response:
        await go.wait()
        return await ok(request)

    receiver.answer = wait
    webhook = await stage.webhook(receiver)
    await stage.notices(webhook, 20)
    async with stage.sending() as first:
        await receiver.got(8)
        first.stop()
        async with stage.sending():
            assert len(receiver.seen) == 8, "the first one has it still"
            go.set()
            kept = await stage.final(webhook, 20)
    assert sorted(receiver.ids) == sorted(kept), "none came twice"
    assert not await owned_webhooks(stage.store, 0)


async def test_worker_that_is_killed_leaves_its_events_to_another(
    stage: Stage, receiver: WebhookServer
) -> None:
    go = asyncio.Event()

    async def wait(request: Request) -> web.Response:
        await go.wait()
        return await ok(request)

    receiver.answer = wait
    webhook = await stage.webhook(receiver)
    ids = await stage.notices(webhook, 12)
    async with stage.rig.worker_process(lease_ttl=SHORT_LEASE) as process:
        await receiver.got(8)
        process.kill()
        await process.ended()
    go.set()
    async with stage.sending():
        await stage.final(webhook, 12)
    assert set(receiver.ids) == set(ids)


async def test_worker_that_stood_still_past_its_lease_writes_nothing_of_what_it_had(
    stage: Stage, receiver: WebhookServer
) -> None:
    go = asyncio.Event()

    async def wait(request: Request) -> web.Response:
        if len(receiver.seen) <= 8:
            await go.wait()
            return web.Response(status=500)
        return await ok(request)

    receiver.answer = wait
    webhook = await stage.webhook(receiver)
    ids = await stage.notices(webhook, 8)
    async with stage.rig.worker_process(lease_ttl=SHORT_LEASE, webhook_timeout=60.0) as process:
        await receiver.got(8)
        process.pause()
        try:
            async with stage.sending():
                kept = await stage.final(webhook, 8)
        finally:
            go.set()
            process.resume()
        # It hears eight times 500, and must not write that.
        await stage.notices(webhook, 1)
        await receiver.until(lambda: len(set(receiver.ids)) == 9)
        kept = await stage.final(webhook, 9)
    assert {one.state for one in kept.values()} == {"sent"} and set(ids) < set(kept)
    assert {one.tries for one in kept.values()} == {1}


async def test_worker_whose_lease_is_lost_takes_its_webhooks_again(
    stage: Stage, receiver: WebhookServer
) -> None:
    webhook = await stage.webhook(receiver)
    async with stage.sending() as worker:
        await until(lambda: bool(lanes(worker)))
        identity = worker.membership.identity
        assert identity is not None
        await stage.store.client.revoke(identity.lease_id)
        await stage.notices(webhook, 5)
        await stage.final(webhook, 5)
        assert worker.membership.identity is not identity


async def test_webhook_that_is_deleted_gets_nothing_more(
    stage: Stage, receiver: WebhookServer
) -> None:
    webhook, other = await stage.webhook(receiver.url), await stage.webhook(receiver.url)
    go = asyncio.Event()

    async def wait(request: Request) -> web.Response:
        await go.wait()
        return await ok(request)

    receiver.answer = wait
    await stage.notices(webhook, 20)
    async with stage.sending() as worker:
        await receiver.got(8)
        await delete_webhook(stage.store, stage.client, webhook.id)
        await until(lambda: not lanes(worker) & {webhook.id} or stopping(worker, webhook.id))
        go.set()
        await stage.notices(other, 3)
        await stage.final(other, 3)
        await until(lambda: lanes(worker) == {other.id})
    assert len(receiver.seen) == 11 and not await stage.left(webhook)


async def test_secret_that_is_rotated_signs_at_once_and_the_one_before_too(
    stage: Stage, receiver: WebhookServer
) -> None:
    webhook = await stage.webhook(receiver)
    async with stage.sending():
        await stage.notices(webhook, 1)
        await receiver.got(1)
        before, receiver.secret = receiver.secret, ""
        after = await rotate_secret(stage.store, stage.client, webhook.id)
        stored = await read_secret(stage.store, webhook.id)
        assert stored is not None and stored.previous == before
        while True:
            count = len(receiver.seen)
            await stage.notices(webhook, 1)
            request = (await receiver.got(count + 1))[-1]
            signatures = request.headers["webhook-signature"].split(" ")
            if len(signatures) == 2:
                break
    assert after.secret != before and {one.partition(",")[0] for one in signatures} == {"v1"}


async def test_secret_that_is_rotated_while_the_webhook_is_taken_signs(
    stage: Stage, receiver: WebhookServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    noticed = asyncio.Event()

    async def take(store: Store, webhook_id: str, **owner: Any) -> Taken | None:
        taken = await notices.take(store, webhook_id, **owner)
        await rotate_secret(stage.store, stage.client, webhook_id)
        await noticed.wait()
        return taken

    async def follow_secrets(
        store: Store, changed: Callable[[str, WebhookSecret], None]
    ) -> NoReturn:
        def noting(webhook_id: str, secret: WebhookSecret) -> None:
            changed(webhook_id, secret)
            if secret.previous:
                noticed.set()

        await secrets.follow_secrets(store, noting)

    monkeypatch.setattr(sender, "take", take)
    monkeypatch.setattr(sender, "follow_secrets", follow_secrets)
    webhook = await stage.webhook(receiver)
    async with stage.sending():
        await stage.notices(webhook, 1)
        [request] = await receiver.got(1)
    assert len(request.headers["webhook-signature"].split(" ")) == 2


async def test_secret_that_can_not_be_read_fails_its_events_and_ends_no_worker(
    stage: Stage, receiver: WebhookServer
) -> None:
    webhook, other = await stage.webhook(receiver.url), await stage.webhook(receiver.url)
    key = stage.keys.webhook_secret(webhook.id)
    await stage.store.client.put(key, b"by hand")
    await stage.notices(webhook, 1)
    async with stage.sending():
        kept = await stage.final(webhook, 1)
        await stage.notices(other, 1)
        await stage.final(other, 1)
    errors = [one.last.error for one in kept.values() if one.last]
    assert errors and (errors[0] or "").startswith("the secret can't sign")


async def test_webhook_that_is_off_gives_up_what_waits_and_replays_it_when_asked(
    stage: Stage, receiver: WebhookServer
) -> None:
    webhook = await stage.webhook(receiver)
    ids = await stage.notices(webhook, 150)
    await change_webhook(
        stage.store, stage.client, webhook.id, lambda one: replace(one, enabled=False)
    )
    async with stage.sending():
        kept = await stage.final(webhook, 150)
        assert {one.state for one in kept.values()} == {"failed"} and not receiver.seen
        await change_webhook(
            stage.store, stage.client, webhook.id, lambda one: replace(one, enabled=True)
        )
        assert len(await replay_ids(stage.store, webhook.id, ids[:3])) == 3
        await receiver.got(3)
    assert sorted(receiver.ids) == sorted(ids[:3])


async def test_email_with_a_webhook_sends_its_events_in_the_order_of_its_log(
    stage: Stage, receiver: WebhookServer
) -> None:
    await stage.webhook(receiver)
    async with stage.sending():
        email, body = stage.rig.email("ann@example.org", "hard@example.org")
        email = replace(email, client_id=stage.client)
        await accept(stage.store, stage.client, prepare(stage.store, email, body))
        await stage.rig.ended(email.id)
        seen = await receiver.got(3)
    types = [request.event["type"] for request in seen]
    assert types[0] == "accepted" and sorted(types[1:]) == ["bounced", "delivered"]
    sequences = [request.event["data"]["sequence"] for request in seen]
    assert sequences == sorted(sequences) and {one.event["data"]["email_id"] for one in seen} == {
        email.id
    }


async def until(holds: Callable[[], bool], within: float = PATIENCE) -> None:
    """Waits until it holds. Nothing signals what a sender has in memory."""
    async with asyncio.timeout(within):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def lanes(worker: Worker) -> set[str]:
    return set(sender_of(worker).lanes)


def stopping(worker: Worker, webhook_id: str) -> bool:
    return sender_of(worker).lanes[webhook_id].stopping


def live(*workers: Worker) -> bool:
    return all(worker.membership.workers == len(workers) for worker in workers)


def sender_of(worker: Worker) -> Sender:
    return next(part for part in worker._consumers if isinstance(part, Sender))
