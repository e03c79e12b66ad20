"""The worker's state as its metrics show it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from babygun.runtime.exposition import render
from babygun.worker.gauges import show_connections
from tests.support.scraping import Scraped


def pool(queue: str, *, busy: int, idle: int, waiting: int) -> Any:
    return SimpleNamespace(
        destination=SimpleNamespace(name=queue),
        in_use=busy,
        open=busy + idle,
        waiting=waiting,
    )


def test_known_queue_without_a_pool_is_shown_with_zeros() -> None:
    show_connections([cast(Any, pool("gauge-a", busy=2, idle=1, waiting=3))], ["gauge-b"])
    seen = Scraped(render("worker", "")[0].decode())
    shown = {
        queue: (
            seen.get("babygun_smtp_connections", queue=queue, state="busy"),
            seen.get("babygun_smtp_connections", queue=queue, state="idle"),
            seen.get("babygun_smtp_waiting", queue=queue),
        )
        for queue in ("gauge-a", "gauge-b")
    }
    assert shown == {"gauge-a": (2, 1, 3), "gauge-b": (0, 0, 0)}
