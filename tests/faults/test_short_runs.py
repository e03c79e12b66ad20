"""Short runs of scripts/chaos: mail flows while parts fail, and every rule has to hold.

`make chaos` makes long ones, with every fault.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from babygun.dev.etcd.binary import find_etcd
from scripts.chaos.faults import all_faults
from scripts.chaos.history import History, ProcessStarted
from scripts.chaos.load import all_sources
from scripts.chaos.run import Options, Run
from scripts.chaos.verdict import verdict
from tests.support.needs import missing

SECONDS = 9.0
SEED = 23
RATE = 25  # e-mails a second


pytestmark = pytest.mark.timeout(180)


def run_of(options: Options, say: Callable[[str], None]) -> Run:
    """A run on the etcd that the tests run on."""
    etcd = find_etcd()
    if etcd is None:
        missing("no etcd to test with: run `make install`")
    return Run(options, etcd, all_faults(), all_sources(), say)


@pytest.mark.parametrize(
    ("members", "faults"),
    [
        pytest.param(1, ("kill-worker", "etcd-answers-lost", "relay-answers-lost"), id="one"),
        pytest.param(3, ("kill-etcd-leader", "kill-api"), id="three"),
    ],
)
async def test_short_run_with_faults_ends_clean(
    tmp_path: Path, members: int, faults: tuple[str, ...]
) -> None:
    lines: list[str] = []
    options = Options(SEED, SECONDS, members=members, rate=RATE, only=faults, quiet=90)
    outcome = await run_of(options, lines.append).run(tmp_path / "history")
    judged = verdict(History(tmp_path / "history"))
    assert outcome.done == set(faults)
    assert judged.clean and not outcome.problems, "\n".join(
        (*lines, *outcome.problems, judged.text())
    )


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
