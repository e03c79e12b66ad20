"""What the metrics and the worker's key tell of it: the results of its tries as they are written, and its state whenever somebody scrapes."""

from __future__ import annotations

import time
from collections.abc import Iterable

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
    membership: Membership,
    known: Iterable[str],
    ready: ReadyJobs,
    slots: Slots,
    pools: Iterable[SmtpPool],
) -> None:
    """Puts the worker's state into the metrics. ``known``: queues that are shown in any case."""
    by_queue = {pool.destination.name: pool for pool in pools}
    queues = dict.fromkeys((*known, *by_queue, *ready.queues(), *slots.in_use))
    metrics.JOBS_IN_FLIGHT.show({(queue,): slots.in_use.get(queue, 0) for queue in queues})
    metrics.JOBS_READY.show({(queue,): ready.count(queue) for queue in queues})
    connections = dict.fromkeys(((queue, s) for queue in known for s in ("busy", "idle")), 0)
    waiting = dict.fromkeys(((queue,) for queue in known), 0)
    for queue, pool in by_queue.items():
        connections[queue, "busy"] = pool.in_use
        connections[queue, "idle"] = pool.open - pool.in_use
        waiting[queue,] = pool.waiting
    metrics.SMTP_CONNECTIONS.show(connections)
    metrics.SMTP_WAITING.show(waiting)
    identity = membership.identity
    metrics.LEASE_MARGIN.show(
        max(0.0, identity.trusted_until - time.monotonic())
        if identity is not None and identity.trusted
        else 0.0
    )
    metrics.SLICE_SHARDS.show(membership.slice.end - membership.slice.first)
