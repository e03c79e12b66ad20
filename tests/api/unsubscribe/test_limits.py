"""How often one process answers to links."""

from __future__ import annotations

import pytest

from babygun.api.unsubscribe import limits
from babygun.api.unsubscribe.limits import LinkLimits


@pytest.fixture
def standing_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits.time, "monotonic", lambda: 1000.0)


def test_wrong_links_of_one_address_are_limited_and_those_of_others_pass(
    standing_clock: None,
) -> None:
    links = LinkLimits()
    assert [links.wrong("192.0.2.1") for _ in range(100)] == [0] * 100
    assert links.wrong("192.0.2.1") == 1
    assert links.wrong("192.0.2.2") == 0


def test_right_links_pass_where_wrong_ones_were_too_many(standing_clock: None) -> None:
    links = LinkLimits()
    for _ in range(200):
        links.wrong("2001:db8::1")
    assert links.right("2001:db8::1") == 0
    assert [links.right("2001:db8::2") for _ in range(1999)] == [0] * 1999
    assert links.right("2001:db8::3") == 1, "an address of IPv6 counts with its network"
