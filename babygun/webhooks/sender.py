"""Sends the notices of the webhooks in a worker's slice: a lane for each, as long as it owns it.

membership ─slice─▶ webhooks of it ─take─▶ lanes ◀─arrivals─ watch of the slice

A slice only keeps workers out of each other's way. The owner key decides who sends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from babygun.consumer.membership import Membership
from babygun.consumer.side_tasks import SideTasks
from babygun.consumer.slices import NOTHING, Slice
from babygun.errors import EtcdError
from babygun.runtime import metrics
from babygun.runtime.logs import get_logger
from babygun.store import Store
from babygun.store.cluster.checkin import Identity
from babygun.store.webhooks.notices import (
    StoredNotice,
    follow_ready,
    give_back,
    owned_webhooks,
    take,
)
from babygun.store.webhooks.records import Webhook, WebhookSecret
from babygun.store.webhooks.secrets import follow_secrets
from babygun.webhooks.cpu_share import CpuShare, CpuWatch
from babygun.webhooks.lane import Lane
from babygun.webhooks.shared import Shared

log = get_logger("webhooks")

LOOK = 0.2  # s, between two looks at all lanes
_TAKE_AGAIN = 0.5  # s, until webhooks that another worker had are tried again
_AT_ONCE = 100  # webhooks that are taken together
_SHOW = 2.0  # s, between two looks at the metrics


class Sender:
    """A consumer (:mod:`babygun.consumer.consumer`): the worker runs it beside its mail."""

    def __init__(
        self, store: Store, membership: Membership, is_sending: Callable[[], bool]
    ) -> None:
        self._store, self._membership = store, membership
        self._shared = Shared(store, CpuShare(is_sending, CpuWatch().is_short), self._may_send)
        self._side = SideTasks(lambda: None)
        self._slice = NOTHING
        self._identity: Identity | None = None  # under which the lanes are owned
        self._wanted: dict[str, tuple[str, Webhook]] = {}  # of the slice, with their clients
        # Of webhooks that are being taken: a secret that changed after it was read.
        self._changed_secrets: dict[str, WebhookSecret] = {}
        self._changed = True
        self._stopping = False
        self._take_at = self._shown_at = 0.0
        self.lanes: dict[str, Lane] = {}
        store.webhooks.on_change.append(self._webhooks_changed)

    # --- the consumer ---

    def follow(self, part: Slice) -> None:
        """The worker's slice is now this one."""
        self._slice, self._changed = part, True
        self._side.cancel("notices")
        if not part.empty and not self._stopping:
            self._side.start("notices", self._watch(part))

    async def run(self) -> None:
        """Sends until cancelled. Raises the error of a part that crashed."""
        self._side.start("secrets", follow_secrets(self._store, self._secret_changed))
        while not self._stopping and self._side.failure is None:
            await self._look()
            await asyncio.sleep(LOOK)
        if self._side.failure is not None:
            raise self._side.failure

    def stop(self) -> None:
        """Starts no more tries."""
        self._stopping = True
        for name in ("notices", "take", "secrets"):
            self._side.cancel(name)
        for lane in self.lanes.values():
            lane.stop()

    async def drain(self) -> None:
        """Waits for requests under way, and until their results are written."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._store.settings.drain_timeout):
                await asyncio.gather(*(lane.quiet.wait() for lane in self.lanes.values()))

    async def close(self) -> None:
        """Ends what still runs. The lease's end gives the webhooks back."""
        await asyncio.gather(self._side.close(), *(lane.close() for lane in self.lanes.values()))
        self.lanes.clear()

    # --- what changes ---

    def _may_send(self) -> bool:
        identity = self._identity
        return identity is not None and identity is self._membership.identity and identity.trusted

    def _webhooks_changed(self, client_id: str) -> None:
        self._changed = True

    def _secret_changed(self, webhook_id: str, secret: WebhookSecret) -> None:
        if lane := self.lanes.get(webhook_id):
            lane.change_secret(secret)
        elif "take" in self._side:
            self._changed_secrets[webhook_id] = secret

    async def _watch(self, part: Slice) -> None:
        """Follows what becomes ready. Each lane reads by itself what is there."""

        async def read() -> int:
            start = self._store.keys.notices
            found = await self._store.client.range(start, start + b"\0", keys_only=True)
            for lane in self.lanes.values():
                lane.read_again()
            return found.revision

        def arrived(webhook_id: str, stored: StoredNotice) -> None:
            if lane := self.lanes.get(webhook_id):
                lane.arrived(stored)

        await follow_ready(self._store, *part, read=read, arrived=arrived)

    # --- ownership ---

    async def _look(self) -> None:
        """Does what is due: in all lanes, and about which there are."""
        await self._shared.set_clock()
        identity = self._membership.identity
        if identity is not self._identity:
            await self._drop(list(self.lanes))
            self._identity, self._changed = identity, True
        if self._changed:
            self._changed = False
            self._choose()
        await self._drop([webhook_id for webhook_id, lane in self.lanes.items() if lane.lost])
        missing = self._wanted.keys() - self.lanes.keys()
        now = time.monotonic()
        if missing and now >= self._take_at and self._may_send() and "take" not in self._side:
            self._side.start("take", self._take(missing))
        for webhook_id, lane in list(self.lanes.items()):
            if lane.failure is not None:
                raise lane.failure
            if not lane.stopping:
                lane.look()
            elif lane.quiet.is_set():
                await self._leave(webhook_id, lane)
        if now >= self._shown_at + _SHOW:
            self._shown_at = now
            self._show()

    def _choose(self) -> None:
        """Which webhooks are this worker's now."""
        self._wanted = {
            webhook.id: (client_id, webhook)
            for client_id, webhook in self._store.webhooks.all()
            if self._slice.holds(webhook.id)
        }
        for webhook_id, lane in self.lanes.items():
            if webhook_id not in self._wanted:
                lane.stop()
            elif (webhook := self._wanted[webhook_id][1]) != lane.webhook:
                lane.change(webhook)

    async def _take(self, missing: set[str]) -> None:
        """Becomes the owner of those that nobody owns."""
        identity = self._identity
        assert identity is not None
        try:
            free = list(missing - await owned_webhooks(self._store, identity.lease_id))
            for start in range(0, len(free), _AT_ONCE):
                # All of them end here: a webhook that is taken later might get two lanes.
                ended = await asyncio.gather(
                    *(self._take_one(each, identity) for each in free[start : start + _AT_ONCE]),
                    return_exceptions=True,
                )
                for error in filter(None, ended):
                    raise error
        except EtcdError as error:
            log.warning("webhooks not taken", error=str(error))
        self._changed_secrets.clear()
        self._take_at = time.monotonic() + _TAKE_AGAIN

    async def _take_one(self, webhook_id: str, identity: Identity) -> None:
        taken = await take(
            self._store,
            webhook_id,
            worker_id=identity.process_id,
            lease_id=identity.lease_id,
        )
        wanted = self._wanted.get(webhook_id)
        if taken is None or identity is not self._identity:
            return
        if wanted is None or self._stopping:  # by now it is another worker's
            await give_back(self._store, webhook_id, taken.token)
        else:
            lane = self.lanes[webhook_id] = Lane(self._shared, *wanted, taken)
            if secret := self._changed_secrets.get(webhook_id):
                lane.change_secret(secret)

    async def _leave(self, webhook_id: str, lane: Lane) -> None:
        await self._drop([webhook_id])
        try:
            await give_back(self._store, webhook_id, lane.token)
        except EtcdError as error:
            log.warning("webhooks not taken", error=str(error))

    async def _drop(self, webhook_ids: list[str]) -> None:
        for webhook_id in webhook_ids:
            await self.lanes.pop(webhook_id).close()

    # --- metrics ---

    def _show(self) -> None:
        lanes = self.lanes.values()
        failing = sum(lane.health.only_fails for lane in lanes)
        metrics.WEBHOOKS.show({("ok",): len(lanes) - failing, ("failing",): failing})
        metrics.NOTICES_KNOWN.show(sum(lane.backlog.known for lane in lanes))
        late = timedelta(0)
        now = self._shared.now()
        for lane in lanes:
            if (since := lane.ready_since) is not None and not lane.health.only_fails:
                late = max(late, now - since)
        metrics.NOTICES_LATE.show(late.total_seconds())
