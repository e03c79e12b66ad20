"""The webhooks that a process knows: followed, and learnt by refusals."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec.structs import replace

from babygun.runtime.tasks import cancel_all
from babygun.store.webhooks.change import change_webhook, delete_webhook
from babygun.store.webhooks.known import KnownWebhooks
from tests.store.webhooks.steps import new_webhook
from tests.support.processes import PATIENCE
from tests.support.rig import Rig


class Following:
    """Known webhooks with their changes."""

    def __init__(self, known: KnownWebhooks) -> None:
        self.known, self._changed = known, asyncio.Event()
        known.on_change.append(lambda client_id: self._changed.set())

    async def until(self, *urls: str) -> None:
        """Waits until the known webhooks have these URLs."""
        async with asyncio.timeout(PATIENCE):
            while sorted(webhook.url for _, webhook in self.known.all()) != sorted(urls):
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def _following(rig: Rig) -> AsyncIterator[Following]:
    known = KnownWebhooks(rig.store.client, rig.store.keys)
    following = Following(known)
    task = asyncio.create_task(known.run())
    try:
        yield following
    finally:
        await cancel_all(task)


async def test_known_webhooks_follow_what_is_made_changed_and_deleted(rig: Rig) -> None:
    before = await new_webhook(rig.store, "shop")
    async with _following(rig) as following:
        known = following.known
        await following.until(before.url)
        assert known.get(before.id) == ("shop", before)
        after = await new_webhook(rig.store)
        await following.until(before.url, after.url)
        assert known.of("client").webhooks and known.of("client").revision
        await change_webhook(rig.store, "client", after.id, lambda w: replace(w, url="https://b"))
        await following.until(before.url, "https://b")
        await delete_webhook(rig.store, "client", after.id)
        await following.until(before.url)
        assert known.of("client") == (None, 0) and known.get(after.id) is None


async def test_key_that_can_not_be_read_counts_as_no_webhooks_and_holds_up_no_mail(
    rig: Rig,
) -> None:
    await rig.store.client.put(rig.store.keys.client_webhooks("client"), b"by hand")
    await rig.send("ann@example.org")
    known = rig.store.webhooks.of("client")
    assert known.webhooks is None and known.revision


async def test_older_state_of_the_watch_does_not_replace_what_was_read(rig: Rig) -> None:
    webhook = await new_webhook(rig.store)
    known = KnownWebhooks(rig.store.client, rig.store.keys)
    nothing = known.of("client")
    assert await known.read_again("client", nothing)
    newer = known.of("client")
    assert newer.webhooks and newer.webhooks.get(webhook.id) == webhook
    assert not await known.read_again("client", newer)
    # A read that was decided by what was known before, and comes late, teaches nothing.
    assert await known.read_again("client", nothing)
    assert known.of("client") is newer
