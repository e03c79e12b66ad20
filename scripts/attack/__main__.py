"""Attacks a stack of its own on loopback, and prints what each attack did.

    make attack                      the whole of it, about two minutes
    make attack ARGS='--quick'       small bombs and floods, some seconds

While an attack runs, /healthz is asked all along. What is attacked gave way if that waits too long,
if a process takes too much memory, or if mail stays behind: then the exit status is 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator

from scripts.attack.bombs import MB
from scripts.attack.floods import FULL, QUICK, Figures, Scale, Target, attacks
from scripts.attack.mail import HOSTILE, Mail
from scripts.attack.mail_servers import Hostile, listening, polite
from scripts.bench.processes import BenchError, Stage
from scripts.bench.systems.babygun import Babygun, etcd_binary

ROW = "{:<62} {:>7} {:>9} {:>7} {:>9}  {:<26} {}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make attack", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small bombs and floods, some seconds")
    parser.add_argument(
        "--patience",
        type=float,
        default=0.5,
        metavar="SECONDS",
        help="how much longer than without an attack /healthz may wait (default: 0.5)",
    )
    parser.add_argument(
        "--memory",
        type=int,
        default=512,
        metavar="MIB",
        help="the most that an attack may add to a process's memory (default: 512)",
    )
    arguments = parser.parse_args()
    try:
        return asyncio.run(_run(arguments))
    except BenchError as error:
        print(error, file=sys.stderr)
        return 2


async def _run(arguments: argparse.Namespace) -> int:
    gave_way, alone = 0, 0.0
    print(ROW.format("attack", "seconds", "/healthz", "probes", "memory", "answers", "verdict"))
    async for figures in _attacked(QUICK if arguments.quick else FULL):
        alone = alone or figures.worst  # of the first row, without an attack
        fault = figures.what_gave_way(arguments.patience + alone, arguments.memory * MB)
        gave_way += bool(fault)
        print(
            ROW.format(
                figures.name,
                f"{figures.seconds:.1f}",
                f"{figures.worst * 1000:.0f} ms",
                figures.probes,
                f"+{figures.grown // MB} MiB",
                ", ".join(f"{each or 'none'}: {n}" for each, n in figures.answers.items()),
                f"GAVE WAY: {fault}" if fault else "held",
            ),
            flush=True,
        )
    print(f"{gave_way} gave way" if gave_way else "all held")
    return 1 if gave_way else 0


async def _attacked(scale: Scale) -> AsyncIterator[Figures]:
    """Starts a stack and two mail servers, and yields the figures of each attack."""
    hostile = Hostile()
    async with listening(polite) as good, listening(hostile.session) as bad:
        relays = {"bad": {"url": f"smtp://127.0.0.1:{bad}", "domains": [HOSTILE]}}
        settings = {
            "BABYGUN_RELAYS": json.dumps(relays),
            "BABYGUN_SMTP_TIMEOUT": "1s",  # a server that drips is cut off within the run
            "BABYGUN_SMTP_DATA_TIMEOUT": "1s",
            # A busy machine may keep even the polite server from an answer in time.
            "BABYGUN_RETRY_INTERVALS": ", ".join(["1s"] * 30),
            "BABYGUN_DRAIN_TIMEOUT": "1s",
        }
        with Stage() as stage:
            stack = Babygun(stage, good, etcd_binary(print), settings=settings)
            await asyncio.to_thread(stack.start)
            try:
                api, mail = Target(stack.urls[0], stack.roles["api"][0]), Mail(stack)
                yield await api.left_alone(scale)
                for attack in attacks(api, stack.token, scale):
                    yield await attack()
                yield await mail.beside_a_hostile_server(hostile, 20)
                yield await mail.after_all(api, 20)
            finally:
                await asyncio.to_thread(stack.stop)


if __name__ == "__main__":
    sys.exit(main())
