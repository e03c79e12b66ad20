"""What the workers' records show to be wrong."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from babygun.routing.routes import load_routes
from babygun.runtime.clock import utc_now
from babygun.runtime.metric_types import OTHER
from babygun.runtime.settings import Settings
from babygun.store.cluster import worker_checks
from babygun.store.emails.depth import Depth
from babygun.store.records import Hold
from tests.store.cluster.workers import record


def test_queues_that_only_one_side_has_are_a_warning() -> None:
    routes = load_routes(
        Settings(relays={"a": {"url": "smtp://127.0.0.1:25"}, "b": {"url": "smtp://127.0.0.1:26"}})
    )
    a, b = routes.fingerprints().values()
    found = worker_checks.other_routing(
        "/p/",
        routes,
        [
            record("same", queues={"a": a, "b": b}),
            record("too many"),
            record("odd", queues={"a": a, "c": b}),
        ],
    )
    assert found == {
        "odd": "worker odd on host host has queue c, and this process does not;"
        " this process has queue b, and worker odd on host host does not:"
        " two clusters share the prefix /p/, or their settings differ"
    }


def test_process_that_sends_domains_elsewhere_or_not_at_all_is_a_warning() -> None:
    routes = load_routes(Settings(default="mx"))
    found = worker_checks.other_routing(
        "/p/",
        routes,
        [
            record("port", queues=load_routes(Settings(default="mx", mx_port=2525)).fingerprints()),
            record("relay", queues=load_routes(Settings(relay_url="smtp://a")).fingerprints()),
            record("same", queues=routes.fingerprints()),
        ],
    )
    assert list(found) == ["port", "relay"]
    assert "another server; this process sends it to port 25 of each domain's" in found["port"]
    assert "this process has queue mx:*, and worker relay on host host does not" in found["relay"]


def test_worker_with_other_settings_than_most_is_a_warning_that_names_them() -> None:
    usual = {"warm_up": "1", "retention": "2"}
    workers = [
        record("a", settings={"warm_up": "1"}),
        record("b", settings=usual),
        record("c", settings={"warm_up": "9", "retention": "2", "feedback_id": "3"}),
        record("d", settings=usual),
    ]
    found = worker_checks.other_settings(workers)
    assert found == {
        "a": "worker a on host host has another retention than worker b on host host:"
        " give all workers the same settings",
        "c": "worker c on host host has another feedback_id, warm_up than worker b on host host:"
        " give all workers the same settings",
    }
    assert list(worker_checks.other_settings(workers[:2])) == ["b"]
    assert worker_checks.other_settings(workers[1:2]) == worker_checks.other_settings([]) == {}
    of_an_update = [workers[0], replace(workers[1], version="2")]
    assert worker_checks.other_settings(of_an_update) == {}


def test_jobs_of_a_queue_that_nobody_sends_are_a_warning() -> None:
    workers = [record("w", queues={"main": "1"})]
    depth = Depth(
        jobs=Counter(
            {
                ("main", "ready"): 3,
                ("gone", "ready"): 1,
                ("gone", "waiting"): 1,
                ("empty", "ready"): 0,
                (OTHER, "waiting"): 4,
            }
        )
    )
    assert worker_checks.unsent_queues(depth, workers) == {
        "gone": "2 jobs of queue gone can't go:"
        " no live worker sends it, so add its destination again"
    }
    assert worker_checks.unsent_queues(depth, []) == {}, (
        "another check reports that no worker lives"
    )
    assert worker_checks.unsent_queues(depth, [*workers, record("too many")]) == {}


def test_clock_of_a_worker_is_ahead_if_its_check_in_is_in_the_future() -> None:
    workers = [record("good"), record("ahead", checked_in=200), record("old", checked_in=-400)]
    found = worker_checks.clocks_ahead(workers, utc_now())
    assert set(found) == {"ahead"}
    assert "3 min ahead of this machine's" in found["ahead"]


def test_clock_of_a_worker_is_behind_if_its_new_check_in_is_old() -> None:
    worker = record("a")
    assert "is 7 min behind this machine's" in worker_checks.clock_behind(worker, 400)
    assert worker_checks.clock_behind(worker, 4) == ""


_NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def _hold(site: str, **fields: Any) -> Hold:
    given = {"reason": "ip_block", "status_code": 554, "status_reason": "listed", "set_by": "w"}
    times = {"since": _NOON, "probe_at": _NOON, "until": _NOON + timedelta(hours=1)}
    return Hold(site=site, **{**given, **times, **fields})


def test_held_site_or_sender_is_a_warning_that_says_what_waits_and_who_said_so() -> None:
    assert worker_checks.held_sites(
        [
            _hold("main"),
            _hold("mx:google", sender="shop.example"),
            _hold("mx:no-route", reason="configuration", status_code=None, status_reason="none"),
            _hold("mx:yahoo", by_operator=True, set_by="ops", status_reason="planned work"),
        ]
    ) == {
        "main": "main is held since 2026-11-25 12:00 UTC (ip_block): the server says '554 listed';"
        " it waits until a probe gets through",
        "mx:google/shop.example": "mail of shop.example to mx:google is held since 2026-11-25 12:00"
        " UTC (ip_block): the server says '554 listed'; it waits until a probe gets through",
        "mx:no-route": "mx:no-route is held since 2026-11-25 12:00 UTC (configuration): 'none'; it"
        " waits until a probe gets through",
        "mx:yahoo": "mx:yahoo is held since 2026-11-25 12:00 UTC by ops, until 2026-11-25 13:00"
        " UTC: 'planned work'; none of it is sent before",
    }


def test_many_held_sites_are_few_warnings_with_relays_first() -> None:
    holds = [_hold(f"mx:h{number}.example") for number in range(1000)] + [_hold("main")]
    found = list(worker_checks.held_sites(holds).items())
    assert len(found) == worker_checks.MOST_HELD + 1
    assert found[0][0] == "main"
    assert found[-1] == ("", "further sites are held: GET /sites shows each of them")
