"""The clock that ignores steps which etcd's clocks do not make."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from babygun.etcd import plain_http
from babygun.runtime.clock import utc_now
from babygun.store import Store, steady_clock
from babygun.store.emails.finish import finish
from tests.store.emails.steps import SOFT, claimed, pending
from tests.support.processes import PATIENCE
from tests.support.rig import Rig

MONTH = 31 * 86_400.0
SLACK = timedelta(seconds=0.2)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stands still for a moment is no etcd that does not say its time."""
    monkeypatch.setattr(plain_http, "PATIENCE", PATIENCE)


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that the wall clock of this process is ahead: the last one counts."""
    ahead, real = [0.0], time.time
    monkeypatch.setattr(time, "time", lambda: real() + ahead[-1])
    return ahead


async def is_off(store: Store, seconds: float) -> bool:
    """Whether the steady clock is off by so many seconds, however long it takes to look."""
    before = utc_now()
    now = await store.clock.now() - timedelta(seconds=seconds)
    return before - SLACK <= now <= utc_now() + SLACK


@pytest.mark.parametrize("seconds", [MONTH, -3600.0])
async def test_step_that_etcd_does_not_make_is_ignored(
    rig: Rig, step: list[float], seconds: float
) -> None:
    step.append(seconds)
    assert await is_off(rig.store, 0)
    step.append(0.0)
    assert await is_off(rig.store, 0)


async def test_step_to_the_time_that_etcd_has_counts(rig: Rig, step: list[float]) -> None:
    step.append(MONTH)
    async with Store(rig.settings) as store:  # it starts with a wrong clock
        assert await is_off(store, MONTH)
        step.append(0.0)
        assert await is_off(store, 0)


async def test_step_is_ignored_while_etcd_does_not_answer_and_judged_later(
    rig: Rig, step: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steady_clock, "_ASK_AGAIN", 0.0)
    step.append(MONTH)
    async with Store(rig.settings) as store:
        store.clock._settings = type(rig.settings)(etcd_endpoints=("http://127.0.0.1:1",))
        step.append(0.0)
        assert await is_off(store, MONTH)
        store.clock._settings = rig.settings
        assert await is_off(store, 0)


SILENT = ("http://127.0.0.1:1",)


async def test_step_counts_after_a_while_in_which_no_member_says_its_time(
    rig: Rig, step: list[float], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As after the sleep of a machine whose etcd has a port that speaks gRPC alone."""
    monkeypatch.setattr(steady_clock, "_ASK_AGAIN", 0.0)
    monkeypatch.setattr(steady_clock, "_SILENT", 1000.0)
    async with Store(rig.settings) as store:
        store.clock._settings = type(rig.settings)(etcd_endpoints=SILENT)
        step.append(10_800.0)
        assert await is_off(store, 0)
        step.append(20_000.0)  # it does not run steadily
        monkeypatch.setattr(steady_clock, "_SILENT", 0.0)
        assert await is_off(store, 0)
        assert await is_off(store, 20_000.0)
        assert [each.message for each in caplog.records] == ["clock stepped"]


@pytest.mark.parametrize("right", [True, False])
async def test_step_that_no_member_confirmed_is_judged_once_one_answers(
    rig: Rig, step: list[float], monkeypatch: pytest.MonkeyPatch, right: bool
) -> None:
    monkeypatch.setattr(steady_clock, "_ASK_AGAIN", 0.0)
    monkeypatch.setattr(steady_clock, "_SILENT", 0.0)
    if right:
        step.append(-MONTH)
    async with Store(rig.settings) as store:
        store.clock._settings = type(rig.settings)(etcd_endpoints=SILENT)
        after = 0.0 if right else MONTH
        step.append(after)
        await store.clock.now()
        assert await is_off(store, after)
        store.clock._settings = rig.settings
        await store.clock.now()
        assert await is_off(store, 0)
        step.append(after)
        assert await is_off(store, 0)


async def test_small_correction_counts_at_once(rig: Rig, step: list[float]) -> None:
    step.append(1.5)
    assert await is_off(rig.store, 1.5)


async def test_retry_of_a_worker_whose_clock_steps_comes_in_time(
    rig: Rig, step: list[float]
) -> None:
    claim = await claimed(rig, await rig.send("ann@example.org"))
    step.append(MONTH)
    done = await finish(rig.store, [pending(claim, SOFT)])
    assert done.email is not None
    due = done.email.queues["main"].not_before
    assert due is not None and due - utc_now() < timedelta(minutes=1)
