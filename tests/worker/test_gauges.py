"""The worker's state as its metrics show it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from babygun.runtime.exposition import render
from babygun.worker.gauges import show_connections
from tests.support.scraping import Scraped


def pool(queue: str, *, busy: int, idle: int, waiting: int) -> Any:
    return SimpleNamespace(
        destination=SimpleNamespace(site=SimpleNamespace(label=queue)),
        connections=SimpleNamespace(in_use=busy, open=busy + idle, waiting=waiting),
    )


def test_known_queue_without_a_pool_is_shown_with_zeros() -> None:
    pools = [pool("gauge-a", busy=2, idle=1, waiting=3)]
    assert shown(pools, ["gauge-b"]) == {"gauge-a": (2, 1, 3), "gauge-b": (0, 0, 0)}


def test_pools_of_one_queue_are_added_up() -> None:
    pools = [pool("gauge-a", busy=2, idle=1, waiting=3), pool("gauge-a", busy=1, idle=0, waiting=4)]
    assert shown(pools, [])["gauge-a"] == (3, 1, 7)


def shown(pools: list[Any], known: list[str]) -> dict[str, tuple[float | None, ...]]:
    """By queue: connections that are busy and idle, and messages that wait."""
    show_connections(cast(Any, pools), known)
    seen = Scraped(render("worker", "")[0].decode())
    return {
        queue: (
            seen.get("babygun_smtp_connections", site=queue, state="busy"),
            seen.get("babygun_smtp_connections", site=queue, state="idle"),
            seen.get("babygun_smtp_waiting", site=queue),
        )
        for queue in ("gauge-a", "gauge-b")
    }
