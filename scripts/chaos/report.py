"""Puts the results of runs into a page, between two marker lines: docs/reliability.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scripts.bench.report import read_part, write_part
from scripts.chaos.levels import Level
from scripts.chaos.verdict import Verdict

_RUNS, _SOAKS, _MUTANTS = "chaos:runs", "chaos:soaks", "chaos:mutants"
_HEAD = (
    "| seed | minutes | etcd members | load a second | acknowledged | messages | revisions |"
    " faults | lost | stuck | copies beyond the first | recovery | verdict |"
)
_LATENCIES = ("p50 to the 202", "p99 to the 202", "p50 to the receiver", "p99 to the receiver")
_SOAK_HEAD = (
    "| seed | minutes | acknowledged | a second | faults | lost | stuck |"
    " copies beyond the first | most memory grown | "
    + " | ".join(_LATENCIES)
    + " | etcd's file | verdict |"
)


def write_run(
    page: Path,
    verdict: Verdict,
    *,
    seed: int,
    minutes: float,
    members: int,
    rate: float,
    problems: Sequence[str],
) -> None:
    """Writes the row of a run; it takes the place of an earlier run with the seed.

    ``rate``: of the load, in e-mails a second. Raises BenchError if the page has no such marker
    lines.
    """
    figures = verdict.figures
    reasons = "; ".join(f"{n:,} {why}" for why, n in figures.duplicates.most_common())
    recovery = "" if figures.recovery is None else f"{figures.recovery:.1f} s"
    cells = (
        f"{seed}",
        f"{minutes:g}",
        f"{members}",
        f"{rate:.0f}",
        f"{figures.acknowledged:,}",
        f"{figures.messages:,}",
        f"{figures.revisions:,}",
        f"{figures.faults.total()} of {len(figures.faults)} kinds",
        f"{figures.lost}",
        f"{figures.stuck}",
        reasons or "0",
        recovery,
        "clean" if verdict.clean and not problems else _faulty(verdict, problems),
    )
    _write_row(page, _RUNS, _HEAD, cells)


def write_soak(
    page: Path,
    verdict: Verdict,
    found: Sequence[Level],
    *,
    seed: int,
    minutes: float,
    problems: Sequence[str],
) -> None:
    """Writes the row of a soak in the same way. Each level is that of the last two thirds."""
    figures = verdict.figures
    memory = [level for level in found if level.name.startswith("memory")]
    grown = max(memory, key=lambda level: level.last - level.middle, default=None)
    cells = (
        f"{seed}",
        f"{minutes:g}",
        f"{figures.acknowledged:,}",
        f"{figures.acknowledged / figures.seconds:.0f}" if figures.seconds else "",
        f"{figures.faults.total()} of {len(figures.faults)} kinds",
        f"{figures.lost}",
        f"{figures.stuck}",
        f"{figures.duplicates.total():,}",
        "" if grown is None else f"{grown.last - grown.middle:+.1f} MiB ({grown.name[10:]})",
        *(_change(found, name) for name in _LATENCIES),
        _change(found, "etcd's file"),
        "flat, clean" if verdict.clean and not problems else _faulty(verdict, problems),
    )
    _write_row(page, _SOAKS, _SOAK_HEAD, cells)


def _faulty(verdict: Verdict, problems: Sequence[str]) -> str:
    return f"{len(verdict.violations)} violations, {len(problems)} problems"


def _change(found: Sequence[Level], name: str) -> str:
    """A level in the middle third and in the last."""
    level = next((each for each in found if each.name == name), None)
    return "" if level is None else f"{level.middle:,.0f}, {level.last:,.0f} {level.unit}"


def _write_row(page: Path, part: str, head: str, cells: Sequence[str]) -> None:
    """``cells``: the first one is the seed."""
    rows = _rows(read_part(page, part))
    rows[cells[0]] = f"| {' | '.join(cells)} |"
    rule = "|---" * len(cells) + "|"
    in_order = [rows[each] for each in sorted(rows, key=int)]
    write_part(page, part, "\n".join((head, rule, *in_order)))


def write_mutants(page: Path, table: str, mistakes: Sequence[str]) -> None:
    """Writes the rows of the table; the rows of other mutants stay as they are.

    ``mistakes``: of all mutants there are, in their order. Raises BenchError if the page has no
    such marker lines.
    """
    rows = _rows(read_part(page, _MUTANTS)) | _rows(table)
    head = table.splitlines()[:2]
    write_part(page, _MUTANTS, "\n".join(head + [rows[each] for each in mistakes if each in rows]))


def _rows(table: str) -> dict[str, str]:
    """The lines below the head of a table in Markdown, by their first cell."""
    return {
        line.split("|")[1].strip(): line for line in table.splitlines()[2:] if line.startswith("|")
    }
