"""The arithmetic of warm-ups: days, ceilings, what a worker takes, which address comes next."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babygun.errors import SettingsError
from babygun.routing.warm_up import (
    MOST_TAKEN,
    Plan,
    day_of,
    is_address,
    older_sources,
    read_plan,
    seconds_left,
    share,
    why_full,
)
from babygun.runtime.settings import Settings

FIRST = date(2026, 11, 23)
PLAN = Plan((50, 100, 200), addresses=True, domains=True, began={})


def test_ceiling_grows_by_the_table_until_the_source_is_warm() -> None:
    ceilings = [PLAN.ceiling(FIRST, date(2026, 11, day)) for day in range(23, 28)]
    assert ceilings == [50, 100, 200, None, None]


def test_ceiling_before_the_first_day_is_that_of_the_first() -> None:
    assert (day_of(FIRST, date(2026, 11, 20)), PLAN.ceiling(FIRST, date(2026, 11, 20))) == (1, 50)


def test_plan_is_read_from_the_settings() -> None:
    given = {"Bücher.example": FIRST, "2001:DB8:0::7": FIRST}
    plan = read_plan(Settings(warm_up_table=(1, 2), warm_up_began=given))
    assert plan == Plan((1, 2), True, True, {"xn--bcher-kva.example": FIRST, "2001:db8::7": FIRST})
    only = read_plan(Settings(warm_up="domains"))
    assert only is not None and (only.addresses, only.domains) == (False, True)
    assert read_plan(Settings(warm_up="off")) is None


@pytest.mark.parametrize("table", [(), (50, 0)])
def test_plan_with_a_day_without_mail_is_refused(table: tuple[int, ...]) -> None:
    with pytest.raises(SettingsError, match="numbers above 0"):
        read_plan(Settings(warm_up_table=table))


@given(st.integers(1, 10_000), st.integers(1, 9), st.lists(st.integers(1, 300), min_size=1))
def test_shares_of_all_workers_never_exceed_the_ceiling(
    ceiling: int, workers: int, wanted: list[int]
) -> None:
    taken = 0
    for number in count():
        share_now = share(ceiling, taken, wanted[number % len(wanted)], workers)
        assert share_now >= 0 and taken + share_now <= ceiling
        if not share_now:
            break
        taken += share_now
    assert taken == ceiling, "all of it can be used"


def test_ceiling_takes_few_changes_of_its_key() -> None:
    def changes(ceiling: int, workers: int) -> int:
        taken = number = 0
        while part := share(ceiling, taken, 1, workers):
            taken, number = taken + part, number + 1
        return number

    found = [changes(ceiling, workers) for ceiling in (6400, 50) for workers in (1, 3)]
    assert found == [134, 152, 7, 20]


def test_share_is_some_dozens_and_smaller_near_the_end() -> None:
    assert share(1000, 0, 1, workers=2) == MOST_TAKEN
    assert share(1000, 960, 1, workers=2) == 10
    assert share(1000, 999, 20, workers=2) == 1
    assert share(1000, 0, 300, workers=2) == 300, "one e-mail may need more"
    assert share(50, 2000, 1, workers=2) == 0, "after a warm-up was begun again"


def test_seconds_left_end_with_the_day_of_utc() -> None:
    assert seconds_left(datetime(2026, 11, 25, 23, 59, 30, tzinfo=UTC)) == 30.0
    assert seconds_left(datetime(2026, 11, 25, tzinfo=UTC)) == 86400.0


def test_older_sources_begin_with_the_own_one_and_leave_out_younger_ones() -> None:
    ages = {"192.0.2.1": 1, "192.0.2.2": 2, "192.0.2.3": 3, "2001:db8::1": 9}

    def began(source: str) -> date:
        return date(2026, 11, ages[source])

    own = set()
    for number in range(40):
        found = older_sources(list(ages), f"e-mail {number}", began)
        first = found[4][0]
        own.add(first)
        assert {ages[each] for each in found[4]} == set(range(1, ages[first] + 1))
        assert found[6] == ["2001:db8::1"]
    assert own == {"192.0.2.1", "192.0.2.2", "192.0.2.3"}


def test_reason_names_source_day_ceiling_and_provider() -> None:
    words = "warm-up of 192.0.2.7: day 3, 1,200 of 1,200 to outlook today"
    assert why_full("192.0.2.7", 3, 1200, "mx:outlook") == words


def test_source_is_an_address_or_a_domain() -> None:
    assert is_address("192.0.2.7") and is_address("2001:db8::7") and not is_address("example.com")
