"""Benchmarks of several parts, each with rows that say which targets were reached."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from babygun.dev.etcd.binary import EtcdBinary
from scripts.bench import machine, report
from scripts.bench.processes import BenchError, Stage
from scripts.bench.systems.babygun import etcd_binary

Say = Callable[[str], None]


def add_command(
    commands: Any, name: str, parts: Sequence[str], *, help: str
) -> argparse.ArgumentParser:
    """A verb with ``--only`` for some parts; ``commands``: argparse's subparsers."""
    command: argparse.ArgumentParser = commands.add_parser(name, help=help)
    command.add_argument(
        "--only", type=lambda text: text.split(","), default=list(parts), help=",".join(parts)
    )
    return command


def run(
    name: str,
    parts: Sequence[str],
    only: Sequence[str],
    say: Say,
    begin: Callable[[Stage, EtcdBinary], object],
) -> dict[str, Any]:
    """Runs the parts in ``only``: methods of what ``begin`` makes. Returns the whole result."""
    if unknown := set(only) - set(parts):
        raise BenchError(f"there is no part {', '.join(sorted(unknown))}; there are {parts}")
    with Stage() as stage:
        on = machine.describe(stage.folder)
        etcd = etcd_binary(say)
        runs = begin(stage, etcd)
        done = {part: getattr(runs, part)() for part in parts if part in only}
    rows = [row for part in done.values() for row in part["rows"]]
    problems = [
        f"{row['what']}: {row['found']}, not {row['target']}" for row in rows if not row["ok"]
    ]
    content = {"versions": {"etcd": etcd.version}, "parts": done, "problems": problems}
    return report.described(name, on, content)


def markdown(result: Mapping[str, Any], what: str, found: str) -> str:
    """A row for each figure with its target. ``what`` and ``found``: heads of two columns."""
    rows = [
        (row["what"], row["found"], row["target"], "yes" if row["ok"] else "**no**")
        for part in result["parts"].values()
        for row in part["rows"]
    ]
    table = report.table((what, found, "target", "reached"), rows)
    return f"{table}\n\n{report.made_on(result)}"
