"""How long claims and reads take with more and more finished e-mails in the store.

The store is filled in steps, through API and worker. After each step an idle system is measured:
single e-mails from POST to the claim (by the log) and to the sink's 250, and calls of the API.
"""

from __future__ import annotations

import argparse
import http.client
import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from scripts.bench import machine, report
from scripts.bench.loadgen import Mail, Sink, percentile
from scripts.bench.measure import MIB, Numbers, measure
from scripts.bench.processes import BenchError, Stage
from scripts.bench.procstat import memory
from scripts.bench.sampling import scraped
from scripts.bench.systems.babygun import Babygun, etcd_binary

COUNTS = (1_000, 10_000, 100_000)
_CALLS = 60  # of each kind
_SINGLE, _SINGLE_RATE = 150, 25.0  # e-mails for the claim latency, and how many a second
_FIRST = "b0@example.net"  # the oldest e-mail's recipient, which is on the last page
_ALLOWED = 2.0  # times the first step's latency, plus 1 ms; more counts as growth

Say = Callable[[str], None]


def add_command(commands: Any) -> argparse.ArgumentParser:
    """``growth`` on the command line; ``commands``: argparse's subparsers."""
    command: argparse.ArgumentParser = commands.add_parser(
        "growth",
        help="claim and list latency with 1,000, 10,000 and 100,000 finished e-mails in the store",
    )
    command.add_argument(
        "--counts",
        type=_counts,
        default=COUNTS,
        help=f"finished e-mails (default: {','.join(map(str, COUNTS))})",
    )
    return command


def command(arguments: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Does the run that the command line asks for."""
    with Stage() as stage:
        on = machine.describe(stage.folder)
        etcd = etcd_binary(say)
        sink, numbers = Sink(stage), Numbers()
        babygun = Babygun(stage, sink.port, etcd).start()
        try:
            steps: list[dict[str, Any]] = []
            for count in arguments.counts:
                _fill(babygun, numbers, sink, stage, count - numbers.used)
                steps.append({"count": count, **_step(babygun, numbers, sink, stage)})
                say(
                    f"{count:,} e-mails: "
                    + ", ".join(
                        f"{name} {p50:.1f}" for name, (p50, _) in steps[-1]["latency"].items()
                    )
                )
        finally:
            babygun.stop()
    return report.described(
        "growth", on, {"versions": {"etcd": etcd.version}, "steps": steps, "problems": grown(steps)}
    )


def grown(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    """What takes longer in the last step than in the first, by the median; a sentence each."""
    first, last = steps[0], steps[-1]
    return [
        f"{name} took {first['latency'][name][0]:.1f} ms with {first['count']:,} e-mails"
        f" and {p50:.1f} ms with {last['count']:,}"
        for name, (p50, _) in last["latency"].items()
        if p50 > _ALLOWED * first["latency"][name][0] + 1
    ]


def markdown(result: Mapping[str, Any]) -> str:
    """A row for each kind of call, a column for each number of e-mails."""
    steps = result["steps"]
    header = ("p50 (p99), ms", *(f"{step['count']:,}" for step in steps))
    rows = [
        (
            name,
            *(f"{step['latency'][name][0]:.1f} ({step['latency'][name][1]:.1f})" for step in steps),
        )
        for name in steps[0]["latency"]
    ]
    rows += [
        (name, *(f"{step[key]:,.0f}" for step in steps))
        for name, key in (
            ("etcd's file in use, MiB", "in_use"),
            ("etcd's memory, MiB", "etcd"),
            ("API's memory, MiB", "api"),
        )
    ]
    problems = result["problems"]
    verdict = (
        "Nothing grows with the number of finished e-mails."
        if not problems
        else "**Grown:**\n\n" + "\n".join(f"* {problem}" for problem in problems)
    )
    return f"{report.table(header, rows)}\n\n{verdict}\n\n{report.made_on(result)}"


def _fill(babygun: Babygun, numbers: Numbers, sink: Sink, stage: Stage, count: int) -> None:
    while count > 0:
        part = min(count, 20_000)
        measure(babygun, numbers.mail(part), sink, stage.folder)
        count -= part


def _step(babygun: Babygun, numbers: Numbers, sink: Sink, stage: Stage) -> dict[str, Any]:
    api = _Api(babygun)
    latency: dict[str, tuple[float, float]] = {}
    mail: Mail = numbers.mail(_SINGLE)
    done = measure(babygun, mail, sink, stage.folder, rate=_SINGLE_RATE, latency=True).latency
    api.settled()
    newest = [email["id"] for email in api.get("/emails?limit=100")["emails"]]
    latency["POST to claimed"] = _spread([api.claimed_after(email_id) for email_id in newest])
    latency["POST to 202"] = done["accepted_p50"], done["accepted_p99"]
    latency["POST to 250"] = done["p50"], done["p99"]
    for name, path in (
        ("GET /emails", "/emails"),
        ("?status=complete", "/emails?status=complete"),
        ("?status=incomplete (none)", "/emails?status=incomplete"),
        ("?status=failed (none)", "/emails?status=failed"),
        (
            "?recipient= the newest's",
            f"/emails?recipient=b{mail.first + mail.count - 1}@example.net",
        ),
        ("?recipient= the oldest's", f"/emails?recipient={_FIRST}"),
        ("GET /emails/{id}", f"/emails/{newest[-1]}"),
        ("GET /emails/{id}/log", f"/emails/{newest[-1]}/log"),
        ("GET /overview", "/overview"),
    ):
        latency[name] = _spread([api.timed(path) for _ in range(_CALLS)])
    roles = {role: memory(pids) for role, pids in babygun.roles.items()}
    in_use = scraped(f"{babygun.endpoint}/metrics")["etcd_mvcc_db_total_size_in_use_in_bytes"]
    return {
        "latency": latency,
        "in_use": in_use / MIB,
        "etcd": roles["etcd"].rss / MIB,
        "api": roles["api"].pss / MIB,
    }


def _spread(milliseconds: Sequence[float]) -> tuple[float, float]:
    return percentile(milliseconds, 0.5), percentile(milliseconds, 0.99)


def _counts(text: str) -> tuple[int, ...]:
    counts = tuple(sorted(int(word) for word in text.split(",")))
    if len(counts) < 2 or counts[0] < 1:
        raise argparse.ArgumentTypeError(f"{text} is not two numbers or more")
    return counts


class _Api:
    """Calls of the API, on one connection."""

    def __init__(self, babygun: Babygun) -> None:
        parts = urlsplit(babygun.urls[0])
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        self._headers = {"Authorization": f"Bearer {babygun.token}"}

    def get(self, path: str) -> Any:
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            text = body[:500].decode(errors="replace")
            raise BenchError(f"GET {path} was answered with {answer.status}: {text}")
        return json.loads(body)

    def timed(self, path: str) -> float:
        """The milliseconds that a call took."""
        began = time.perf_counter()
        self.get(path)
        return (time.perf_counter() - began) * 1000

    def settled(self) -> None:
        """Waits until no e-mail is incomplete: results are written a moment after the arrival."""
        deadline = time.monotonic() + 30
        while self.get("/emails?status=incomplete")["emails"]:
            if time.monotonic() > deadline:
                raise BenchError("e-mails that arrived are still incomplete after 30 s")
            time.sleep(0.1)

    def claimed_after(self, email_id: str) -> float:
        """Milliseconds from the e-mail's acceptance to its claim."""
        at = {
            entry["event"]: datetime.fromisoformat(entry["at"])
            for entry in self.get(f"/emails/{email_id}/log")["entries"]
        }
        return (at["claimed"] - at["accepted"]).total_seconds() * 1000
