"""Breaks a stack of its own while mail flows, and checks that nothing is lost.

    make chaos MINUTES=10 SEED=7                       every fault at least once
    make chaos MINUTES=1 ARGS='--only kill-worker'     some faults
    make chaos ARGS='--list'                           what there is
    make soak MINUTES=30 SEED=7                        half of the highest rate: is all flat?

The same seed makes the same plan. The exit status is 0 if every rule holds.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from random import Random

from scripts.bench.processes import BenchError
from scripts.bench.systems.babygun import etcd_binary
from scripts.chaos.faults import all_faults
from scripts.chaos.history import History
from scripts.chaos.levels import levels, problems, table
from scripts.chaos.load import all_sources
from scripts.chaos.plan import TooShort
from scripts.chaos.report import write_run, write_soak
from scripts.chaos.run import Options, Outcome, Run, Unknown
from scripts.chaos.verdict import RETENTION, verdict

MOST = 60.0  # e-mails a second, on a machine that carries twice as many
# A soak is quiet for most of its time: that is what it compares.
SOAK_PAUSES = (20.0, 40.0)  # s
SOAK_SAMPLES = 5.0  # s
# So short that all goes that came in the first third, and the store levels off.
SOAK_RETENTION = 60.0  # s
SOAK_SETTINGS = {
    "BABYGUN_RETENTION": f"{SOAK_RETENTION:g}s",
    "BABYGUN_IDEMPOTENCY_RETENTION": f"{SOAK_RETENTION:g}s",
    "BABYGUN_WEBHOOK_RETENTION": f"{SOAK_RETENTION:g}s",
}


def main() -> int:
    arguments = _arguments()
    if arguments.list:
        names = {each.name: each.sentence for each in all_faults()}
        names |= {each.name: each.sentence for each in all_sources()}
        print("\n".join(f"{name:28} {sentence}" for name, sentence in names.items()))
        return 0
    seed = arguments.seed
    options = Options(
        seed=seed,
        seconds=arguments.minutes * 60,
        members=arguments.members or Random(f"{seed} members").choice((1, 3)),
        rate=arguments.rate,
        most=MOST,
        only=tuple(filter(None, arguments.only.split(","))),
        quiet=arguments.quiet,
    )
    if arguments.soak:
        options = replace(
            options,
            members=arguments.members or 1,
            most=math.inf,
            pauses=SOAK_PAUSES,
            samples=SOAK_SAMPLES,
            settings=SOAK_SETTINGS,
            spare=True,
        )
    rate = f"{options.rate:g} e-mails/s" if options.rate else "half of what is carried here"
    print(
        f"chaos: seed {seed}, {options.seconds:g} s, {options.members} etcd members, {rate}",
        flush=True,
    )
    with tempfile.TemporaryDirectory(prefix="babygun-chaos-", dir="/var/tmp") as temporary:
        folder = Path(temporary)
        if arguments.keep:
            folder = arguments.keep
            folder.mkdir(parents=True, exist_ok=True)
        return _run(options, folder, arguments.write)


def _run(options: Options, folder: Path, page: Path | None) -> int:
    def say(line: str) -> None:
        print(line, flush=True)

    try:
        run = Run(options, etcd_binary(say), all_faults(), all_sources(), say)
        outcome = asyncio.run(_until_signal(run, folder / "history"))
    except (BenchError, TooShort, Unknown) as error:
        print(error, file=sys.stderr)
        return 2
    except asyncio.CancelledError:
        print("interrupted: everything has ended, nothing was checked", file=sys.stderr)
        return 130
    history, minutes = History(folder / "history"), options.seconds / 60
    found = levels(history) if options.samples else []
    if options.samples:
        outcome.problems += problems(found)
        say(f"\n{table(found)}\n\nchecking every rule on every e-mail")
    judged = verdict(history, retention=SOAK_RETENTION if options.samples else RETENTION)
    print(_text(outcome), judged.text(), sep="\n", flush=True)
    if page and options.samples:
        write_soak(
            page, judged, found, seed=options.seed, minutes=minutes, problems=outcome.problems
        )
    elif page:
        write_run(
            page,
            judged,
            seed=options.seed,
            minutes=minutes,
            members=options.members,
            rate=outcome.rate,
            problems=outcome.problems,
        )
    return 0 if judged.clean and not outcome.problems else 1


async def _until_signal(run: Run, history: Path) -> Outcome:
    """Runs it. A signal ends it: all is undone, and every process has ended."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await run.run(history)


def _text(outcome: Outcome) -> str:
    planned = {turn.fault for turn in outcome.turns}
    lines = ["", f"faults: {len(outcome.done)} of {len(planned | set(outcome.impossible))}"]
    lines += [f"not possible here: {name}: {why}" for name, why in outcome.impossible.items()]
    lines += [f"no time was left for: {name}" for name in sorted(planned - outcome.done)]
    lines += [f"{name}: {number}" for name, number in outcome.counts.items()]
    lines += [f"PROBLEM: {problem}" for problem in outcome.problems]
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make chaos",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=10, help="of load (default: 10)")
    parser.add_argument("--seed", type=int, default=7, help="of the plan and the load")
    parser.add_argument("--only", default="", metavar="FAULT,…", help="these faults alone")
    parser.add_argument("--list", action="store_true", help="name all faults and sources of load")
    parser.add_argument("--members", type=int, choices=(1, 3), help="of etcd; else by the seed")
    parser.add_argument(
        "--rate",
        type=float,
        default=0.0,
        help="e-mails a second (default: half of what this machine carries,"
        f" at most {MOST:g} except in a soak)",
    )
    parser.add_argument(
        "--soak",
        action="store_true",
        help="few faults and samples of memory, latency and etcd's size: is all flat?",
    )
    parser.add_argument(
        "--quiet",
        type=float,
        default=240,
        metavar="SECONDS",
        help="after the load, until every e-mail must be final (default: 240)",
    )
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keeps history and logs there")
    parser.add_argument(
        "--write",
        type=Path,
        metavar="PAGE",
        help="also puts the figures into this page, such as docs/reliability.md",
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
