"""The notices of one webhook: what it gets, and what becomes of them."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from msgspec.structs import replace

from babygun import __version__
from babygun.intake.ids import new_email_id
from babygun.store import codec
from babygun.store.keys import NoticeRef
from babygun.store.webhooks.change import change_webhook, list_webhooks
from babygun.store.webhooks.records import ClientWebhooks, Webhook, WebhookHealth
from babygun.webhooks.backlog import MOST
from tests.support.webhook_server import Answer, Request, WebhookServer, ok, webhook_server
from tests.webhooks.stage import Stage


def answering(*statuses: int, then: int = 200, **headers: str) -> Answer:
    """Answers with these statuses, in turn."""
    left = list(statuses)

    async def answer(request: Request) -> web.Response:
        return web.Response(status=left.pop(0) if left else then, text="so", headers=headers)

    return answer


async def test_notice_is_sent_signed_and_its_result_is_kept(
    stage: Stage, receiver: WebhookServer
) -> None:
    webhook = await stage.webhook(receiver)
    [event_id] = await stage.notices(webhook, 1)
    async with stage.sending():
        [request] = await receiver.got(1)
        kept = (await stage.final(webhook, 1))[event_id]
    assert request.event_id == event_id == request.event["data"]["event_id"]
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"] == f"babygun/{__version__}"
    assert (kept.state, kept.tries) == ("sent", 1) and kept.last is not None
    assert (kept.last.status_code, kept.last.answer) == (200, "thanks")
    assert not await stage.left(webhook)


async def test_notice_that_becomes_ready_while_the_worker_runs_is_sent_at_once(
    stage: Stage, receiver: WebhookServer
) -> None:
    async with stage.sending():
        webhook = await stage.webhook(receiver)
        for _ in range(3):
            ids = await stage.notices(webhook, 2)
            await receiver.until(lambda ids=ids: set(ids) <= set(receiver.ids))  # type: ignore[misc]
        await stage.final(webhook, 6)


async def test_notices_of_one_email_come_in_the_order_of_its_log(
    stage: Stage, receiver: WebhookServer
) -> None:
    async def slow(request: Request) -> web.Response:
        await asyncio.sleep(0.005)
        return await ok(request)

    receiver.answer = slow
    webhook = await stage.webhook(receiver)
    ids = await stage.notices(webhook, 40, of=5)
    async with stage.sending():
        await receiver.got(200)
        await stage.final(webhook, 200)
    assert sorted(receiver.ids) == sorted(ids)
    for email_id in {event_id[:36] for event_id in ids}:
        got = [event_id for event_id in receiver.ids if event_id.startswith(email_id)]
        assert got == sorted(got)
    assert 1 < receiver.most <= 8


async def test_large_event_is_sent_whole(stage: Stage, receiver: WebhookServer) -> None:
    webhook = await stage.webhook(receiver)
    await stage.notices(webhook, 1, subject="é" * 300_000)
    async with stage.sending():
        [request] = await receiver.got(1)
    assert request.event["data"]["subject"] == "é" * 300_000


async def test_try_that_fails_is_made_again_after_its_interval_under_the_same_id(
    stage: Stage, receiver: WebhookServer
) -> None:
    receiver.answer = answering(500, 503)
    webhook = await stage.webhook(receiver)
    [event_id] = await stage.notices(webhook, 1)
    async with stage.sending():
        await receiver.got(3)
        kept = (await stage.final(webhook, 1))[event_id]
    assert receiver.ids == [event_id] * 3
    assert (kept.state, kept.tries) == ("sent", 3)


async def test_notice_whose_tries_are_used_up_has_failed(
    stage: Stage, receiver: WebhookServer
) -> None:
    receiver.answer = answering(then=400)
    webhook = await stage.webhook(receiver)
    [event_id] = await stage.notices(webhook, 1)
    async with stage.sending():
        kept = (await stage.final(webhook, 1))[event_id]
        health = await stage.health(webhook, lambda one: one.failing_since is not None)
    assert (kept.state, kept.tries) == ("failed", 3) and kept.last is not None
    assert (kept.last.status_code, kept.last.answer) == (400, "so")
    assert health.last_error == "the endpoint answered 400" and len(receiver.seen) == 3


async def test_redirect_is_not_followed(stage: Stage, receiver: WebhookServer) -> None:
    receiver.answer = answering(302, Location=receiver.url + "/else")
    webhook = await stage.webhook(receiver)
    [event_id] = await stage.notices(webhook, 1)
    async with stage.sending():
        kept = (await stage.final(webhook, 1))[event_id]
    assert kept.tries == 2 and receiver.ids == [event_id] * 2


async def test_endpoint_that_asks_for_a_pause_gets_nothing_meanwhile(
    stage: Stage, receiver: WebhookServer
) -> None:
    asked = asyncio.get_running_loop().time()
    receiver.answer = answering(429, **{"Retry-After": "1"})
    webhook = await stage.webhook(receiver)
    await stage.notices(webhook, 3)
    async with stage.sending(webhook_connections=1):
        await stage.final(webhook, 3)
    assert len(receiver.seen) == 4
    assert asyncio.get_running_loop().time() - asked >= 1, "the endpoint said so"


async def test_endpoint_that_is_gone_disables_its_webhook_and_the_rest_has_failed(
    stage: Stage, receiver: WebhookServer
) -> None:
    receiver.answer = answering(then=410)
    webhook = await stage.webhook(receiver)
    await stage.notices(webhook, 150)
    async with stage.sending(webhook_connections=1):
        kept = await stage.final(webhook, 150)
        off = await disabled(stage, webhook)
    assert off.disabled is not None and off.disabled.reason == "the endpoint answered 410 Gone"
    assert {one.state for one in kept.values()} == {"failed"}
    errors = [one.last.error for one in kept.values() if one.last]
    assert "the webhook is disabled" in errors


@pytest.mark.parametrize("heard", [False, True])
async def test_old_url_that_answers_gone_after_a_change_disables_nothing_and_loses_no_event(
    stage: Stage, receiver: WebhookServer, heard: bool
) -> None:
    go_on = asyncio.Event()

    async def gone(request: Request) -> web.Response:
        if request is not receiver.seen[0]:  # the worker has not heard of the change yet
            return web.Response(status=500)
        await go_on.wait()
        return web.Response(status=410)

    receiver.answer = gone
    webhook = await stage.webhook(receiver)
    async with (
        webhook_server() as new,
        stage.sending(webhook_retry_intervals=(0.1,) * 50),
    ):
        await stage.notices(webhook, 1)
        [request] = await receiver.got(1)
        await change_webhook(
            stage.store, stage.client, webhook.id, lambda one: replace(one, url=new.url)
        )
        if heard:
            [other] = await stage.notices(webhook, 1)
            await new.until(lambda: other in new.ids)
        go_on.set()
        await new.until(lambda: request.event_id in new.ids)
        kept = await stage.final(webhook, 1 + heard)
    assert {one.state for one in kept.values()} == {"sent"}
    [now] = await list_webhooks(stage.store, stage.client)
    assert now.enabled


async def test_old_url_that_asks_for_a_pause_holds_up_the_new_one_no_more(
    stage: Stage, receiver: WebhookServer
) -> None:
    go_on = asyncio.Event()

    async def busy(request: Request) -> web.Response:
        if request is not receiver.seen[0]:  # the worker has not heard of the change yet
            return web.Response(status=500)
        await go_on.wait()
        return web.Response(status=503, headers={"Retry-After": "3600"})

    receiver.answer = busy
    webhook = await stage.webhook(receiver)
    async with webhook_server() as new, stage.sending(webhook_retry_intervals=(0.1,) * 50):
        [first] = await stage.notices(webhook, 1)
        await receiver.got(1)
        await change_webhook(
            stage.store, stage.client, webhook.id, lambda one: replace(one, url=new.url)
        )
        [other] = await stage.notices(webhook, 1)
        await new.until(lambda: other in new.ids)
        go_on.set()
        await stage.rig.counted(stage.keys.webhook_due_notices(webhook.id), 1)
        await stage.notices(webhook, 1)
        await new.got(2)
    assert first not in new.ids


async def test_older_event_that_is_replayed_as_its_webhook_is_switched_on_is_sent(
    stage: Stage, receiver: WebhookServer
) -> None:
    """Its notices were read in pages, and the next read would go on behind it."""
    receiver.answer = answering(then=500)
    webhook = await stage.webhook(receiver)
    older = f"{new_email_id()}-0000-delivered"
    await stage.notices(webhook, MOST + 10)

    async def switch(enabled: bool) -> None:
        await change_webhook(
            stage.store, stage.client, webhook.id, lambda one: replace(one, enabled=enabled)
        )

    async with stage.sending():
        await receiver.got(1)
        await switch(False)
        await stage.final(webhook, MOST + 10)
        receiver.answer = ok
        await switch(True)
        key = stage.keys.notice(NoticeRef(webhook.id, older))
        await stage.store.client.put(key, stage.value(older))
        await receiver.until(lambda: older in receiver.ids)


async def test_webhook_that_fails_for_too_long_is_disabled(
    stage: Stage, receiver: WebhookServer
) -> None:
    receiver.answer = answering(then=500)
    webhook = await stage.webhook(receiver)
    await stage.notices(webhook, 3)
    async with stage.sending(webhook_disable_after=1.0, webhook_retry_intervals=(0.2,) * 50):
        off = await disabled(stage, webhook)
        kept = await stage.final(webhook, 3)
    assert off.disabled is not None and "no request was answered" in off.disabled.reason
    assert {one.state for one in kept.values()} == {"failed"}


async def test_endpoint_that_only_fails_gets_one_request_at_a_time(
    stage: Stage, receiver: WebhookServer
) -> None:
    webhook = await stage.webhook(receiver)

    async def refuse(request: Request) -> web.Response:
        await asyncio.sleep(0)
        if len(receiver.seen) == 20:
            receiver.most = receiver.now
        return web.Response(status=500)

    receiver.answer = refuse
    await stage.notices(webhook, 60)
    async with stage.sending():
        await receiver.got(40)
        assert receiver.most == 1
        receiver.answer = ok
        await stage.final(webhook, 60)


async def test_endpoint_that_closes_each_connection_gets_all_the_same(
    stage: Stage, receiver: WebhookServer
) -> None:
    receiver.answer = answering(Connection="close")
    webhook = await stage.webhook(receiver)
    await stage.notices(webhook, 30)
    async with stage.sending():
        kept = await stage.final(webhook, 30)
    assert {one.tries for one in kept.values()} == {1} and len(receiver.seen) == 30


async def test_hanging_endpoint_holds_up_no_other(stage: Stage, receiver: WebhookServer) -> None:
    go = asyncio.Event()

    async def hang(request: Request) -> web.Response:
        if request.event["data"].get("hang"):
            await go.wait()
        return await ok(request)

    receiver.answer = hang
    hanging = await stage.webhook(receiver.url)
    quick = await stage.webhook(receiver.url)
    await stage.notices(hanging, 50, hang=True)
    await stage.notices(quick, 50)
    async with stage.sending():
        await stage.final(quick, 50)
        await receiver.until(lambda: receiver.now >= 8)
        await stage.notices(quick, 1)  # while it is sent, more would come
        await stage.final(quick, 51)
        assert receiver.now == 8, "so many connections to one webhook"
        go.set()
        await stage.final(hanging, 50)


async def test_endpoint_that_does_not_answer_in_time_is_tried_again(
    stage: Stage, receiver: WebhookServer
) -> None:
    async def hang_once(request: Request) -> web.Response:
        if len(receiver.seen) == 1:
            await asyncio.sleep(60)
        return await ok(request)

    receiver.answer = hang_once
    webhook = await stage.webhook(receiver)
    [event_id] = await stage.notices(webhook, 1)
    async with stage.sending(webhook_timeout=0.3, webhook_retry_intervals=(0.1,) * 20):
        await stage.health(webhook, lambda one: one.last_error == "no answer within 0.3 s")
        kept = (await stage.final(webhook, 1))[event_id]
    assert kept.state == "sent" and kept.tries >= 2


async def test_backlog_of_any_length_is_sent_whole_and_known_in_part(
    stage: Stage, receiver: WebhookServer
) -> None:
    webhook = await stage.webhook(receiver)
    ids = await stage.notices(webhook, 1500, of=2)
    async with stage.sending() as worker:
        del worker
        await stage.final(webhook, 3000, within=100)
    assert sorted(receiver.ids) == sorted(ids)


async def test_changed_url_is_used_from_then_on(stage: Stage, receiver: WebhookServer) -> None:
    webhook = await stage.webhook(receiver)
    async with stage.sending():
        await stage.notices(webhook, 3)
        await receiver.got(3)
        url = receiver.url + "/other?x=1"
        await change_webhook(stage.store, stage.client, webhook.id, lambda w: replace(w, url=url))
        await stage.notices(webhook, 3)
        await stage.final(webhook, 6)


@pytest.mark.parametrize(
    "url",
    [
        f"https://{'a' * 64}.example/",
        f"https://{'a.' * 130}example/",
        "https://a..example/",
        "https://-/",
        "https://nobody.invalid/",
        "http://[::1]:1/",
    ],
)
async def test_url_that_leads_nowhere_fails_its_events_and_ends_no_worker(
    stage: Stage, receiver: WebhookServer, url: str
) -> None:
    nowhere, other = await stage.webhook(url), await stage.webhook(receiver.url)
    await stage.notices(nowhere, 1)
    async with stage.sending(webhook_timeout=0.5, resolvers=("127.0.0.1@1",)):
        kept = await stage.final(nowhere, 1)
        await stage.notices(other, 1)
        await stage.final(other, 1)
    assert {one.state for one in kept.values()} == {"failed"}


async def disabled(stage: Stage, webhook: Webhook) -> Webhook:
    """The webhook, once it is off."""

    def pick(value: bytes) -> Webhook | None:
        found = codec.decode_state(value, ClientWebhooks).get(webhook.id)
        return found if found is not None and not found.enabled else None

    found: Webhook = await stage.rig.seen(stage.keys.webhooks, pick)
    return found


async def test_pause_that_an_endpoint_asks_for_is_not_cut_short_by_another_failure(
    stage: Stage, receiver: WebhookServer
) -> None:
    asked = asyncio.Event()
    statuses = [429, 500]

    async def answer(request: Request) -> web.Response:
        status = statuses.pop(0) if statuses else 200
        if status == 429:
            asyncio.get_running_loop().call_later(0.05, asked.set)
            return web.Response(status=429, headers={"Retry-After": "1"})
        if status == 500:
            await asked.wait()
        return web.Response(status=status)

    receiver.answer = answer
    webhook = await stage.webhook(receiver)
    await stage.notices(webhook, 3)
    began = asyncio.get_running_loop().time()
    async with stage.sending(webhook_connections=2, webhook_retry_intervals=(0.01,) * 5):
        await receiver.got(3)
        assert asyncio.get_running_loop().time() - began >= 1, "the endpoint said so"
        await stage.final(webhook, 3)


async def test_try_that_fails_while_its_webhook_is_switched_off_leaves_nothing_that_waits(
    stage: Stage, receiver: WebhookServer
) -> None:
    go_on = asyncio.Event()

    async def answer(request: Request) -> web.Response:
        await go_on.wait()
        return web.Response(status=500)

    receiver.answer = answer
    webhook = await stage.webhook(receiver)
    [event_id] = await stage.notices(webhook, 1)
    async with stage.sending():
        await receiver.got(1)
        await change_webhook(
            stage.store, stage.client, webhook.id, lambda one: replace(one, enabled=False)
        )
        await stage.final(webhook, 1)
        go_on.set()

        def tried(value: bytes) -> bool | None:
            return codec.decode_state(value, WebhookHealth).failed == 1 or None

        await stage.rig.seen(stage.keys.webhook_health(webhook.id), tried)
        assert not await stage.left(webhook)
    assert (await stage.final(webhook, 1))[event_id].was_given_up
