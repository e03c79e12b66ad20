"""A sustained run: minutes of mail at two thirds of the highest rate. Does everything level off?

Memory and etcd's file may grow by what is retained, and no more. The last third of the run is
compared with the second. Before the load a few e-mails are scheduled for days later. They stay
incomplete, so they must be there at the end with their contents, whatever else is deleted early.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from statistics import median_high
from typing import Any

from scripts.bench import machine, report
from scripts.bench.loadgen import Sink
from scripts.bench.measure import MIB, Numbers, measure
from scripts.bench.processes import Stage
from scripts.bench.sampling import Sample, Sampler, Times
from scripts.bench.systems.babygun import Babygun, etcd_binary

PART = 2 / 3  # of the highest rate
_WARM_UP, _MEASURE = 3.0, 8.0  # s
_WAITING = 100  # e-mails that stay incomplete
# Bytes of etcd's file for a final e-mail beside its content: record, leases, unfilled pages.
_RECORD = 1900
# Bytes of etcd's heap for the keys of an e-mail: some 1,300, times five with GOGC=400.
_INDEX = 6500
_STALL = 60  # s without an arrival; then the missing e-mails count as lost

Say = Callable[[str], None]


def add_command(commands: Any) -> argparse.ArgumentParser:
    """``sustained`` on the command line; ``commands``: argparse's subparsers."""
    command: argparse.ArgumentParser = commands.add_parser(
        "sustained",
        help="minutes of mail at two thirds of the highest rate: does everything level off?",
    )
    command.add_argument("--minutes", type=float, default=10, help="default: 10")
    command.add_argument("--quota-mb", type=int, metavar="MIB", help="etcd's quota (default: 8192)")
    command.add_argument(
        "--rate",
        type=float,
        default=0,
        help="e-mails per second, instead of two thirds of the highest rate",
    )
    command.add_argument(
        "--size", type=int, default=1024, help="bytes of an e-mail (default: 1024)"
    )
    command.add_argument(
        "--every", type=float, default=5, help="seconds between two samples (default: 5)"
    )
    return command


def command(arguments: argparse.Namespace, say: Say) -> dict[str, Any]:
    """Does the run that the command line asks for."""
    with Stage() as stage:
        on = machine.describe(stage.folder)
        found = run(
            stage,
            say,
            minutes=arguments.minutes,
            quota_mb=arguments.quota_mb,
            rate=arguments.rate,
            size=arguments.size,
            every=arguments.every,
        )
    kind = "sustained-small" if arguments.quota_mb else "sustained"
    return report.described(kind, on, found)


def run(
    stage: Stage,
    say: Say,
    *,
    minutes: float,
    quota_mb: int | None,
    rate: float,
    size: int,
    every: float,
) -> dict[str, Any]:
    """Does the run; returns its result, with ``problems`` as sentences.

    ``rate`` 0: two thirds of the highest rate, which is measured first.
    """
    etcd = etcd_binary(say)
    sink, numbers = Sink(stage), Numbers()
    quota = quota_mb << 20 if quota_mb else 8 << 30
    babygun = Babygun(stage, sink.port, etcd, quota=quota).start()
    try:
        waiting = [_schedule(babygun, size, number) for number in range(_WAITING)]
        highest = 0.0
        if not rate:
            speed = measure(babygun, numbers.mail(1000, size=size), sink, stage.folder).rate
            speed = measure(
                babygun, numbers.mail(int(speed * _WARM_UP), size=size), sink, stage.folder
            ).rate
            highest = measure(
                babygun, numbers.mail(int(speed * _MEASURE), size=size), sink, stage.folder
            ).rate
            say(f"the highest rate is {highest:,.0f} e-mails a second")
            rate = PART * highest
        say(f"{rate:,.0f} e-mails per second for {minutes:g} minutes, quota {quota >> 20:,} MiB")
        mail = numbers.mail(int(rate * minutes * 60), size=size)
        sent_file, arrived_file = stage.folder / "sent", stage.folder / "arrived"
        sink.expect(mail, arrived_file)
        load = babygun.load(mail, rate=rate, times=sent_file, stall=_STALL)
        sampler = Sampler(babygun, sink, Times(sent_file, arrived_file))
        problems: list[str] = []
        while load.running:
            time.sleep(every)
            stage.check("load")
            say(line(sample := sampler.take()))
            if sample.alarm:
                problems.append(f"after {sample.at:.0f} s etcd raised an alarm: {sample.alarm}")
                break
        if problems:
            arrived, refused = sink.count(), 0
            stage.end("load")
        else:
            refused = load.wait().refused
            arrived = _wait(sink, mail.count - refused)
            if lost := mail.count - refused - arrived.distinct:
                problems.append(f"{lost} e-mails were acknowledged and did not arrive")
        if gone := _missing(babygun, waiting):
            problems.append(f"{gone} of {_WAITING} incomplete e-mails are not as they were")
        if refused:
            problems.append(f"{refused} e-mails were refused")
        if extra := arrived.messages - arrived.distinct:
            problems.append(f"{extra} e-mails came twice")
        problems += judged(sampler.samples, rate=rate, size=size, quota=quota / MIB)
    finally:
        babygun.stop()
    settings = {
        "minutes": minutes,
        "quota_mib": quota >> 20,
        "size": size,
        "rate": rate,
        "highest": highest,
    }
    return {
        "versions": {"etcd": etcd.version},
        "settings": settings,
        "problems": problems,
        "samples": [asdict(sample) for sample in sampler.samples],
    }


