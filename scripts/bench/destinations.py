"""Mail straight to the MX hosts of many domains, with relay mode in the same run beside it.

Each part has its target. The limits of sites are set so high that they do not bound it, except in
the part about limits.
"""

from __future__ import annotations

import argparse
import os
import signal
import time
from collections.abc import Mapping
from statistics import median
from typing import Any

from babygun.dev.etcd.binary import EtcdBinary
from babygun.runtime.processes.interpreter import python_command
from scripts.bench import parts
from scripts.bench.dns import address_of, is_hole, start_knot
from scripts.bench.limited_site import LimitedSite
from scripts.bench.loadgen import Sink, arrival_times, percentile, sent_times
from scripts.bench.measure import MIB, Measured, Numbers, measure
from scripts.bench.parts import Say
from scripts.bench.processes import BenchError, Stage
from scripts.bench.procstat import largest_peak
from scripts.bench.sampling import scraped
from scripts.bench.systems.babygun import Babygun

PARTS = ("ten", "thousand", "queues", "limits", "transactions")
_CONNECTIONS, _RATE = 2, 5  # what the limited site takes: at once, and a second
_WINDOW = 10.0  # seconds, any of which has at most so many times the rate
_LEASE = 10.0  # seconds: the default of lease_ttl
_FIRST = 300  # e-mails of a first, rough measurement
_MOST_MEMORY = 300.0  # MiB of a worker
_PROVIDERS = """\
[default]
mx = []
connections = 50
messages_per_connection = 1000
rate = "100000/s"

[bench-table]
mx = ["table.example"]
connections = 50
messages_per_connection = 20
rate = "100000/s"

[bench-limited]
mx = ["limited.example"]
connections = {connections}
messages_per_connection = 20
rate = "{rate}/s"
"""


def add_command(commands: Any) -> argparse.ArgumentParser:
    """``destinations`` on the command line; ``commands``: argparse's subparsers."""
    command = parts.add_command(
        commands,
        "destinations",
        PARTS,
        help="mail straight to MX hosts: rates, black holes, limits, transactions",
    )
    command.add_argument("--rounds", type=int, default=3, help="of the rates (default: 3)")
    command.add_argument("--seconds", type=float, default=8, help="of one rate (default: 8)")
    command.add_argument("--queues", type=int, default=100_000, help="(default: 100000)")
    command.add_argument("--minutes", type=float, default=5, help="of the limits (default: 5)")
    return command


