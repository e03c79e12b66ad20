"""A run that somebody interrupts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from scripts.chaos.history import History, ProcessStarted
from scripts.chaos.run import Options
from tests.faults.short_run import RATE, SEED, run_of


async def test_run_that_is_interrupted_leaves_no_process(tmp_path: Path) -> None:
    broken = asyncio.Event()
    run = run_of(
        Options(SEED, 60.0, rate=RATE, only=("kill-api",)),
        lambda line: broken.set() if "+ kill-api" in line else None,
    )
    task = asyncio.create_task(run.run(tmp_path / "history"))
    await broken.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    pids = [event.pid for event in History(tmp_path / "history").events(ProcessStarted)]
    assert len(pids) >= 5
    assert not running(pids)


def running(pids: list[int]) -> list[int]:
    """Those of the processes that are there."""
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]
