"""The table of metrics."""

from __future__ import annotations

import re

from babygun.runtime import metrics  # noqa: F401 (fills the table)
from babygun.runtime.metric_types import TABLE


def test_names_say_type_and_unit() -> None:
    """As Prometheus' naming rules have it. A histogram of transactions has no unit."""
    for row in TABLE:
        assert re.fullmatch(r"babygun_[a-z]+(_[a-z]+)*", row.name)
        assert row.roles and row.help, row.name
        assert row.name.endswith("_total") == (row.type == "counter"), row.name
        assert row.type != "histogram" or row.name.endswith(("_seconds", "_transactions"))


def test_names_are_each_given_once() -> None:
    assert len({row.name for row in TABLE}) == len(TABLE)