def judged(samples: Sequence[Sample], *, rate: float, size: int, quota: float) -> list[str]:
    """What is wrong, a sentence each. Sizes are in MiB, ``size`` in bytes."""
    if len(samples) < 9:
        return ["the run was too short to judge it"]
    problems = []
    third = len(samples) // 3
    middle, last = samples[third : 2 * third], samples[-third:]
    mails = last[-1].accepted - middle[-1].accepted
    slower = _slower(samples)
    reached = (samples[-1].accepted - samples[0].accepted) / (samples[-1].at - samples[0].at)
    if reached < 0.95 * rate:
        problems.append(
            f"it did not keep up: {reached:,.0f} of {rate:,.0f} e-mails a second{slower}"
        )
    backlog = last[-1].accepted - last[-1].delivered
    if backlog > 5 * rate:
        problems.append(f"{backlog:,} e-mails wait at the end{slower}")
    if last[-1].shed_contents > samples[0].shed_contents:
        # Contents were deleted early, so the size settles below where new mail is refused.
        if (most := max(sample.in_use for sample in samples)) > 0.9 * quota:
            problems.append(f"{most:,.0f} MiB were in use, more than 90 % of the quota")
        retained = max(0.9 * quota - _mean(middle, "in_use"), 0.0)
        more = max(_mean(last, "in_use") - _mean(middle, "in_use"), 0.0)
        index = more * _INDEX / (1.25 * size + _RECORD)
    else:
        retained, index = mails * (1.25 * size + _RECORD) / MIB, mails * _INDEX / MIB
    for name, allowed in (
        ("in_use", 1.25 * retained + max(32.0, 0.04 * quota)),
        ("etcd_anonymous", 1.25 * index + 96),
        ("api", 16.0),
        ("worker", 16.0),
    ):
        grown = _mean(last, name) - _mean(middle, name)
        if grown > allowed + 0.1 * _mean(middle, name) * (name != "in_use"):
            problems.append(
                f"{name} has grown by {grown:,.0f} MiB in the last third,"
                f" and what is retained explains {allowed:,.0f} MiB at most"
            )
    if (fullest := max(sample.file for sample in samples)) > 0.98 * quota:
        problems.append(f"etcd's file came to {fullest:,.0f} MiB, within 2 % of the quota")
    # A latency that grows is highest at the end; one that other programs caused has passed.
    end = samples[-max(3, third // 2) :]
    before, after = _median(middle, "p99"), _median(end, "p99")
    if after > max(2 * before, 200):
        problems.append(
            f"POST to 250 takes longer and longer: p99 {before:,.0f} ms in the second third,"
            f" {after:,.0f} ms at the end{slower}"
        )
    return problems


def _slower(samples: Sequence[Sample]) -> str:
    """Says so if the machine itself became slower; the load may have been too high then."""
    third = len(samples) // 3
    first, *later = (
        _median(samples[at : at + third], "sink_cpu")
        for at in (0, *range(third, len(samples) - third + 1))
    )
    slowest = max(later)
    if slowest <= 1.2 * first:
        return ""
    return (
        f" (the machine became slower: an e-mail cost the sink {first:.0f} µs of CPU in the first"
        f" third, {slowest:.0f} later)"
    )


def _median(samples: Sequence[Sample], name: str) -> float:
    return float(median_high(getattr(sample, name) for sample in samples))


def _mean(samples: Sequence[Sample], name: str) -> float:
    return float(sum(getattr(sample, name) for sample in samples) / len(samples))


def line(sample: Sample) -> str:
    """A sample for a person who watches."""
    return (
        f"accepted {sample.accept_rate:6,.0f}/s  delivered {sample.rate:6,.0f}/s"
        f"  p50 {sample.p50:5,.0f}  p99 {sample.p99:6,.0f} ms"
        f"  etcd's file {sample.file:6,.0f} MiB, in use {sample.in_use:6,.0f}"
        f"  memory: etcd {sample.etcd:6,.0f}, API {sample.api:4,.0f},"
        f" worker {sample.worker:4,.0f} MiB"
        f"  shed {sample.shed_contents}+{sample.shed_emails}"
    )


def markdown(result: Mapping[str, Any]) -> str:
    """A dozen of the samples as a table, and the problems."""
    samples = [Sample(**sample) for sample in result["samples"]]
    settings = result["settings"]
    header = (
        "s",
        "accepted /s",
        "delivered /s",
        "p50, ms",
        "p99, ms",
        "file, MiB",
        "in use",
        "etcd, MiB",
        "of that anonymous",
        "API",
        "worker",
        "shed: contents",
        "records",
        "sink's CPU, µs",
    )
    rows = [
        (
            f"{s.at:.0f}",
            f"{s.accept_rate:,.0f}",
            f"{s.rate:,.0f}",
            f"{s.p50:,.0f}",
            f"{s.p99:,.0f}",
            *(
                f"{value:,.0f}"
                for value in (s.file, s.in_use, s.etcd, s.etcd_anonymous, s.api, s.worker)
            ),
            f"{s.shed_contents:,}",
            f"{s.shed_emails:,}",
            f"{s.sink_cpu:.0f}",
        )
        for s in _thinned(samples)
    ]
    total = samples[-1].delivered if samples else 0
    highest = f", two thirds of {settings['highest']:,.0f}," if settings["highest"] else ""
    first = (
        f"{settings['rate']:,.0f} e-mails of {settings['size']:,} bytes a second{highest}"
        f" for {settings['minutes']:g} minutes ({total:,} delivered),"
        f" etcd's quota {settings['quota_mib']:,} MiB:"
    )
    verdict = "All as it should be."
    if result["problems"]:
        verdict = "\n".join(("**Problems:**\n", *(f"* {each}" for each in result["problems"])))
    return f"{first}\n\n{report.table(header, rows)}\n\n{verdict}\n\n{report.made_on(result)}"


def _thinned(samples: Sequence[Sample], most: int = 12) -> list[Sample]:
    if len(samples) <= most:
        return list(samples)
    return [samples[round(n * (len(samples) - 1) / (most - 1))] for n in range(most)]


def _wait(sink: Sink, count: int) -> Any:
    """Waits until ``count`` have arrived, or none comes any more; returns the counts."""
    last, moved = -1, time.monotonic()
    while (arrived := sink.count()).distinct < count and time.monotonic() - moved < _STALL:
        if arrived.distinct != last:
            last, moved = arrived.distinct, time.monotonic()
        time.sleep(0.2)
    return arrived


def _schedule(babygun: Babygun, size: int, number: int) -> tuple[str, str]:
    """Accepts an e-mail that is due in two days; returns its id and its text."""
    body = f"waiting {number} ".ljust(size, "w")
    due = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    answer = babygun.call(
        "/emails",
        {
            "sender": "bench@example.com",
            "to": ["later@example.net"],
            "subject": "later",
            "body": body,
            "send_at": due,
        },
    )
    return answer["id"], body


def _missing(babygun: Babygun, waiting: Iterable[tuple[str, str]]) -> int:
    """How many e-mails are not incomplete any more, or have lost their contents."""
    gone = 0
    for email_id, body in waiting:
        try:
            email = babygun.call(f"/emails/{email_id}")
            gone += email["status"] != "incomplete" or email["body"] != body
        except OSError:
            gone += 1
    return gone