def command(arguments: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Does the run that the command line asks for."""
    return parts.run(
        "destinations",
        PARTS,
        arguments.only,
        say,
        lambda stage, etcd: Destinations(stage, etcd, say, arguments),
    )


def markdown(result: Mapping[str, Any]) -> str:
    """A row for each figure, and whether its target was reached."""
    return parts.markdown(result, "what", "measured")


class Destinations:
    """The parts. Each has ``rows`` for the table, beside its figures."""

    def __init__(
        self, stage: Stage, etcd: EtcdBinary, say: Say, arguments: argparse.Namespace
    ) -> None:
        self._stage, self._etcd, self._say, self._given = stage, etcd, say, arguments
        self._sink, self._numbers = Sink(stage, address="0.0.0.0"), Numbers()  # noqa: S104
        self._providers = stage.folder / "providers.toml"
        self._providers.write_text(_PROVIDERS.format(connections=_CONNECTIONS, rate=_RATE))
        queues = max(arguments.queues, 1000)
        self._dns = start_knot(
            stage,
            {
                "tail.example": (queues, False),
                "holes.example": (queues, True),
                "table.example": (10, False),
                "limited.example": (1, False),
            },
        )

    def ten(self) -> dict[str, Any]:
        """10 domains on 10 addresses, and a relay that takes the same mail."""
        rounds = [
            {
                "relay": self._rate(10, "tail.example", relay=True)[0].rate,
                "mx": self._rate(10, "tail.example")[0].rate,
            }
            for _ in range(self._given.rounds)
        ]
        share = median(each["mx"] / each["relay"] for each in rounds)
        relay, mx = (median(each[name] for each in rounds) for name in ("relay", "mx"))
        found = f"{share:.0%} ({mx:,.0f} of {relay:,.0f} /s)"
        rows = [_row("10 domains, of the rate of a relay", found, "80 % or more", share >= 0.8)]
        return {"rounds": rounds, "rows": rows}

    def thousand(self) -> dict[str, Any]:
        """1,000 domains; no look-up was made before, in each round."""
        done = [
            self._rate(1000, "tail.example", warm=False)[0].as_dict()
            for _ in range(self._given.rounds)
        ]
        rate = median(each["rate"] for each in done)
        rows = [
            _row("1,000 domains, DNS cache cold once", f"{rate:,.0f} /s", "1,000 /s", rate >= 1000)
        ]
        return {"rounds": done, "rows": rows}

    def transactions(self) -> dict[str, Any]:
        """A worker's transactions for each e-mail: relay, sites of the table, other sites."""
        found = {
            "relay": self._rate(10, "table.example", relay=True)[1],
            "table": self._rate(10, "table.example")[1],
            "tail": self._rate(10, "tail.example")[1],
        }
        table, tail = found["table"] - found["relay"], found["tail"] - found["relay"]
        rows = [
            _row(
                "transactions an e-mail more, table", f"{table:+.3f}", "0.1 at most", table <= 0.1
            ),
            _row("transactions an e-mail more, others", f"{tail:+.3f}", "none", tail <= 0.01),
        ]
        return {"transactions": found, "rows": rows}

    def queues(self) -> dict[str, Any]:
        """A backlog with a domain for each e-mail, without black holes and with 1 % of them."""
        count = self._given.queues
        found = {zone: self._drained(zone, count) for zone in ("tail.example", "holes.example")}
        without, with_holes = found["tail.example"], found["holes.example"]
        times = with_holes["p99"] / without["p99"]
        memory = max(each["memory"] for each in found.values())
        return {
            "found": found,
            "rows": [
                _row(
                    f"{count:,} queues, 1 % black holes: p99 of the others",
                    f"{with_holes['p99']:.1f} s, {times:.2f} times that without",
                    "2 times at most",
                    times <= 2,
                ),
                _row(
                    f"{count:,} queues: memory of the worker",
                    f"{memory:,.0f} MiB",
                    f"{_MOST_MEMORY:.0f} MiB",
                    memory <= _MOST_MEMORY,
                ),
            ],
        }

    def limits(self) -> dict[str, Any]:
        """Three workers and one site with limits; one is killed, one is paused past its lease."""
        seconds = self._given.minutes * 60
        site = LimitedSite(address_of(0))
        site.start(self._stage.port())
        babygun = self._babygun(mx_port=site.port)
        try:
            babygun.start(workers=0)
            names = [self._start_worker(babygun, n) for n in range(3)]
            count = int(seconds * _RATE * 1.2) + 50
            mail = self._numbers.mail(count, domains=1, zone="limited.example")
            babygun.load(mail, batch=50, connections=2).wait()
            began = time.monotonic()
            _sleep_until(began + seconds * 0.3)
            os.kill(self._stage.pid(names[0]), signal.SIGKILL)
            self._say("limits: one worker is killed")
            _sleep_until(began + seconds * 0.5)
            site.ignored.add("worker-1")
            os.kill(self._stage.pid(names[1]), signal.SIGSTOP)
            self._say("limits: one worker is paused")
            _sleep_until(time.monotonic() + 2 * _LEASE)
            os.kill(self._stage.pid(names[1]), signal.SIGCONT)
            _sleep_until(time.monotonic() + 2)  # it closes what it has
            site.ignored.clear()
            _sleep_until(began + seconds)
            seen, came = site.seen, len(site.seen.messages)
            most = seen.most_within(_WINDOW)
        finally:
            self._stage.end("worker-0", "worker-1", "worker-2")
            babygun.stop()
            site.stop()
        used = came / (_RATE * seconds)
        allowed = int(_RATE * _WINDOW)
        return {
            "messages": [(at - began, name) for at, name in seen.messages],
            "crowds": [(at - began, names) for at, names in seen.crowds],
            "rows": [
                _row(
                    "connections to a limited site, of three workers together",
                    str(seen.most_open),
                    f"{_CONNECTIONS} at most",
                    seen.most_open <= _CONNECTIONS,
                ),
                _row(
                    f"its messages in any {_WINDOW:.0f} s",
                    str(most),
                    f"{allowed} at most",
                    most <= allowed,
                ),
                _row("its utilisation", f"{used:.0%}", "90 % or more", used >= 0.9),
            ],
        }

    def _rate(
        self, domains: int, zone: str, *, relay: bool = False, warm: bool = True
    ) -> tuple[Measured, float]:
        """One measurement end to end, and the worker's transactions for each of its e-mails."""
        babygun = self._babygun(relay=relay).start()
        try:
            self._measured(babygun, _FIRST, 10, "table.example")
            count = 2000
            if warm:
                done = self._measured(babygun, count, domains, zone)
                count = max(int(done.rate * self._given.seconds), 100)
            else:
                count = int(1000 * self._given.seconds)
            before = _transactions(babygun)
            done = self._measured(babygun, count, domains, zone)
            transactions = (_transactions(babygun) - before) / count
        finally:
            babygun.stop()
        how = "a relay" if relay else f"{domains:,} domains of {zone}"
        self._say(
            f"{how}: {done.rate:,.0f} e-mails/s, worker {done.cpu['worker']:,.0f} µs each,"
            f" {transactions:.2f} transactions each"
        )
        return done, transactions

    def _measured(self, babygun: Babygun, count: int, domains: int, zone: str) -> Measured:
        mail = self._numbers.mail(count, domains=domains, zone=zone)
        return measure(babygun, mail, self._sink, self._stage.folder)

    def _drained(self, zone: str, count: int) -> dict[str, float]:
        """Accepts an e-mail for each domain, then starts a worker. Seconds, MiB."""
        first = -self._numbers.used % count  # so that e-mail n goes to domain n % count
        self._numbers.mail(first)
        mail = self._numbers.mail(count, domains=count, zone=zone)
        others = [n for n in range(count) if zone != "holes.example" or not is_hole(n)]
        arrived, sent = self._stage.folder / "arrived", self._stage.folder / "sent"
        babygun = self._babygun()
        try:
            babygun.start(workers=0)
            babygun.load(mail, batch=100, connections=4, times=sent).wait()
            assert len(sent_times(sent)) == count
            self._sink.expect(mail, arrived)
            began = time.monotonic()
            babygun.start_workers(1)
            self._wait_for(len(others))
            memory = largest_peak(babygun.roles["worker"]) / MIB
        finally:
            babygun.stop()
        times = arrival_times(arrived)
        took = [times[n] - began for n in others]
        found = {
            "p50": percentile(took, 0.5),
            "p99": percentile(took, 0.99),
            "last": max(took),
            "memory": memory,
        }
        self._say(
            f"{count:,} queues of {zone}: p50 {found['p50']:.1f} s, p99 {found['p99']:.1f} s,"
            f" last {found['last']:.1f} s, worker {memory:,.0f} MiB"
        )
        return found

    def _wait_for(self, count: int, stall: float = 60.0) -> None:
        last, moved = -1, time.monotonic()
        while (now := self._sink.count().distinct) < count:
            if now != last:
                last, moved = now, time.monotonic()
            elif time.monotonic() - moved > stall:
                raise BenchError(f"{now:,} of {count:,} e-mails came, then none for {stall:g} s")
            self._stage.check()
            time.sleep(0.2)

    def _babygun(self, *, relay: bool = False, mx_port: int = 0) -> Babygun:
        settings = {
            "BABYGUN_RELAY_URL": "",
            "BABYGUN_DEFAULT": "mx",
            "BABYGUN_RESOLVERS": self._dns,
            "BABYGUN_MX_PORT": str(mx_port or self._sink.port),
            "BABYGUN_ALLOW_NETWORKS": "127.0.0.0/8",
            "BABYGUN_PROVIDERS": str(self._providers),
        }
        return Babygun(
            self._stage, self._sink.port, self._etcd, settings=None if relay else settings
        )

    def _start_worker(self, babygun: Babygun, number: int) -> str:
        """A worker of its own, which a signal reaches; its name in EHLO says which one it is."""
        name = f"worker-{number}"
        port = self._stage.port()
        environment = babygun.environment() | {
            "BABYGUN_SMTP_HOSTNAME": name,
            "BABYGUN_WORKER_PORT": str(port),
        }
        self._stage.start(name, python_command("babygun", "worker"), environment=environment)
        self._stage.ready(name, lambda: scraped(f"http://127.0.0.1:{port}/metrics") != {})
        return name


def _sleep_until(moment: float) -> None:
    time.sleep(max(moment - time.monotonic(), 0))


def _row(what: str, found: str, target: str, ok: bool) -> dict[str, Any]:
    return {"what": what, "found": found, "target": target, "ok": ok}


def _transactions(babygun: Babygun) -> float:
    """Transactions of the workers so far: those of batches, and those that went alone."""
    total = 0.0
    for url in babygun.worker_urls:
        total += _sum(scraped(f"{url}/metrics"))
    return total


def _sum(found: Mapping[str, float]) -> float:
    in_batches = found.get("babygun_etcd_batch_transactions_sum", 0.0)
    batches = found.get("babygun_etcd_batch_transactions_count", 0.0)
    rpcs = sum(
        value
        for name, value in found.items()
        if name.startswith("babygun_etcd_rpc_seconds_count") and 'txn"' in name.lower()
    )
    return in_batches + max(rpcs - batches, 0.0)
