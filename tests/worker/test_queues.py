"""An e-mail of several queues: they finish together, defer apart, are cancelled half-way."""

from __future__ import annotations

import asyncio

from babygun.store.emails.on_request import cancel, retry
from tests.support.invariants import check_invariants
from tests.support.rig import Rig
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


async def test_cancel_half_way_stops_the_one_and_lets_the_other_finish(
    two_queues: Rig, smtp: MisbehavingServer, other_smtp: MisbehavingServer
) -> None:
    async with two_queues.worker():
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
        tries = other_smtp.attempts["soft@b.example"]
        email = await retry(two_queues.store, email_id)
        assert email.recipients[1].status == "pending"
        [email] = await two_queues.ended(email_id)
        assert email.status == "failed" and other_smtp.attempts["soft@b.example"] == tries + 3
        assert smtp.attempts["hang@a.example"] == 1, "who got it is not sent to again"
        await check_invariants(two_queues.store)
