"""The problems that the long benchmarks find: growth, other than of what is retained."""

from __future__ import annotations

import array
import dataclasses
import time
from pathlib import Path
from typing import Any

import pytest

from scripts.bench import growth, sustained
from scripts.bench.sampling import Sample, Times

EVEN = Sample(0, 0, 0, 1000, 1000, 10, 50, 100, 90, 1, 0, 300, 200, 50, 50, 0, 0, "")


def run(**changes: Any) -> list[Sample]:
    """Thirty samples, each a second and 1,000 e-mails later. ``changes``: by its number."""
    return [
        dataclasses.replace(
            EVEN,
            **(
                {"at": float(n), "accepted": 1000 * n, "delivered": 1000 * n}
                | {name: value(n) for name, value in changes.items()}
            ),
        )
        for n in range(1, 31)
    ]


def judged(samples: list[Sample]) -> list[str]:
    return sustained.judged(samples, rate=1000, size=1024, quota=256)


def test_run_that_stays_level_has_no_problem() -> None:
    assert judged(run()) == []


def test_run_that_grows_by_what_is_retained_has_no_problem() -> None:
    assert judged(run(in_use=lambda n: 90 + 3.3 * n, etcd_anonymous=lambda n: 200 + 1.4 * n)) == []


def test_run_that_sheds_may_fill_its_quota_up_to_the_mark() -> None:
    assert (
        judged(
            run(
                in_use=lambda n: 90 + 4.5 * n,
                etcd_anonymous=lambda n: 200 + 12 * n,
                shed_contents=lambda n: n,
            )
        )
        == []
    )


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"in_use": lambda n: 90 + 10 * n}, "in_use has grown"),
        (
            {"in_use": lambda n: 246 - n / 10, "shed_contents": lambda n: n},
            "more than 90 % of the quota",
        ),
        (
            {"etcd_anonymous": lambda n: 200 + 20 * n, "shed_contents": lambda n: n},
            "etcd_anonymous has grown",
        ),
        ({"worker": lambda n: 50 + 3 * n}, "worker has grown"),
        ({"api": lambda n: 50 + 3 * n}, "api has grown"),
        ({"etcd_anonymous": lambda n: 200 + 60 * n}, "etcd_anonymous has grown"),
        ({"accepted": lambda n: 900 * n, "delivered": lambda n: 900 * n}, "did not keep up"),
        ({"delivered": lambda n: 700 * n}, "wait at the end"),
        ({"file": lambda n: 255}, "within 2 % of the quota"),
        ({"p99": lambda n: n * n}, "longer and longer"),
    ],
)
def test_run_that_does_not_level_off_is_reported(changes: dict[str, Any], problem: str) -> None:
    assert [found for found in judged(run(**changes)) if problem in found], judged(run(**changes))


def test_run_on_a_machine_that_became_slower_says_so_with_its_problem() -> None:
    late = {"p99": lambda n: n * n}
    [told] = judged(run(**late, sink_cpu=lambda n: 20 if n < 15 else 30))
    assert told.endswith(
        "(the machine became slower:"
        " an e-mail cost the sink 20 µs of CPU in the first third, 30 later)"
    )
    [told] = judged(run(**late, sink_cpu=lambda n: 20 + n % 3))
    assert "slower" not in told


def test_run_that_is_too_short_is_reported() -> None:
    assert judged(run()[:5]) == ["the run was too short to judge it"]


def test_times_follow_what_is_accepted_and_what_has_arrived_since(tmp_path: Path) -> None:
    sent, arrived = tmp_path / "sent", tmp_path / "arrived"
    now = time.monotonic_ns()
    sent.write_bytes(
        array.array("q", [now - 90, now - 80, now - 70, now - 60, now - 50, 0, 0, 0]).tobytes()
    )
    arrived.write_bytes(array.array("q", [now - 30, 0, 0, 0]).tobytes())
    times = Times(sent, arrived)
    assert times.read() == (2, [60e-9])
    later = time.monotonic_ns()
    sent.write_bytes(
        array.array(
            "q", [now - 90, now - 80, now - 70, now - 60, now - 50, later, now, later]
        ).tobytes()
    )
    arrived.write_bytes(array.array("q", [now - 30, later, 0, later]).tobytes())
    accepted, latencies = times.read()
    assert accepted == 4 and latencies == [
        pytest.approx((later - now + 70) / 1e9),
        pytest.approx((later - now) / 1e9),
    ]
    assert times.read() == (4, []), (
        "each is reported once, though an earlier one is still under way"
    )


def test_growth_of_a_call_is_reported_and_noise_is_not() -> None:
    steps = [
        {"count": 1000, "latency": {"a": (1.0, 2.0), "b": (10.0, 12.0)}},
        {"count": 100_000, "latency": {"a": (2.9, 9.0), "b": (22.0, 30.0)}},
    ]
    assert growth.grown(steps) == ["b took 10.0 ms with 1,000 e-mails and 22.0 ms with 100,000"]
