"""Steps of the tests here: a worker's lease, its claim, a result."""

from __future__ import annotations

from babygun.email.tries import QueueResult, RecipientResult
from babygun.store.emails.claims import Claim, claim
from babygun.store.emails.finish import PendingResult
from babygun.store.keys import JobRef
from tests.support.rig import Rig

OK = RecipientResult("deliver", "delivered", 250)
SOFT = RecipientResult("retry", "temporary", 451)
HELD = RecipientResult("hold", "authentication", 535)
HARD = RecipientResult("fail", "bad_mailbox", 550)


async def lease(rig: Rig) -> int:
    return await rig.store.client.grant(600)


async def claimed(
    rig: Rig, email_id: str, worker_id: str = "w1", lease_id: int | None = None, queue: str = "main"
) -> Claim:
    got = await claim(
        rig.store,
        JobRef(email_id, queue),
        worker_id=worker_id,
        lease_id=lease_id or await lease(rig),
    )
    assert got is not None
    return got


def pending(got: Claim, outcome: RecipientResult, worker_id: str = "w1") -> PendingResult:
    return PendingResult(
        got,
        QueueResult(
            got.ref.queue,
            worker_id,
            got.claimed_at,
            {r.email: outcome for r in got.email.recipients if r.queue == got.ref.queue},
        ),
    )
