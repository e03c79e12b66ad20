"""What the tests of the worker share."""

from __future__ import annotations

import pytest

from babygun.worker import timers


@pytest.fixture(autouse=True)
def quick_timers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers of this process make due what has waited ten times a second."""
    monkeypatch.setattr(timers, "INTERVAL", 0.1)
