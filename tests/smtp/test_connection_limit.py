"""The limit of connections: it shrinks, and grows back with time."""

from __future__ import annotations

from babygun.smtp.connection_limit import GROW, ConnectionLimit


def test_limit_that_has_shrunk_grows_by_one_at_a_time_up_to_the_most() -> None:
    limit = ConnectionLimit(5)
    assert limit.at(0.0) == 5
    limit.shrink(2, 100.0)
    assert [limit.at(100.0 + steps * GROW) for steps in (0, 0.9, 1, 2, 3, 9)] == [2, 2, 3, 4, 5, 5]
    assert limit.at(100.0) == 5, "once it is back, it stays"


def test_limit_that_is_reset_is_the_most_at_once() -> None:
    limit = ConnectionLimit(5)
    limit.shrink(1, 0.0)
    limit.reset()
    assert limit.at(0.0) == 5


def test_limit_that_has_shrunk_for_sure_is_not_reset_but_grows() -> None:
    limit = ConnectionLimit(3)
    limit.shrink(1, 0.0, for_sure=True)
    limit.reset()
    assert limit.at(0.0) == 1
    assert limit.at(2 * GROW) == 3
    limit.shrink(1, 100.0)
    limit.reset()
    assert limit.at(100.0) == 3
