"""Tries without a worker: claims a job and writes the results that a test wants."""

from __future__ import annotations

from babygun.email.model import TlsResult
from babygun.email.tries import QueueResult, RecipientResult
from babygun.store import Store
from babygun.store.emails.claims import Claim, claim
from babygun.store.emails.finish import PendingResult, finish
from babygun.store.emails.schedule import make_due
from babygun.store.keys import JobRef, range_end

WORKER = "test-worker-1"
OK = RecipientResult("deliver", "success", 250, "2.0.0", "Ok: queued")
GONE = RecipientResult("fail", "bad_mailbox", 550, "5.1.1", "No such user")
LATER = RecipientResult("retry", "greylisted", 451, "4.7.1", "Try again later")


async def claimed(store: Store, email_id: str, queue: str = "default") -> Claim:
    """Claims the e-mail's job for a worker."""
    lease = await store.client.grant(600)
    found = await claim(store, JobRef(email_id, queue), worker_id=WORKER, lease_id=lease)
    assert found
    return found


async def finished(
    store: Store,
    email_id: str,
    results: dict[str, RecipientResult],
    queue: str = "default",
    tls: TlsResult | None = None,
) -> None:
    """Makes one try with these results, by recipient address. ``tls``: of its connection."""
    held = await claimed(store, email_id, queue)
    result = QueueResult(queue, WORKER, held.claimed_at, results, tls=tls)
    await finish(store, [PendingResult(held, result)])


async def failed_softly(store: Store, email_id: str, queue: str = "default") -> None:
    """Makes one try that fails, then makes the job ready again.

    So the log has an entry with a key of its own.
    """
    await finished(store, email_id, {}, queue)
    await make_due_now(store, email_id, queue)


async def make_due_now(store: Store, email_id: str, queue: str = "default") -> None:
    """Makes a job ready that waits for its time."""
    waiting = store.keys.waiting
    for kv in (await store.client.range(waiting, range_end(waiting))).kvs:
        if store.keys.parse_not_before(kv.key)[1] == JobRef(email_id, queue):
            assert await make_due(store, kv.key, kv.value)
