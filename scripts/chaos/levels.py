"""Does everything level off? The last third of a run is compared with the middle third. Pure.

The first third is for warming up: pools fill, and etcd comes to hold what is retained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from babygun.routing.sites import MX
from scripts.bench.loadgen import percentile
from scripts.chaos.behaviours import behaviour_of
from scripts.chaos.history import (
    KEYS,
    Answered,
    Asked,
    Footprint,
    Healed,
    History,
    Injected,
    Received,
    Revision,
    Sampled,
)

MIB = 1 << 20
SOURCE = "steady-"  # its e-mails are timed: each is sent alone, and evenly
SETTLING = 10.0  # s after a healing, in which latency is not that of a quiet stage
BEFORE = 2.0  # s before a fault, after which an e-mail may still meet it
LEAST = 20  # e-mails of a third that must be timed
SLOWEST = 5  # e-mails that are named where a latency grew


@dataclass(frozen=True)
class Timed:
    """How long an e-mail took since it was asked for: to its answer, or to its receiver."""

    asked: float
    seconds: float


@dataclass(frozen=True)
class Level:
    """One quantity in the middle third, in the last third, and what it may be there at most."""

    name: str
    unit: str
    middle: float
    last: float
    most: float
    slowest: tuple[Timed, ...] = ()  # of the last third, for a latency

    @property
    def holds(self) -> bool:
        return self.last <= self.most

    def cells(self) -> tuple[str, ...]:
        """For a table: the name, and the three values."""
        values = (self.middle, self.last, self.most)
        return self.name, *(f"{value:,.1f} {self.unit}".rstrip() for value in values)


def levels(history: History) -> list[Level]:
    """All levels of a run with samples; none if it was too short to have thirds."""
    samples = list(history.events(Sampled))
    if len(samples) < 9:
        return []
    begin, end = samples[0].at, samples[-1].at
    first, second = begin + (end - begin) / 3, begin + 2 * (end - begin) / 3
    middle = [each for each in samples if first <= each.at < second]
    last = [each for each in samples if each.at >= second]
    return [
        *_of_processes(middle, last),
        *_of_etcd(middle, last),
        *_of_latency(history, (first, second), (second, end)),
    ]


def _of_processes(middle: Sequence[Sampled], last: Sequence[Sampled]) -> Iterator[Level]:
    """Each process in its place, against the largest of its role in the middle third.

    One that was started again begins small, and may become as large as the other is. A leak would
    show in the one that goes on.
    """
    for role, number in sorted({(f.role, f.number) for s in last for f in s.footprints}):
        for name, unit, size, rest in (
            ("memory", "MiB", lambda f: f.own / MIB, 16.0),
            ("descriptors", "", lambda f: float(f.descriptors), 32.0),
        ):
            numbers = {f.number for s in middle for f in s.footprints if f.role == role}
            then = max((_typical(middle, role, n, size) for n in numbers), default=0.0)
            now = _typical(last, role, number, size)
            yield Level(f"{name} of {role} {number}", unit, then, now, 1.1 * then + rest)


def _typical(
    samples: Sequence[Sampled], role: str, number: int, size: Callable[[Footprint], float]
) -> float:
    found = [
        size(each)
        for sampled in samples
        for each in sampled.footprints
        if (each.role, each.number) == (role, number)
    ]
    return median(found) if found else 0.0


def _of_etcd(middle: Sequence[Sampled], last: Sequence[Sampled]) -> Iterator[Level]:
    """What is retained is the same in both thirds, as the rate is.

    What is in use grows from one compaction to the next, so the highest value counts.
    """
    for name, unit, of, part, rest in (
        ("etcd's file", "MiB", max, lambda s: s.file / MIB, 32.0),
        ("etcd's file, in use", "MiB", max, lambda s: s.in_use / MIB, 32.0),
        ("keys in etcd", "", median, lambda s: float(s.keys), 2000.0),
        ("jobs and not-before keys", "", median, lambda s: float(s.unfinished), 200.0),
    ):
        then, now = (of([part(each) for each in samples]) for samples in (middle, last))
        yield Level(name, unit, then, now, 1.15 * then + rest)


def _of_latency(
    history: History, middle: tuple[float, float], last: tuple[float, float]
) -> Iterator[Level]:
    spans = quiet(history)
    for name, times in zip(("to the 202", "to the receiver"), timed(history), strict=True):
        then, now = (
            [
                each
                for each in times
                if begin <= each.asked < end
                and any(since <= each.asked < until for since, until in spans)
            ]
            for begin, end in (middle, last)
        )
        if min(len(then), len(now)) < LEAST:
            # Without enough of them nothing is shown.
            yield Level(f"e-mails timed {name}", "", len(then), len(now), -1.0)
            continue
        slowest = tuple(sorted(now, key=lambda each: -each.seconds)[:SLOWEST])
        for part, factor, rest in ((0.5, 1.5, 10.0), (0.99, 2.0, 100.0)):
            before, after = (
                percentile([1000 * each.seconds for each in third], part) for third in (then, now)
            )
            most = factor * before + rest
            yield Level(f"p{100 * part:.0f} {name}", "ms", before, after, most, slowest)


def quiet(history: History) -> list[tuple[float, float]]:
    """From when to when nothing was broken or about to break, and the last thing had settled.

    A relay that is held counts as broken: a hold outlives its fault by half a minute or more.
    """
    found: list[tuple[float, float]] = []
    since, broken = 0.0, set[int | str]()  # turns of faults, and names of holds
    what: int | str
    for event in history.events(Injected, Healed, Revision):
        if isinstance(event, Injected):
            what, breaks = event.turn, True
        elif isinstance(event, Healed):
            what, breaks = event.turn, False
        elif isinstance(event, Revision) and _is_hold_of_relay(event.key):
            what, breaks = KEYS.hold_name(event.key), not event.gone
        else:
            continue
        if not breaks:
            broken.discard(what)
            since = event.at + SETTLING
        elif what not in broken:
            if not broken and event.at - BEFORE > since:
                found.append((since, event.at - BEFORE))
            broken.add(what)
    if not broken:
        found.append((since, history.end))
    return found


def _is_hold_of_relay(key: bytes) -> bool:
    return key.startswith(KEYS.holds) and not key.startswith(KEYS.hold(MX))


def timed(history: History) -> tuple[list[Timed], list[Timed]]:
    """E-mails of one source that no server refuses: to their answers, and to their receivers."""
    answered, received = list[Timed](), list[Timed]()
    asked: dict[int, float] = {}  # by request
    sent: dict[str, float] = {}  # by mark
    for event in history.events(Asked, Answered, Received):
        if isinstance(event, Asked):
            mark = event.mails[0].mark if event.call == "send" else ""
            if mark.startswith(SOURCE) and mark not in sent and _is_easy(event):
                asked[event.number] = sent[mark] = event.at
        elif isinstance(event, Answered):
            at = asked.pop(event.number, None)
            if at is not None and event.status == 202:
                answered.append(Timed(at, event.at - at))
        elif isinstance(event, Received) and (at := sent.pop(event.mark, None)) is not None:
            received.append(Timed(at, event.at - at))
    return answered, received


def _is_easy(asked: Asked) -> bool:
    return behaviour_of(asked.mails[0].recipients[0]).kind == "ok"


def table(found: Sequence[Level]) -> str:
    """The levels for a terminal."""
    head = ("", "middle third", "last third", "at most")
    rows = [head, *(level.cells() for level in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    marks = ["", *("" if level.holds else "  <- TOO MUCH" for level in found)]
    return "\n".join(line + mark for line, mark in zip(lines, marks, strict=True))


def problems(found: Sequence[Level]) -> list[str]:
    """What has not levelled off, a sentence each; for a latency, with the slowest e-mails."""
    if not found:
        return ["the run was too short to have a middle and a last third"]
    return [_problem(level) for level in found if not level.holds]


def _problem(level: Level) -> str:
    name, middle, last, most = level.cells()
    slow = (f"{each.seconds:.1f} s for one asked at {each.asked:.1f} s" for each in level.slowest)
    return "; ".join(
        (f"{name}: {middle} in the middle third, {last} in the last; at most {most}", *slow)
    )
