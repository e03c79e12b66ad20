"""When all is quiet again, nothing is left that belongs to nobody (invariant 9 too)."""

from __future__ import annotations

from collections.abc import Iterator

from scripts.chaos.history import KEYS, Footprint, Leftovers, Revision
from scripts.chaos.rules import LAG, Rule, Run, Violation

MORE_CONNECTIONS, MORE_DESCRIPTORS = 8, 32
MORE_MEMORY = 96 * 1024 * 1024  # bytes, beyond half as much again
# Leases of etcd without a key: of a process, kept ready; and of each fault that loses the answer
# to a grant. Such a lease ends with its time.
SPARE_LEASES, LOST_LEASES = 4, 4
LATE = 1.25  # of the retention: a content may go so late, and its record in time


def _check(run: Run) -> Iterator[Violation]:
    taken = list(run.history.events(Leftovers))
    before = next((each for each in taken if each.moment == "before"), None)
    after = next((each for each in reversed(taken) if each.moment == "after"), None)
    if after is None:
        return
    chunks, uploads = _uploads(run)
    found = (
        *_keys(after, chunks | _late(run, after)),
        *_leases(after, uploads, _most_leases(run)),
        *_footprints(before, after),
    )
    for seen, expected in found:
        yield Violation("", after.at, seen, expected)


def unsettled(before: Leftovers, after: Leftovers) -> bool:
    """Whether leases or connections are left that may still end by themselves."""
    return any((*_leases(after, set(), SPARE_LEASES), *_footprints(before, after)))


def _uploads(run: Run) -> tuple[set[bytes], set[int]]:
    """Chunks that hang on a lease, and all leases of uploads and holds. These end by themselves."""
    chunks, leases = set[bytes](), set[int]()
    for event in run.history.events(Revision):
        if event.key.startswith(KEYS.contents):
            (chunks.add if event.lease else chunks.discard)(event.key)
            leases.add(event.lease)
        elif event.key.startswith((KEYS.holds, KEYS.limits)):
            leases.add(event.lease)
    return chunks, leases


def _late(run: Run, after: Leftovers) -> set[bytes]:
    """Contents that may outlive their records: the retention of both has just ended."""
    final: dict[str, float] = {}  # since when, by e-mail
    for event in run.history.events(Revision):
        if event.key.startswith(KEYS.retention_kind("undelivered")) and not event.gone:
            final[KEYS.parse_end_mark(event.key)[1]] = run.history.made(event)[1]
    return {
        key
        for key in after.keys
        if key.startswith(KEYS.contents)
        and (since := final.get(key.split(b"/")[-2].decode())) is not None
        and run.retention - LAG <= after.at - since <= run.retention * LATE + run.lease_ttl
    }


def _keys(after: Leftovers, may_stay: set[bytes]) -> Iterator[tuple[str, str]]:
    ids = {KEYS.email_id(key) for key in after.keys if key.startswith(KEYS.emails)}
    for key in set(after.keys) - may_stay:
        text = key.decode(errors="replace")
        if key.startswith((KEYS.jobs, KEYS.waiting, KEYS.owners)):
            yield f"{text} is there", "no job, not-before key or owner when all e-mails are final"
        elif key.startswith((KEYS.contents, KEYS.logs, KEYS.parts)):
            if key.split(b"/")[-2].decode() not in ids:
                expected = "no content, log or part without a record"
                yield f"{text} is there without its record", expected
        elif key.startswith(KEYS.failures) and KEYS.email_id(key) not in ids:
            yield f"{text} is there without its record", "no mark of a failure without a record"
        elif key.startswith(KEYS.holds):
            yield f"{text} is there", "no hold when its relay works again"


def _most_leases(run: Run) -> int:
    losing = [fault for fault in run.faults if run.touches(fault.what) & {"etcd", "api", "worker"}]
    return SPARE_LEASES + LOST_LEASES * len(losing)


def _leases(after: Leftovers, uploads: set[int], most: int) -> Iterator[tuple[str, str]]:
    empty = [lease for lease, keys in after.leases.items() if not keys and lease not in uploads]
    if len(empty) > most:
        yield f"{len(empty)} leases without a key", f"at most {most}"


def _footprints(before: Leftovers | None, after: Leftovers) -> Iterator[tuple[str, str]]:
    """A process against the first one in its place: a restart makes no other one of it."""
    first = {(each.role, each.number): each for each in before.footprints} if before else {}
    for each in after.footprints:
        if (then := first.get((each.role, each.number))) is not None:
            yield from _grown(then, each)


def _grown(then: Footprint, now: Footprint) -> Iterator[tuple[str, str]]:
    name = f"{now.role} {now.number}"
    if now.connections > then.connections + MORE_CONNECTIONS:
        yield f"{name} has {now.connections} connections", f"about {then.connections}, as at first"
    if now.descriptors > then.descriptors + MORE_DESCRIPTORS:
        yield f"{name} has {now.descriptors} descriptors", f"about {then.descriptors}, as at first"
    most = then.memory * 3 // 2 + MORE_MEMORY
    if now.role in ("api", "worker") and now.memory > most:
        yield f"{name} has {now.memory >> 20} MiB", f"at most {most >> 20} MiB"


RULE = Rule(
    "nothing-left-behind",
    "When all is quiet, no key, lease, connection or descriptor is left, and memory is as before.",
    of_run=_check,
)
