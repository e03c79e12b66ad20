"""Short runs of scripts/chaos: mail flows while parts fail, and every rule has to hold.

`make chaos` makes long ones, with every fault. Each module of this folder makes one run, so that
they run side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from babygun.dev.etcd.binary import find_etcd
from scripts.chaos.faults import all_faults
from scripts.chaos.history import History
from scripts.chaos.load import all_sources
from scripts.chaos.run import Options, Run
from scripts.chaos.verdict import verdict
from tests.support.needs import missing

SEED = 23
RATE = 25  # e-mails a second


def run_of(options: Options, say: Callable[[str], None]) -> Run:
    """A run on the etcd that the tests run on."""
    etcd = find_etcd()
    if etcd is None:
        missing("no etcd to test with: run `make install`")
    return Run(options, etcd, all_faults(), all_sources(), say)


async def check_run(folder: Path, seconds: float, members: int, *faults: str) -> None:
    """Makes a run with these faults; fails with all its lines if it is not clean."""
    lines: list[str] = []
    options = Options(SEED, seconds, members=members, rate=RATE, only=faults, quiet=90)
    outcome = await run_of(options, lines.append).run(folder / "history")
    judged = verdict(History(folder / "history"))
    assert outcome.done == set(faults)
    assert judged.clean and not outcome.problems, "\n".join(
        (*lines, *outcome.problems, judged.text())
    )
