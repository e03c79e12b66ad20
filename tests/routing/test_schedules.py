"""When mail is tried again, as a route's settings say."""

from __future__ import annotations

from typing import Any

import pytest

from babygun.email.retry import Schedule
from babygun.errors import SettingsError
from babygun.routing.routes import load_routes
from babygun.runtime.settings import Settings

DAY = 86400.0


def of(mx: bool = False, **fields: Any) -> Schedule:
    route = {"mx": True} if mx else {"url": "smtp://mail.example"}
    routes = load_routes(Settings(routes={"a": route | fields}, retry_intervals=(600.0, 600.0)))
    return routes.schedule("mx:example.org" if mx else "a")


def test_relay_has_the_usual_intervals_and_no_jitter() -> None:
    assert of() == Schedule((600.0, 600.0))


def test_mail_hosts_are_tried_for_five_days() -> None:
    schedule = of(mx=True)
    assert schedule.intervals[:7] == (300, 900, 1800, 3600, 7200, 14400, 21600)
    assert set(schedule.intervals[6:]) == {21600}
    assert 4.75 * DAY < sum(schedule.intervals) <= 5 * DAY
    assert (len(schedule.intervals) + 1, schedule.jitter) == (25, 0.2)


@pytest.mark.parametrize(
    ("mx", "fields", "intervals"),
    [
        (True, {"retry_intervals": "1m, 2m"}, (60, 120)),
        (False, {"retry_intervals": ["1m", "2m"]}, (60, 120)),
        (False, {"expires_after": "1h"}, (600,) * 6),
        (False, {"retry_intervals": "5m, 20m", "expires_after": "1h"}, (300, 1200, 1200)),
        (True, {"expires_after": "1h"}, (300, 900, 1800)),
        (True, {"expires_after": "1m"}, ()),
    ],
)
def test_route_has_intervals_of_its_own_and_repeats_the_last_until_its_end(
    mx: bool, fields: dict[str, Any], intervals: tuple[float, ...]
) -> None:
    assert of(mx=mx, **fields).intervals == intervals


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"retry_intervals": "soon"}, "routes.a: 'soon' is not a duration"),
        ({"retry_intervals": "0s"}, "routes.a: retry_intervals has a wait of 0"),
        ({"retry_intervals": []}, "routes.a: retry_intervals is empty: leave it out"),
        ({"expires_after": "0s"}, "routes.a: expires_after is 0: give the time"),
        ({"expires_after": "never"}, "routes.a: 'never' is not a duration"),
        ({"retry_intervals": "1s", "expires_after": "1d"}, "more than 1000 tries"),
    ],
)
def test_schedule_with_a_mistake_says_which(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        of(**fields)


def test_all_mail_to_mail_hosts_has_the_waits_of_the_settings() -> None:
    settings = Settings(default="mx", mx_retry_intervals=(60.0, 300.0), mx_expires_after=1000.0)
    schedule = load_routes(settings).schedule("mx:example.org")
    assert schedule.intervals == (60, 300, 300, 300)


def test_queue_without_a_route_has_the_schedule_of_a_relay() -> None:
    routes = load_routes(Settings(retry_intervals=(60.0,)))
    assert routes.schedule("gone") == routes.schedule("mx:example.org") == Schedule((60.0,))
