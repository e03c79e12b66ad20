"""The timeline knows how old a revision is, whatever clocks say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from babygun.store.upkeep.timeline import FINENESS, Timeline

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
DAY, WEEK = 86_400.0, 604_800.0


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def test_revision_before_a_time_is_the_newest_sample_that_is_old_enough() -> None:
    timeline = Timeline(WEEK)
    assert timeline.revision_before(at(0)) == 0
    for second in (0, 10, 20):
        timeline.add(at(second), 100 + second)
    asked = [timeline.revision_before(at(second)) for second in (-1, 0, 9, 10, 99)]
    assert asked == [0, 100, 100, 110, 120]


def test_timeline_of_weeks_stays_small_and_fine_enough_at_every_age() -> None:
    timeline, step = Timeline(2 * WEEK), DAY / FINENESS
    for number in range(1000):
        timeline.add(at(number * step), number)
    assert len(timeline.samples) < 130 and len(timeline.value) < 6000
    end = 999 * step
    for age in (DAY, 3 * DAY, WEEK):
        revision = timeline.revision_before(at(end - age))
        late = end - age - revision * step
        assert 0 <= late <= age / FINENESS + step, f"{age / DAY} days: {late / 3600} hours late"


def test_sample_from_the_future_is_dropped_by_a_right_clock() -> None:
    timeline = Timeline(WEEK)
    timeline.add(at(0), 1)
    timeline.add(at(31 * DAY), 2)
    assert timeline.wants(at(10), 5) and timeline.revision_before(at(32 * DAY)) == 2
    timeline.add(at(10), 3)
    assert [revision for _, revision in timeline.samples] == [1, 3]


def test_timeline_is_stored_and_read_again() -> None:
    timeline = Timeline(WEEK)
    timeline.add(at(0), 7)
    assert Timeline(WEEK, timeline.value).samples == timeline.samples
    assert not timeline.wants(at(4), 5) and timeline.wants(at(5), 5)
