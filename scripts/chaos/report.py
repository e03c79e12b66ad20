"""Puts the results of runs into a page, between two marker lines: docs/reliability.md."""

from __future__ import annotations

from pathlib import Path

from scripts.bench.report import read_part, write_part
from scripts.chaos.verdict import Verdict

_RUNS, _MUTANTS = "chaos:runs", "chaos:mutants"
_HEAD = (
    "| seed | minutes | etcd members | acknowledged | messages | revisions | faults |"
    " lost | stuck | copies beyond the first | recovery | verdict |"
)


def write_run(page: Path, verdict: Verdict, *, seed: int, minutes: float, members: int) -> None:
    """Writes the row of a run; it takes the place of an earlier run with the seed.

    Raises BenchError if the page has no such marker lines.
    """
    figures = verdict.figures
    reasons = "; ".join(f"{n:,} {why}" for why, n in figures.duplicates.most_common())
    recovery = "" if figures.recovery is None else f"{figures.recovery:.1f} s"
    cells = (
        f"{seed}",
        f"{minutes:g}",
        f"{members}",
        f"{figures.acknowledged:,}",
        f"{figures.messages:,}",
        f"{figures.revisions:,}",
        f"{figures.faults.total()} of {len(figures.faults)} kinds",
        f"{figures.lost}",
        f"{figures.stuck}",
        reasons or "0",
        recovery,
        "clean" if verdict.clean else f"{len(verdict.violations)} violations",
    )
    rows = {
        line.split("|")[1].strip(): line
        for line in read_part(page, _RUNS).splitlines()[2:]
        if line.startswith("|")
    }
    rows[f"{seed}"] = f"| {' | '.join(cells)} |"
    rule = "|---" * len(cells) + "|"
    in_order = [rows[each] for each in sorted(rows, key=int)]
    write_part(page, _RUNS, "\n".join((_HEAD, rule, *in_order)))


def write_mutants(page: Path, table: str) -> None:
    """Writes the table of the mutants. Raises BenchError if the page has no such marker lines."""
    write_part(page, _MUTANTS, table)
