"""The answer to GET /metrics."""

from __future__ import annotations

import re

import pytest

from babygun.runtime.exposition import may_read, render
from babygun.runtime.metric_types import OTHER, TABLE
from babygun.runtime.metrics import HTTP_REQUESTS
from tests.support.scraping import Scraped


def test_process_shows_the_metrics_of_its_role_only() -> None:
    for role in ("api", "worker"):
        text = render(role)[0].decode()  # type: ignore[arg-type]
        shown = set(re.findall(r"^# TYPE (babygun_\w+)", text, re.MULTILINE))
        assert shown == {row.name for row in TABLE if role in row.roles}


@pytest.mark.parametrize(
    ("accept", "family"),
    [
        ("", "babygun_http_requests_total"),
        ("application/openmetrics-text", "babygun_http_requests"),
    ],
)
def test_counter_is_shown_as_it_is_counted(accept: str, family: str) -> None:
    labels = {"method": "GET", "route": OTHER, "status": "404"}
    before = Scraped(render("api")[0].decode()).get("babygun_http_requests_total", **labels) or 0.0
    counter = HTTP_REQUESTS["GET", OTHER, "404"]
    counter.inc()
    counter.inc(2)
    page = render("api", accept)[0].decode()
    assert f"# TYPE {family} counter\n" in page
    assert (
        'babygun_http_requests_total{method="GET",route="_other",status="404"}'
        f" {before + 3}\n" in page
    )
    assert "_created" not in page


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
    assert may_read(header, "s3cret") is may
    assert may_read(header, "")
