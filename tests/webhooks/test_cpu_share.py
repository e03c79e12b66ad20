"""How notices leave mail the CPU."""

from __future__ import annotations

from babygun.webhooks.cpu_share import SHARE, CpuShare


def test_share_is_free_while_no_mail_is_sent() -> None:
    share = CpuShare(lambda: False)
    for _ in range(100):
        assert share.is_free(1.0)
        share.use(1.0)


def test_share_of_the_time_goes_to_notices_while_mail_is_sent() -> None:
    share, used = CpuShare(lambda: True), 0.0
    for step in range(10_000):
        if share.is_free(step / 1000):
            share.use(0.0005)
            used += 0.0005
    assert used / 10 < 1.1 * SHARE + 0.01 and used / 10 > 0.9 * SHARE


def test_share_that_was_not_used_is_not_saved_for_long() -> None:
    share = CpuShare(lambda: True)
    assert share.is_free(0.0) and share.is_free(3600.0)
    share.use(0.011)
    assert not share.is_free(3600.0)
    assert share.is_free(3600.2)
