"""Jobs by their e-mail's own end: which are named when, and that what is gone is forgotten."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from babygun.email.model import Job
from babygun.store.keys import JobRef
from babygun.worker.ends import Ends

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def known(ends: dict[str, float]) -> tuple[dict[JobRef, Job], Ends]:
    jobs = {JobRef(name, "q"): Job(1, 1, expires_at=at(end)) for name, end in ends.items()}
    found = Ends(jobs)
    for ref, job in jobs.items():
        assert job.expires_at
        found.add(job.expires_at, ref)
    return jobs, found


def names(refs: list[JobRef]) -> list[str]:
    return [ref.email_id for ref in refs]


def test_jobs_whose_end_has_come_are_named_earliest_first_and_so_many_at_most() -> None:
    _, ends = known({"late": 9, "first": 1, "second": 2, "third": 3})
    assert not ends.any(NOW) and ends.any(at(1))
    assert names(ends.due(at(3), 2)) == ["first", "second"]
    assert names(ends.due(at(3), 2)) == ["third"]


def test_job_that_could_not_be_ended_is_named_again_in_a_minute() -> None:
    _, ends = known({"a": 0})
    assert names(ends.due(NOW, 9)) == ["a"]
    assert not ends.due(at(59), 9)
    assert names(ends.due(at(60), 9)) == ["a"]


def test_job_that_is_gone_or_has_another_end_is_not_named() -> None:
    jobs, ends = known({"gone": 0, "later": 0})
    del jobs[JobRef("gone", "q")]
    jobs[JobRef("later", "q")] = Job(1, 1, expires_at=at(5))
    assert not ends.due(NOW, 9)


def test_entries_of_jobs_that_are_gone_are_bounded() -> None:
    jobs, ends = known({})
    for number in range(10_000):
        ref = JobRef(f"e{number % 7}", "q")
        jobs[ref] = Job(1, 1, expires_at=at(number))
        ends.add(at(number), ref)
    assert len(ends) < 1100
