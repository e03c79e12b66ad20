"""Times as they are stored and shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from babygun.runtime.clock import at_ms, format_time, parse_time, since_boot, utc_now
from tests.support.sleeping import sleep_for


def test_time_is_cut_to_milliseconds_and_read_as_it_was_written() -> None:
    now = utc_now()
    assert now.tzinfo is UTC and now.microsecond % 1000 == 0
    assert parse_time(format_time(now)) == now


def test_time_is_written_with_fixed_width_and_in_utc() -> None:
    at = datetime(2026, 11, 25, 0, 46, 51, 123_999, timezone(timedelta(hours=1)))
    assert format_time(at) == "2026-11-24T23:46:51.123Z"
    assert format_time(at_ms(0)) == "1970-01-01T00:00:00.000Z"


@pytest.mark.parametrize("ms", [1, 999, 1_795_563_999_001, 253_402_300_799_999])
def test_milliseconds_become_exactly_that_time(ms: int) -> None:
    assert (at_ms(ms) - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1) == ms


def test_text_that_is_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match="does not match"):
        parse_time("yesterday")


def test_seconds_since_the_boot_go_on_while_the_machine_sleeps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = since_boot()
    sleep_for(3600.0, monkeypatch)
    assert since_boot() >= before + 3600.0
