"""What the metrics and the worker's key tell of it: the results of its tries as they are written, and its state whenever somebody scrapes."""

from __future__ import annotations

import time
from collections.abc import Mapping

from babygun.email.events import OUTCOMES
from babygun.email.lifecycle import QueueResult
from babygun.email.model import Email
from babygun.runtime import metrics
from babygun.smtp import SmtpPool
from babygun.worker.counters import Tally
from babygun.worker.membership import Membership
from babygun.worker.ready import ReadyJobs, Slots


def count_result(result: QueueResult, email: Email | None, tally: Tally) -> None:
    """Counts a try's results, by recipient, in the metrics and in ``tally``. ``email``: the record with them; it says what became of each, which its number of tries decides too."""
    counts: dict[tuple[str, str, str], int] = {}
    for r in email.recipients if email is not None else ():
        if (
            r.queue == result.queue
            and r.email in result.results
            and (outcome := OUTCOMES.get(r.status))
        ):
            labels = (r.queue, outcome, r.reply_class or "")
            counts[labels] = counts.get(labels, 0) + 1
    for labels, count in counts.items():
        metrics.RECIPIENTS[labels].inc(count)
        setattr(tally, labels[1], getattr(tally, labels[1]) + count)


def show_state(
    membership: Membership, ready: ReadyJobs, slots: Slots, pools: Mapping[str, SmtpPool]
) -> None:
    """Puts what is now into the metrics."""
    queues = dict.fromkeys((*pools, *ready.queues(), *slots.in_use))
    metrics.JOBS_IN_FLIGHT.show({(queue,): slots.in_use.get(queue, 0) for queue in queues})
    metrics.JOBS_READY.show({(queue,): ready.count(queue) for queue in queues})
    metrics.SMTP_CONNECTIONS.show(
        {
            (queue, state): count
            for queue, pool in pools.items()
            for state, count in (("busy", pool.in_use), ("idle", pool.open - pool.in_use))
        }
    )
    metrics.SMTP_WAITING.show({(queue,): pool.waiting for queue, pool in pools.items()})
    identity = membership.identity
    metrics.LEASE_MARGIN.show(
        max(0.0, identity.trusted_until - time.monotonic())
        if identity is not None and identity.trusted
        else 0.0
    )
    metrics.SLICE_SHARDS.show(membership.slice.end - membership.slice.first)
