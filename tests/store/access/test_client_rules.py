"""What a client may be. Pure. The calls of the API have a test for each rule."""

from __future__ import annotations

import pytest

from babygun.store.access.client_rules import client_problems


def test_client_without_limits_breaks_no_rule() -> None:
    assert not list(client_problems(name="shop", client_id="shop.1", weight=1))


@pytest.mark.parametrize("rate", [0, -1, 0.0001, 1_000_001, float("inf"), float("nan")])
def test_rate_that_is_none_is_refused_with_its_bounds(rate: float) -> None:
    assert list(client_problems(rate=rate)) == [
        ("rate", "the rate must be from 0.001 to 1,000,000 e-mails a second")
    ]


@pytest.mark.parametrize("count", [0, -1, 1_000_000_001])
def test_daily_limit_out_of_bounds_is_refused(count: int) -> None:
    ((field, _),) = client_problems(recipients_per_day=count)
    assert field == "recipients_per_day"
