"""A machine that has slept: its monotonic clock stood still, and all others went on."""

from __future__ import annotations

import time

import pytest


def sleep_for(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on this process is on a machine that has just slept for so long."""
    awake = time.clock_gettime
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    def gettime(which: int) -> float:
        return awake(which) + (seconds if which == clock else 0.0)

    monkeypatch.setattr(time, "clock_gettime", gettime)
