"""Positions, as text and compared."""

from __future__ import annotations

import pytest

from babygun.store.changes.position import Position


@pytest.mark.parametrize(("text", "position"), [("7", (7, 7)), ("7.5", (7, 5)), ("007.5", (7, 5))])
def test_position_is_read_as_it_is_written(text: str, position: tuple[int, int]) -> None:
    assert Position.parse(text) == position
    assert Position.parse(str(Position(*position))) == position


@pytest.mark.parametrize("text", ["", "x", "7.", ".7", "-7", "7.5.3", "7 ", "٧", "1" * 19])
def test_position_of_another_form_is_none(text: str) -> None:
    assert Position.parse(text) is None
