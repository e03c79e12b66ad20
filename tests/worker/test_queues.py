"""An e-mail of several queues: they finish together, defer apart, are cancelled half-way."""

from __future__ import annotations

import asyncio

import pytest

from babygun.runtime.settings import Settings
from babygun.store.emails.on_request import cancel, retry
from tests.smtp.scripted import Peer, ScriptedServer
from tests.support.invariants import check_invariants
from tests.support.rig import Rig, quick, rig_for
from tests.support.smtp_server import MisbehavingServer


async def test_two_queues_that_finish_at_the_same_moment_both_count(two_queues: Rig) -> None:
    async with two_queues.worker():
        ids = await asyncio.gather(
            *(two_queues.send("x@a.example", "y@b.example") for _ in range(50))
        )
        emails = await two_queues.ended(*ids)
        assert {e.status for e in emails} == {"complete"}
        for email in emails:
            entries = [entry for entry in await two_queues.log(email.id) if entry.attempts]
            assert sorted(a.queue for entry in entries for a in entry.attempts) == ["a", "b"]
        await check_invariants(two_queues.store)


async def test_two_queues_of_two_workers_that_finish_at_the_same_moment_both_count(
    two_queues: Rig,
) -> None:
    """Both workers take jobs of the whole range here, so that they meet in one record."""
    async with two_queues.worker() as one, two_queues.worker() as two:
        for worker in (one, two):
            worker.membership._workers_changed({worker.membership.worker_id}, [])
        ids = await asyncio.gather(
            *(two_queues.send("x@a.example", "y@b.example") for _ in range(100))
        )
        emails = await two_queues.ended(*ids)
        assert {e.status for e in emails} == {"complete"}
        await check_invariants(two_queues.store)


async def test_two_queues_defer_apart_and_each_goes_on_by_itself(
    two_queues: Rig, smtp: MisbehavingServer, other_smtp: MisbehavingServer
) -> None:
    async with two_queues.worker():
        email_id = await two_queues.send("flaky-2@a.example", "ann@b.example", "hard@b.example")
        [email] = await two_queues.ended(email_id)
        assert {queue: (state.tries, state.final) for queue, state in email.queues.items()} == {
            "a": (3, True),
            "b": (1, True),
        }
        assert (
            email.status == "failed"
            and smtp.attempts["flaky-2@a.example"] == 3
            and other_smtp.attempts["ann@b.example"] == 1
        )
        await check_invariants(two_queues.store)


async def test_slow_queue_does_not_hold_up_the_other(
    two_queues: Rig, smtp: MisbehavingServer, other_smtp: MisbehavingServer
) -> None:
    async with two_queues.worker(worker_concurrency=40):
        for _ in range(60):
            await two_queues.send("hang@a.example")
        await smtp.hung.wait()
        ids = [await two_queues.send(f"r{n}@b.example") for n in range(30)]
        assert {e.status for e in await two_queues.ended(*ids)} == {"complete"}
        smtp.release()


@pytest.mark.parametrize(
    "words",
    [b"250-" + b"x" * 60_000, b"250-more\r\n" * 6_000, b"250 ok\r\n" * 6_000, bytes(60_000)],
    ids=["a line", "lines", "replies", "rubbish"],
)
async def test_queue_whose_server_floods_does_not_hold_up_the_other(
    settings: Settings, other_smtp: MisbehavingServer, words: bytes
) -> None:
    flooded: list[int] = []

    async def flood(peer: Peer) -> None:
        await peer.greet()
        await peer.hear("MAIL")
        flooded.append(peer.number)
        while True:
            peer.say(words)
            await peer.writer.drain()

    async with ScriptedServer(flood) as server:
        hostile = {"url": f"smtp://127.0.0.1:{server.port}", "domains": ["a.example"]}
        relays = {"a": hostile, "b": {"url": other_smtp.url}}
        async with rig_for(quick(settings, relays)) as rig, rig.worker():
            bad = [await rig.send(f"r{n}@a.example") for n in range(20)]
            good = [await rig.send(f"r{n}@b.example") for n in range(30)]
            assert {email.status for email in await rig.ended(*good)} == {"complete"}
            assert {email.status for email in await rig.ended(*bad)} == {"failed"}
            assert len(flooded) >= len(bad)
            await check_invariants(rig.store)


async def test_cancel_half_way_stops_the_one_and_lets_the_other_finish(
    two_queues: Rig, smtp: MisbehavingServer, other_smtp: MisbehavingServer
) -> None:
    async with two_queues.worker(retry_intervals=(3600.0, 3600.0)):
        email_id = await two_queues.send("hang@a.example", "soft@b.example")
        await two_queues.logged(email_id, "deferred")
        await smtp.hung.wait()
        email = await cancel(two_queues.store, email_id)
        assert email.status == "incomplete" and email.recipients[1].status == "cancelled"
        await check_invariants(two_queues.store)
        smtp.release()
        [email] = await two_queues.ended(email_id)
        assert (email.status, [r.status for r in email.recipients]) == (
            "cancelled",
            ["delivered", "cancelled"],
        )
        assert await two_queues.events(email_id) == [
            "accepted",
            "deferred",
            "cancelled",
            "delivered",
        ]
    async with two_queues.worker():
        tries = other_smtp.attempts["soft@b.example"]
        email = await retry(two_queues.store, email_id)
        assert email.recipients[1].status == "pending"
        [email] = await two_queues.ended(email_id)
        assert email.status == "failed" and other_smtp.attempts["soft@b.example"] == tries + 3
        assert smtp.attempts["hang@a.example"] == 1, "who got it is not sent to again"
        await check_invariants(two_queues.store)
