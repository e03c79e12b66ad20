"""A destination with too many connections: jobs go back, and its queue pauses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from babygun.email.model import Job
from babygun.routing.sites import site_of_relay
from babygun.runtime.settings import Settings
from babygun.smtp.replies import Reply
from babygun.worker import crowded
from babygun.worker.crowded import CrowdedSites
from babygun.worker.slots import Slots
from tests.support.invariants import check_invariants
from tests.support.processes import PATIENCE, no_more_descriptors
from tests.support.rig import Rig, quick, rig_for
from tests.support.smtp_server import MisbehavingServer

JOB = Job(size=1, recipients=1)
A, B = site_of_relay("a", None), site_of_relay("b", None)
FULL = Reply("greeting", 421, "4.7.0", "Too many connections")


def slots() -> Slots:
    return Slots(total=100, memory=1000, sites=2, limit=lambda site: 20)


async def test_queue_that_is_turned_away_pauses_then_sends_one_then_all() -> None:
    allowed, going = slots(), asyncio.Event()
    queues = CrowdedSites(allowed, lambda queue: going.set())
    queues.turned_away("a", FULL)
    assert allowed.obstacle(A, JOB) == "limit" and allowed.obstacle(B, JOB) is None
    async with asyncio.timeout(PATIENCE):
        await going.wait()
    assert allowed.obstacle(A, JOB) is None
    allowed.start(A, JOB)
    assert allowed.obstacle(A, JOB) == "limit"
    going.clear()
    queues.ended("a")
    assert going.is_set() and allowed.obstacle(A, JOB) is None
    queues.close()


async def test_pauses_grow_until_a_try_had_a_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(crowded, "LEAST", 1.0)
    monkeypatch.setattr(crowded, "MOST", 2.0)
    queues = CrowdedSites(slots(), lambda queue: None)
    loop = asyncio.get_running_loop()
    now = loop.time()
    with monkeypatch.context() as patched:
        patched.setattr(loop, "time", lambda: now)
        for _ in range(3):
            queues.turned_away("a", FULL)
            queues.turned_away("a", FULL)  # of another try, at the same time
            now += 2.0
        queues.ended("a")
        queues.turned_away("a", FULL)
    queues.close()
    pauses = [record.fields["seconds"] for record in caplog.records]  # type: ignore[attr-defined]
    assert pauses == [1.0, 2.0, 2.0, 1.0]


@pytest.fixture
async def three_slots() -> AsyncIterator[MisbehavingServer]:
    async with MisbehavingServer(max_connections=3) as server:
        yield server


async def test_two_workers_share_a_relay_that_allows_three_connections(
    settings: Settings, three_slots: MisbehavingServer
) -> None:
    """Each of them would take all. Nothing expires, and no try is used up."""
    relays = {"main": {"url": three_slots.url, "max_connections": 3}}
    async with rig_for(quick(settings, relays, smtp_connect_timeout=20.0)) as rig:
        async with rig.worker_process(), rig.worker_process():
            for turn in range(2):
                ids = [await rig.send(f"r{turn}-{n}@example.org") for n in range(60)]
                for email in await rig.ended(*ids):
                    assert (email.status, email.tries) == ("complete", 1)
        assert three_slots.max_concurrent <= 3
        assert len(three_slots.messages) == 120
        await check_invariants(rig.store)


async def test_worker_without_descriptors_gives_its_jobs_back_without_a_try(
    rig: Rig, smtp: MisbehavingServer
) -> None:
    released = smtp.hang_once("ann@example.org")
    async with rig.worker_process(smtp_connect_timeout=1.0) as worker:
        first = await rig.send("ann@example.org")
        await smtp.hung.wait()  # else the second one would take this connection
        with no_more_descriptors(worker.pid):
            second = await rig.send("bob@example.org")
            await worker.until("out of resources")
            released.set()
            [email, _] = await rig.ended(second, first)
    assert (email.status, email.tries) == ("complete", 1)
    assert await rig.events(second) == ["accepted", "delivered"]


async def test_job_of_a_relay_that_others_fill_goes_back_without_a_try(
    rig: Rig, smtp: MisbehavingServer, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_connection(smtp.host, smtp.port)
    await reader.readline()
    smtp.max_connections = 1
    async with rig.worker():
        email_id = await rig.send("ann@example.org")
        async with asyncio.timeout(PATIENCE):
            while smtp.refused < 2:  # noqa: ASYNC110 (the server's own count)
                await asyncio.sleep(0.01)
        writer.close()
        [email] = await rig.ended(email_id)
    assert (email.status, email.tries) == ("complete", 1)
    assert await rig.events(email_id) == ["accepted", "delivered"]
    assert "too many connections" in caplog.messages
    await check_invariants(rig.store)
