"""``babygun workers``."""

from __future__ import annotations

import argparse

from babygun.cli.output import as_json, table
from babygun.cli.remote import Remote, call_api


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true")


def run(arguments: argparse.Namespace) -> int:
    async def work(remote: Remote) -> int:
        answer = await remote.call("GET", "/workers")
        workers = answer["workers"]
        if arguments.json:
            print(as_json(answer))
            return 0
        rows = [
            (
                w["id"],
                str(w["pid"]),
                w["ip"],
                w["last_checkin"][:19].replace("T", " "),
                str(w["checkins"]),
                str(w["in_flight"]),
                _slice(*w["slice"]),
            )
            for w in workers
        ]
        print(
            table(
                ("ID", "PID", "IP", "LAST CHECK-IN (UTC)", "CHECK-INS", "IN FLIGHT", "SLICE"), rows
            )
            if rows
            else "no live worker"
        )
        return 0

    return call_api(work)


def _slice(first: int, end: int) -> str:
    """The shards from the first to the last, as they stand in the job keys."""
    return f"{first:02x}-{end - 1:02x}" if end > first else "-"
