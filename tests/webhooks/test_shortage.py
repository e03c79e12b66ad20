"""Notices that wait do not fill etcd: the oldest ones fail, and every client is accepted again."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from aiohttp import web

from babygun.intake.quota_guard import QuotaGuard
from babygun.store import codec
from babygun.store.keys import NoticeRef
from babygun.store.upkeep import compaction, fullness, make_room, shedding, waiting_notices
from babygun.store.webhooks.change import create_webhook
from babygun.store.webhooks.listing import list_notices
from babygun.store.webhooks.records import SHORT_OF_ROOM, Webhook
from babygun.webhooks.sender import Sender
from babygun.worker import Worker, duties
from tests.store.webhooks.steps import with_client
from tests.support.etcd_server import EtcdServer
from tests.support.processes import PATIENCE
from tests.support.rig import Rig, changed, rig_for
from tests.support.scraping import scraped
from tests.support.webhook_server import Request, WebhookServer
from tests.webhooks.stage import Stage

QUOTA = 24 << 20
CLOSED = "http://127.0.0.1:1/hook"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room is made within a second, in small parts."""
    for module, name, value in (
        (duties, "_UPKEEP_INTERVAL", 0.1),
        (fullness, "_SPAN", 0.3),
        (compaction, "HISTORY", 0.3),
        (compaction, "SHORT_HISTORY", 0.2),
        (compaction, "_LEAST", 1 << 20),
        (shedding, "_FILLING", timedelta(seconds=0.1)),
        (waiting_notices, "_LOOK_AGAIN", 0.0),
        (waiting_notices, "_COMING", 1.0),
        (make_room, "_FIRST", 0.1),
        (make_room, "_AGAIN", 0.5),
        (make_room, "_WAIT", 0.1),
    ):
        monkeypatch.setattr(module, name, value)


@asynccontextmanager
async def small(rig: Rig) -> AsyncIterator[Rig]:
    """A worker that sends mail and events, on a small etcd of its own."""
    with EtcdServer(f"--quota-backend-bytes={QUOTA}", fsync=False) as server:
        settings = changed(
            rig.settings,
            etcd_endpoints=(server.endpoint,),
            etcd_quota=QUOTA,
            webhook_retry_intervals=(3600.0,) * 3,
        )
        async with rig_for(settings) as own:
            worker = Worker(settings, [Sender])
            task = asyncio.create_task(worker.run(), name="worker")
            try:
                yield own
            finally:
                worker.stop()
                await asyncio.wait_for(task, PATIENCE)


async def flood(rig: Rig, webhook: Webhook, guard: QuotaGuard) -> None:
    """Events that wait, and then e-mails of the client until the API would refuse them.

    All keys are small: a compaction writes the pages of 2,000 keys again, before it frees the old.
    """
    stage, size = Stage(rig), fullness.Fullness(rig.store.client, QUOTA)
    while (await size.measure()).in_use < 0.8 * QUOTA:
        await stage.notices(webhook, 1000, text=secrets.token_hex(200))
    while True:
        await guard.measure()
        if guard.full:
            return
        await asyncio.gather(
            *(rig.send(f"r{n}@example.org", subject=secrets.token_hex(100)) for n in range(50))
        )
        await rig.emptied(rig.store.keys.jobs)


async def accepted_again(rig: Rig, guard: QuotaGuard) -> None:
    """Waits until new e-mails are accepted."""
    async with asyncio.timeout(PATIENCE):
        while guard.full:
            await asyncio.sleep(0.05)
            await rig.store.client.put(b"/beat", b"")  # etcd counts its free pages then
            await guard.measure()


async def hooked(rig: Rig, url: str) -> Webhook:
    await with_client(rig.store)
    webhook, _ = await create_webhook(rig.store, "client", url=url)
    return webhook


@pytest.mark.timeout(300)  # a busy machine takes a minute
async def test_webhook_that_is_down_keeps_no_client_from_sending(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "babygun.store")
    before = scraped("worker")
    async with small(rig) as own:
        webhook, guard = await hooked(own, CLOSED), QuotaGuard(own.store)
        for _ in range(2):
            await flood(own, webhook, guard)
            await accepted_again(own, guard)
        assert [email.status for email in await own.ended(await own.send("bob@example.org"))]
        given_up = scraped("worker").since(before, "babygun_shed_total", kind="waiting")
        said = [record for record in caplog.records if record.message == "notices given up"]
        assert given_up == sum(record.fields["count"] for record in said) > 0  # type: ignore[attr-defined]
        assert {record.fields["webhook_id"] for record in said} == {webhook.id}  # type: ignore[attr-defined]
        assert not await own.store.client.alarms()


@pytest.mark.timeout(300)  # a busy machine takes a minute
async def test_webhook_that_is_slow_keeps_no_client_from_sending(
    rig: Rig, receiver: WebhookServer
) -> None:
    answers = asyncio.Event()

    async def late(request: Request) -> web.Response:
        await answers.wait()
        return web.Response()

    receiver.answer = late
    async with small(rig) as own:
        webhook, guard = await hooked(own, receiver.url), QuotaGuard(own.store)
        await flood(own, webhook, guard)
        await accepted_again(own, guard)
        answers.set()
        # What was under way when it was given up has its own result, until that is shed.
        keys, first = own.store.keys, NoticeRef(webhook.id, receiver.seen[0].event_id)
        await own.emptied(keys.notice(first))
        async with asyncio.timeout(PATIENCE):
            while found := await own.store.client.get(keys.sent_notice(first)):
                if codec.decode_notice(found.value).state == "sent":
                    break
                await asyncio.sleep(0.05)


async def test_notice_that_is_given_up_says_why_and_can_be_replayed(rig: Rig) -> None:
    """No test of a whole flood: there it may be shed at any moment."""
    store = rig.store
    webhook = await hooked(rig, CLOSED)
    await rig.send("ann@example.org")
    size = fullness.Fullness(store.client, 1000)
    size.add(fullness.Size(1.0, 900, 900, 1))
    freed = compaction.Compaction(store.client, size, store.keys.cluster)
    waiting = waiting_notices.WaitingNotices(store, size, freed)
    assert await waiting.give_up(1000, 0.9) > 0 and waiting.count == 1
    [delivery] = (await list_notices(store, webhook.id, state="failed", limit=9, cursor=None))[0]
    assert delivery.notice.last is not None
    assert delivery.notice.last.error == SHORT_OF_ROOM
