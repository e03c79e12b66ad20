"""Short runs of scripts/chaos: mail flows while parts fail, and every rule has to hold.

`make chaos` makes long ones, with every fault.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from babygun.dev.etcd.binary import find_etcd
from scripts.chaos.faults import all_faults
from scripts.chaos.history import History
from scripts.chaos.load import all_sources
from scripts.chaos.run import Options, Run
from scripts.chaos.verdict import verdict
from tests.support.needs import missing

SECONDS = 9.0
SEED = 23


@pytest.mark.timeout(180)
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
    etcd = find_etcd()
    if etcd is None:
        missing("no etcd to test with: run `make install`")
    lines: list[str] = []
    options = Options(seed=SEED, seconds=SECONDS, members=members, rate=40, only=faults, quiet=60)
    run = Run(options, etcd, all_faults(), all_sources(), lines.append)
    outcome = await run.run(tmp_path / "history")
    judged = verdict(History(tmp_path / "history"))
    assert {turn.fault for turn in outcome.turns} == set(faults)
    assert judged.clean and not outcome.problems, "\n".join(
        (*lines, *outcome.problems, judged.text())
    )
