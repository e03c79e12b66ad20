"""The table of metrics itself, and what is made from it."""

from __future__ import annotations

import asyncio
import re
import time

import pytest

from babygun.runtime import metrics
from tests.support.paths import ROOT
from tests.support.scraping import Scraped


def test_docs_have_the_table_as_it_is() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    assert metrics.markdown() in page, (
        'put what `python -c "from babygun import metrics; print(metrics.markdown())"` prints into docs/metrics.md'
    )


@pytest.mark.parametrize("row", metrics.TABLE, ids=lambda row: row.name)
def test_name_says_type_and_unit(row: metrics.Row) -> None:
    """As Prometheus' naming rules have it; a histogram of transactions has no unit."""
    assert re.fullmatch(r"babygun_[a-z]+(_[a-z]+)*", row.name) and row.roles and row.help
    assert row.name.endswith("_total") == (row.type == "counter")
    assert row.type != "histogram" or row.name.endswith(("_seconds", "_transactions"))


def test_names_are_each_given_once() -> None:
    assert len({row.name for row in metrics.TABLE}) == len(metrics.TABLE)


def test_process_shows_the_metrics_of_its_role_only() -> None:
    for role in ("api", "worker"):
        shown = set(
            re.findall(r"^# TYPE (babygun_\w+)", metrics.render(role)[0].decode(), re.MULTILINE)
        )  # type: ignore[arg-type]
        assert shown == {row.name for row in metrics.TABLE if role in row.roles}


def test_histogram_counts_a_value_up_to_the_bound_that_it_reaches() -> None:
    before = Scraped(metrics.render("api")[0].decode())
    for size in (1, 2, 3, 127, 128):
        metrics.ETCD_BATCH.observe(size)
    seen = Scraped(metrics.render("api")[0].decode())
    grown = {
        le: seen.since(before, "babygun_etcd_batch_transactions_bucket", le=le)
        for le in ("1.0", "2.0", "4.0", "96.0", "127.0", "+Inf")
    }
    assert grown == {"1.0": 1, "2.0": 2, "4.0": 3, "96.0": 3, "127.0": 4, "+Inf": 5}
    assert (
        seen.since(before, "babygun_etcd_batch_transactions_count") == 5
        and seen.since(before, "babygun_etcd_batch_transactions_sum") == 261
    )


@pytest.mark.parametrize(
    ("accept", "family"),
    [
        ("", "babygun_http_requests_total"),
        ("application/openmetrics-text", "babygun_http_requests"),
    ],
)
def test_counter_is_shown_as_it_is_counted(accept: str, family: str) -> None:
    counter = metrics.HTTP_REQUESTS["GET", metrics.OTHER, "404"]
    counter.inc()
    counter.inc(2)
    page = metrics.render("api", accept)[0].decode()
    assert f"# TYPE {family} counter\n" in page
    assert (
        f'babygun_http_requests_total{{method="GET",route="_other",status="404"}} {counter.value}\n'
        in page
    )


def test_reading_replaces_what_it_showed() -> None:
    reading = metrics.JOBS_READY
    for values, seen in (
        ({("a",): 1, ("b",): 2}, (1, 2)),
        ({("b",): 3}, (None, 3)),
        (None, (None, None)),
    ):
        reading.show(values)  # type: ignore[arg-type]
        scraped = Scraped(metrics.render("worker")[0].decode())
        assert (
            scraped.get("babygun_jobs_ready", queue="a"),
            scraped.get("babygun_jobs_ready", queue="b"),
        ) == seen


@pytest.mark.parametrize(
    ("header", "may"),
    [
        ("Bearer s3cret", True),
        ("bearer  s3cret ", True),
        (None, False),
        ("", False),
        ("Bearer", False),
        ("Bearer s3cre", False),
        ("Basic s3cret", False),
        ("s3cret", False),
        ("Bearer \udcff", False),
    ],
)
def test_token_opens_the_metrics_and_nothing_else_does(header: str | None, may: bool) -> None:
    assert metrics.may_scrape(header, "s3cret") is may
    assert metrics.may_scrape(header, "")


async def test_stall_of_the_event_loop_is_measured() -> None:
    watching = asyncio.create_task(metrics.watch_event_loop(0.05))
    await asyncio.sleep(0)
    time.sleep(0.25)  # noqa: ASYNC251 (the stall)
    try:
        async with asyncio.timeout(5):
            while (  # noqa: ASYNC110
                Scraped(metrics.render("api")[0].decode()).get("babygun_event_loop_lag_seconds")
                or 0
            ) < 0.15:
                await asyncio.sleep(0.01)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def test_queues_beyond_the_first_share_the_label_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "QUEUE_LABELS", metrics.FirstLabels(2))
    before = Scraped(metrics.render("worker")[0].decode())
    queues = [f"bounded-{n}" for n in range(100_000)]
    for queue in queues:
        metrics.RECIPIENTS[queue, "delivered", "delivered"].inc()
        metrics.CLAIM_TO_REPLY[queue].observe(1.0)
    metrics.JOBS_READY.show(dict.fromkeys([(queue,) for queue in queues], 1))
    metrics.OLDEST_JOB.show({(queue, "ready"): float(n) for n, queue in enumerate(queues)})
    seen = Scraped(metrics.render("worker")[0].decode())
    counted = {"bounded-0": 1, "bounded-1": 1, metrics.OTHER: 99_998, "bounded-2": 0}
    for queue, count in counted.items():
        labels = {"queue": queue, "outcome": "delivered", "class": "delivered"}
        assert seen.since(before, "babygun_recipients_total", **labels) == count
        assert seen.since(before, "babygun_claim_to_reply_seconds_count", queue=queue) == count
        assert (seen.get("babygun_jobs_ready", queue=queue) or 0) == count
    oldest = Scraped(metrics.render("api")[0].decode())
    assert oldest.get("babygun_oldest_job_seconds", queue=metrics.OTHER, state="ready") == 99_999
