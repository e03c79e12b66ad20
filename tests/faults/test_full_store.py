"""A full store: mail that can't be sent fills it up to the bound, or somebody else up to the alarm.

Real processes, e-mails of 200 KB by HTTP, a relay that is down, and a quota scaled down to 32 MiB.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from babygun.etcd.versions import COUNTED_QUOTA
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.upkeep import make_room
from tests.support.etcd_server import EtcdServer, needs_ability
from tests.support.full_store import delete_others, fill_by_others
from tests.support.processes import PATIENCE, Api, api_process, babygun
from tests.support.rig import Rig, quick, rig_for
from tests.support.smtp_server import MisbehavingServer

QUOTA = 32 << 20
SIZE = 200_000
SENDERS = 6
REFUSALS = 60  # that a flood goes on for


class Field:
    """An API process and a worker on a small etcd of their own. The relay is down at first."""

    def __init__(self, rig: Rig, api: Api, relay: MisbehavingServer) -> None:
        self.rig, self.api, self.relay = rig, api, relay
        self.store: Store = rig.store
        self.accepted: dict[str, str] = {}  # ids, by recipient
        self.refused = 0

    async def post(self, recipient: str, size: int = SIZE) -> bool:
        """Sends one e-mail; whether it was accepted. It may be refused by 503 alone."""
        email = {
            "sender": "me@example.com",
            "to": [recipient],
            "subject": "large",
            "body": "x" * size,
        }
        async with self.api.session.post(
            self.api.url + "/emails",
            data=json.dumps(email).encode(),
            headers={"Content-Type": "application/json"},
        ) as answer:
            if answer.status == 202:
                self.accepted[recipient] = (await answer.json())["id"]
                return True
            assert answer.status == 503, await answer.text()
            assert "Retry-After" in answer.headers
            self.refused += 1
            return False

    async def flood(self) -> None:
        """E-mails at full speed, until enough were refused."""

        async def send(sender: int) -> None:
            number = 0
            while self.refused < REFUSALS:
                number += 1
                await self.post(f"to-{sender}-{number}@example.org")

        await asyncio.gather(*(send(sender) for sender in range(SENDERS)))

    async def all_arrive(self) -> None:
        """Every accepted e-mail arrives, once, and none is left."""
        messages = await self.relay.wait_for(len(self.accepted), within=60)
        assert sorted(address for each in messages for address in each.recipients) == sorted(
            self.accepted
        )
        await self.rig.emptied(self.store.keys.jobs)
        await self.rig.emptied(self.store.keys.waiting)


@asynccontextmanager
async def field(settings: Settings) -> AsyncIterator[Field]:
    relay = MisbehavingServer(chunking=True)
    await relay.start()
    await relay.stop()
    with EtcdServer(f"--quota-backend-bytes={QUOTA}", fsync=False) as server:
        own = quick(
            settings,
            {"main": {"url": relay.url, "max_connections": 20}},
            etcd_endpoints=(server.endpoint,),
            etcd_quota=QUOTA,
            retry_intervals=(0.5,) * 200,
        )
        async with (
            rig_for(own) as rig,
            rig.worker(),
            api_process(rig.store, own) as api,
        ):
            try:
                yield Field(rig, api, relay)
            finally:
                with suppress(AssertionError):
                    await relay.stop()


@needs_ability(COUNTED_QUOTA)
async def test_mail_that_cannot_be_sent_never_raises_the_alarm_and_all_of_it_arrives(
    settings: Settings,
) -> None:
    async with field(settings) as stand:
        alarms: list[str] = []

        async def watch() -> None:
            while True:
                alarms.extend(await stand.store.client.alarms())
                await asyncio.sleep(0.05)

        watching = asyncio.create_task(watch())
        await stand.flood()
        assert len(stand.accepted) > 20
        await stand.relay.start()
        await stand.all_arrive()
        watching.cancel()
        assert alarms == []
        await mail_flows(stand)


@needs_ability(COUNTED_QUOTA)
async def test_alarm_from_outside_loses_nothing_and_the_documented_command_relieves_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make_room, "_FIRST", 1000.0)  # the operator is to do it, not the worker
    async with field(settings) as stand:
        await stand.relay.start()
        for number in range(5):  # the one is being sent when the alarm comes, the other waits
            assert await stand.post(f"hang-{number}@example.org")
            stand.relay.rcpt[f"later-{number}@example.org"] = "451 4.3.0 Not now"
            assert await stand.post(f"later-{number}@example.org")
        await stand.relay.hanging.reached(5)
        await fill_by_others(stand.store, 500_000)
        assert not await stand.post("during@example.org")
        stand.relay.release()
        stand.relay.rcpt.clear()
        await stand.relay.wait_for(5)  # their results wait in the worker
        assert await stand.store.client.alarms() == ["NOSPACE"]
        await delete_others(stand.store)
        async with babygun(stand.rig.settings, "doctor", "--make-room") as command:
            assert await command.ended() == 0
            assert "etcd takes writes" in command.said[-1]
        await stand.all_arrive()
        await mail_flows(stand)


async def mail_flows(stand: Field) -> None:
    """New e-mails are accepted and arrive."""
    async with asyncio.timeout(PATIENCE):
        while not await stand.post("after@example.org", 1000):  # noqa: ASYNC110 (the API's state)
            await asyncio.sleep(0.05)
    await stand.relay.wait_for(len(stand.accepted))
