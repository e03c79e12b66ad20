"""Benchmarks: ``python -m scripts.bench --help`` lists them; docs/performance.md explains them."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from scripts.bench import (
    compare,
    destinations,
    growth,
    machine,
    page,
    report,
    scaling,
    sustained,
    webhooks,
)
from scripts.bench.processes import BenchError, Stage
from scripts.bench.systems.babygun import BabygunKind

STOPPED = 130
TABLES = report.TABLES | {
    "sustained": sustained.markdown,
    "sustained-small": sustained.markdown,
    "growth": growth.markdown,
    "destinations": destinations.markdown,
    "page": page.markdown,
    "webhooks": webhooks.markdown,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m scripts.bench",
        description="Measures Babygun, beside its peers and as its work grows.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    comparing = commands.add_parser(
        "compare", help="Babygun and the other systems that are installed, one table"
    )
    comparing.add_argument(
        "--rounds",
        type=_positive,
        default=3,
        help="how often each system is measured, in turn; medians count (default: 3)",
    )
    comparing.add_argument(
        "--seconds",
        type=float,
        default=8,
        help="rough length of one measurement (default: 8)",
    )
    comparing.add_argument(
        "--count", type=_positive, help="a fixed number of e-mails per measurement instead"
    )
    comparing.add_argument(
        "--minutes",
        type=float,
        default=8,
        help="no round begins that would end later (default: 8)",
    )
    comparing.add_argument(
        "--only", type=_names, default=[], help="some of babygun,postfix,celery,bullmq"
    )
    scale = commands.add_parser(
        "scaling",
        help="Babygun with more processes, a backlog, more recipients, larger e-mails, batches",
    )
    scale.add_argument(
        "--rounds",
        type=_positive,
        default=1,
        help="how often each case is measured, in turn; medians count (default: 1)",
    )
    scale.add_argument(
        "--seconds",
        type=float,
        default=8,
        help="rough length of one measurement (default: 8)",
    )
    scale.add_argument(
        "--only",
        type=_names,
        default=[],
        help=f"some of {','.join((*scaling.PARTS, scaling.BACKLOG))}",
    )
    scale.add_argument(
        "--backlog",
        type=_positive,
        default=100_000,
        help="e-mails of the backlog (default: 100000)",
    )
    lasting, growing = sustained.add_command(commands), growth.add_command(commands)
    painting, routing = page.add_command(commands), destinations.add_command(commands)
    hooking = webhooks.add_command(commands)
    showing = commands.add_parser("show", help="print the tables of a saved result")
    showing.add_argument("result", type=Path)
    for command in (comparing, scale, lasting, growing, routing, painting, hooking, showing):
        command.add_argument(
            "--write",
            type=Path,
            metavar="PAGE",
            help="also put the table into this page, between its marker lines",
        )
    comparing.set_defaults(run=_compare)
    scale.set_defaults(run=_scale)
    lasting.set_defaults(run=lambda arguments: sustained.command(arguments, _say()))
    growing.set_defaults(run=lambda arguments: growth.command(arguments, _say()))
    routing.set_defaults(run=lambda arguments: destinations.command(arguments, _say()))
    painting.set_defaults(run=lambda arguments: page.command(arguments, _say()))
    hooking.set_defaults(run=lambda arguments: webhooks.command(arguments, _say()))
    showing.set_defaults(run=lambda arguments: json.loads(arguments.result.read_text()))
    for command in (comparing, scale, lasting, growing, routing, painting, hooking):
        command.add_argument(
            "--output",
            type=Path,
            help=f"file for the result as JSON (default: {report.FOLDER.name}/<time>.json)",
        )
    arguments = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _stop)
    try:
        result: dict[str, Any] = arguments.run(arguments)
        text = TABLES[result["kind"]](result)
        print(f"\n{text}")
        if arguments.command != "show":
            print(f"\nresult: {report.save(result, arguments.output)}")
        if arguments.write:
            report.write_part(arguments.write, f"bench:{result['kind']}", text)
    except (BenchError, OSError, ValueError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: stopped", file=sys.stderr)
        return STOPPED
    return 1 if result.get("problems") else 0


def _compare(arguments: argparse.Namespace) -> dict[str, Any]:
    kinds, skipped = compare.prepared(arguments.only, _say())
    if not kinds:
        raise BenchError("nothing to measure: see above what is missing")
    with Stage() as stage:
        on = machine.describe(stage.folder)
        found, failed = compare.Comparison(
            stage, _say(), seconds=arguments.seconds, count=arguments.count
        ).run(kinds, arguments.rounds, arguments.minutes * 60)
    systems = [
        {
            "name": kind.name,
            "durable": kind.durable,
            "versions": dict(kind.versions()),
            "summary": compare.summary(found[kind.name]),
            "ratios": {
                other: compare.ratios(found[kind.name], found[other])
                for other in found
                if other != kind.name
            },
            "rounds": [
                {part: getattr(each, part).as_dict() for part in ("accept", "deliver", "light")}
                for each in found[kind.name]
            ],
        }
        for kind in kinds
        if kind.name in found
    ]
    return report.described("compare", on, {"systems": systems, "skipped": skipped | failed})


def _scale(arguments: argparse.Namespace) -> dict[str, Any]:
    known = (*scaling.PARTS, scaling.BACKLOG)
    wanted = arguments.only or known
    if unknown := set(wanted) - set(known):
        raise BenchError(
            f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(known)}"
        )
    kind = BabygunKind()
    kind.prepare(_say())
    with Stage() as stage:
        on = machine.describe(stage.folder)
        runs = scaling.Scaling(stage, kind.etcd, _say(), seconds=arguments.seconds)
        content: dict[str, Any] = {
            "versions": kind.versions(),
            "parts": {
                name: runs.part(name, arguments.rounds) for name in scaling.PARTS if name in wanted
            },
        }
        if scaling.BACKLOG in wanted:
            content["backlog"] = runs.backlog(arguments.backlog)
    return report.described("scaling", on, content)


def _say() -> Any:
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {line}", flush=True)

    return say


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _names(text: str) -> list[str]:
    return [name.strip().lower() for name in text.split(",") if name.strip()]


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
