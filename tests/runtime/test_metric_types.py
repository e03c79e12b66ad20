"""What each type of metric shows of what was counted."""

from __future__ import annotations

import pytest

from babygun.runtime import metric_types, metrics
from babygun.runtime.exposition import render
from babygun.runtime.metric_types import OTHER, FirstLabels
from tests.support.scraping import Scraped


def test_histogram_counts_a_value_up_to_the_bound_that_it_reaches() -> None:
    before = Scraped(render("api")[0].decode())
    for size in (1, 2, 3, 127, 128):
        metrics.ETCD_BATCH.observe(size)
    seen = Scraped(render("api")[0].decode())
    grown = {
        le: seen.since(before, "babygun_etcd_batch_transactions_bucket", le=le)
        for le in ("1.0", "2.0", "4.0", "96.0", "127.0", "+Inf")
    }
    assert grown == {"1.0": 1, "2.0": 2, "4.0": 3, "96.0": 3, "127.0": 4, "+Inf": 5}
    assert (
        seen.since(before, "babygun_etcd_batch_transactions_count") == 5
        and seen.since(before, "babygun_etcd_batch_transactions_sum") == 261
    )


def test_reading_replaces_what_it_showed() -> None:
    reading = metrics.JOBS_READY
    for values, seen in (
        ({("a",): 1, ("b",): 2}, (1, 2)),
        ({("b",): 3}, (None, 3)),
        (None, (None, None)),
    ):
        reading.show(values)  # type: ignore[arg-type]
        scraped = Scraped(render("worker")[0].decode())
        assert (
            scraped.get("babygun_jobs_ready", site="a"),
            scraped.get("babygun_jobs_ready", site="b"),
        ) == seen


def test_queues_and_sites_beyond_the_first_share_the_label_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metric_types, "QUEUE_LABELS", FirstLabels(2))
    before = Scraped(render("worker")[0].decode())
    queues = [f"bounded-{n}" for n in range(100_000)]
    for queue in queues:
        metrics.RECIPIENTS[queue, "delivered", "delivered"].inc()
        metrics.CLAIM_TO_REPLY[queue].observe(1.0)
        metrics.SITE_HOLDS[queue, "begun"].inc()
    metrics.JOBS_READY.show(dict.fromkeys([(queue,) for queue in queues], 1))
    metrics.OLDEST_JOB.show({(queue, "ready"): float(n) for n, queue in enumerate(queues)})
    seen = Scraped(render("worker")[0].decode())
    counted = {"bounded-0": 1, "bounded-1": 1, OTHER: 99_998, "bounded-2": 0}
    for queue, count in counted.items():
        labels = {"site": queue, "outcome": "delivered", "class": "delivered"}
        assert seen.since(before, "babygun_recipients_total", **labels) == count
        assert seen.since(before, "babygun_claim_to_reply_seconds_count", site=queue) == count
        assert seen.since(before, "babygun_site_holds_total", site=queue, event="begun") == count
        assert (seen.get("babygun_jobs_ready", site=queue) or 0) == count
    oldest = Scraped(render("api")[0].decode())
    assert oldest.get("babygun_oldest_job_seconds", queue=OTHER, state="ready") == 99_999
