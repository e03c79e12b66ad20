"""Writes the result of a try, and says so: in the trace, in the worker's counts, in the log."""

from __future__ import annotations

from babygun.email.tries import QueueResult
from babygun.runtime import metrics, tracing
from babygun.runtime.clock import utc_now
from babygun.runtime.logs import get_logger
from babygun.store import Store
from babygun.store.emails.claims import Claim
from babygun.worker.counters import RecipientCounts
from babygun.worker.finisher import Finisher

log = get_logger("worker")


class ResultWriter:
    """``counts``: gets the recipients whose try counts."""

    def __init__(self, store: Store, counts: RecipientCounts) -> None:
        self._finisher, self._counts = Finisher(store), counts

    async def write(self, claimed: Claim, result: QueueResult, server: str) -> None:
        """Returns when etcd has decided. Not to be cancelled.

        ``server``: the mail host of the last transaction, as the log names it; empty for a relay.
        """
        with tracing.child("etcd finish"):
            finished = await self._finisher.finish(claimed, result)
        span = tracing.current()
        if span.recording:
            classes = {outcome.reply_class for outcome in result.results.values()}
            span.set("babygun.reply_classes", sorted(classes))
            if finished.email is not None:
                span.set("babygun.email_status", finished.email.status)
        ref = claimed.ref
        if ref in finished.dropped:
            metrics.RESULTS_DROPPED.inc()
            log.warning(
                "result dropped",
                email_id=ref.email_id,
                queue=ref.queue,
                worker_id=result.worker_id,
            )
        else:
            self._counts.add(ref.queue, _tried(result), finished.email)
            status = finished.email.status if finished.email else None
            _log_finished(claimed, result, status, server)


def _tried(result: QueueResult) -> set[str]:
    """The recipients whose try counts."""
    untried = ("hold", "put_off")
    return {email for email, outcome in result.results.items() if outcome.action not in untried}


def _log_finished(claimed: Claim, result: QueueResult, status: str | None, server: str) -> None:
    counts: dict[str, int] = {}
    for outcome in result.results.values():
        counts[outcome.reply_class] = counts.get(outcome.reply_class, 0) + 1
    log.info(
        "try finished",
        email_id=claimed.ref.email_id,
        queue=claimed.ref.queue,
        worker_id=result.worker_id,
        server=server or None,
        tls=(result.tls.version or "plain") if result.tls and result.tls.connected else None,
        status=status,
        results=counts,
        ms=round((utc_now() - claimed.claimed_at).total_seconds() * 1000),
    )
