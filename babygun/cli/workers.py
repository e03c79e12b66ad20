"""``babygun workers``: lists the live workers."""

from __future__ import annotations

import argparse
from typing import Any

from babygun.cli.output import as_json, table
from babygun.cli.remote import Remote, call_api

_HEAD = ("ID", "PID", "IP", "LAST CHECK-IN (UTC)", "CHECK-INS", "IN FLIGHT", "SLICE")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    async def work(remote: Remote) -> int:
        answer = await remote.call("GET", "/workers")
        workers = answer["workers"]
        if arguments.json:
            print(as_json(answer))
            return 0
        print(table(_HEAD, [_row(worker) for worker in workers]) if workers else "no live worker")
        return 0

    return call_api(work)


def _row(worker: dict[str, Any]) -> tuple[str, ...]:
    return (
        worker["id"],
        str(worker["pid"]),
        worker["ip"],
        worker["last_checkin"][:19].replace("T", " "),
        str(worker["checkins"]),
        str(worker["in_flight"]),
        _slice(*worker["slice"]),
    )


def _slice(first: int, end: int) -> str:
    """The first and the last shard, in the form of the job keys."""
    return f"{first:02x}-{end - 1:02x}" if end > first else "-"
