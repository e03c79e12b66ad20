"""The table of metrics."""

from __future__ import annotations

import re

import pytest

from babygun.runtime import metrics  # noqa: F401 (fills the table)
from babygun.runtime.metric_types import TABLE, Row


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_name_says_type_and_unit(row: Row) -> None:
    """As Prometheus' naming rules have it; a histogram of transactions has no unit."""
    assert re.fullmatch(r"babygun_[a-z]+(_[a-z]+)*", row.name) and row.roles and row.help
    assert row.name.endswith("_total") == (row.type == "counter")
    assert row.type != "histogram" or row.name.endswith(("_seconds", "_transactions"))


def test_names_are_each_given_once() -> None:
    assert len({row.name for row in TABLE}) == len(TABLE)
