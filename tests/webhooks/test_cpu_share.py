"""How notices leave mail the CPU."""

from __future__ import annotations

import pytest

from babygun.webhooks import cpu_share
from babygun.webhooks.cpu_share import SHARE, CpuShare, CpuWatch


def test_share_is_free_while_no_mail_is_sent_or_there_is_enough_cpu() -> None:
    for share in (
        CpuShare(lambda: False, lambda _: True),
        CpuShare(lambda: True, lambda _: False),
    ):
        for _ in range(100):
            assert share.is_free(1.0)
            share.use(1.0)


def test_share_of_the_time_goes_to_notices_while_mail_is_sent() -> None:
    share, used = CpuShare(lambda: True, lambda _: True), 0.0
    for step in range(10_000):
        if share.is_free(step / 1000):
            share.use(0.0005)
            used += 0.0005
    assert used / 10 < 1.1 * SHARE + 0.01 and used / 10 > 0.9 * SHARE


def test_share_that_was_not_used_is_not_saved_for_long() -> None:
    share = CpuShare(lambda: True, lambda _: True)
    assert share.is_free(0.0) and share.is_free(3600.0)
    share.use(0.011)
    assert not share.is_free(3600.0)
    assert share.is_free(3600.2)


def test_cpu_is_short_where_the_process_uses_most_of_a_core(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used = 0.0
    monkeypatch.setattr(cpu_share, "_machine", lambda: (0, 0))
    monkeypatch.setattr(cpu_share.time, "process_time", lambda: used)
    watch = CpuWatch()
    watch.is_short(10.0)
    used = 0.6
    assert not watch.is_short(11.0)
    used = 1.4
    assert watch.is_short(12.0) and watch.is_short(12.1)


def test_cpu_is_short_where_the_machine_has_little_left(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = (0, 0)
    monkeypatch.setattr(cpu_share, "_machine", lambda: ticks)
    watch = CpuWatch()
    watch.is_short(1e6)
    ticks = (100, 200)
    assert not watch.is_short(1e6 + 1)
    ticks = (110, 400)
    assert watch.is_short(1e6 + 2)
