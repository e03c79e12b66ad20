"""When new e-mails are refused since etcd is nearly full. With a full etcd: tests/api/emails."""

from __future__ import annotations

import logging

import pytest

from babygun.errors import EtcdUnavailable
from babygun.intake.quota_guard import QuotaGuard
from babygun.runtime.settings import Settings
from babygun.store import Store


class Etcd:
    """What the guard learns of etcd: shares of the quota."""

    def __init__(self) -> None:
        self.in_use, self.file, self.away = 0.0, 0.0, False

    async def measure(self) -> None:
        if self.away:
            raise EtcdUnavailable

    def expected(self, seconds: float) -> float:
        assert seconds > 0
        return self.in_use


@pytest.fixture
def etcd(monkeypatch: pytest.MonkeyPatch) -> Etcd:
    return Etcd()


@pytest.fixture
def guard(etcd: Etcd) -> QuotaGuard:
    guard = QuotaGuard(Store(Settings()))
    guard._fullness = etcd  # type: ignore[assignment]
    return guard


@pytest.mark.parametrize(
    ("in_use", "file", "full"),
    [(0.0, 0.0, False), (0.95, 0.98, False), (0.951, 0.0, True), (0.0, 0.981, True)],
)
async def test_emails_are_refused_above_either_limit(
    guard: QuotaGuard, etcd: Etcd, in_use: float, file: float, full: bool
) -> None:
    etcd.in_use, etcd.file = in_use, file
    await guard.measure()
    assert guard.full is full


async def test_change_is_logged_once(
    guard: QuotaGuard, etcd: Etcd, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "babygun.api")
    for in_use in (0.5, 0.96, 0.97, 0.5, 0.5):
        etcd.in_use = in_use
        await guard.measure()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "emails refused"),
        ("INFO", "emails accepted again"),
    ]


async def test_answer_stays_while_etcd_is_away(guard: QuotaGuard, etcd: Etcd) -> None:
    etcd.in_use = 0.96
    await guard.measure()
    etcd.away = True
    with pytest.raises(EtcdUnavailable):
        await guard.measure()
    assert guard.full
