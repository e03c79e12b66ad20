"""What the workers' records show to be wrong."""

from __future__ import annotations

from collections import Counter

from babygun.routing.routes import load_routes
from babygun.runtime.clock import utc_now
from babygun.runtime.metric_types import OTHER
from babygun.runtime.settings import Settings
from babygun.store.cluster import worker_checks
from babygun.store.emails.depth import Depth
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
    assert "sends queue mx:* to another server than port 25 of each domain's" in found["port"]
    assert "this process has queue mx:*, and worker relay on host host does not" in found["relay"]


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
