"""The rules. Each module has one in a variable: ``RULE = Rule(name, sentence, of_email=…)``.

The folder is the registry: a new module is a new rule.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from babygun.email.sending_domains import SendingDomain
from babygun.store import codec
from babygun.store.records import Worker
from babygun.store.tls_policies.known import StoredPolicy
from babygun.store.webhooks.records import SHORT_OF_ROOM
from scripts.chaos import registry
from scripts.chaos.history import (
    KEYS,
    Answered,
    Asked,
    Erased,
    Healed,
    History,
    Injected,
    ProcessEnded,
    ProcessPaused,
    ProcessWoken,
    Reached,
    Revision,
)
from scripts.chaos.states import Step
from scripts.chaos.story import Story

# s, by which an event may seem early or late: the watch and the harness have their own speed.
LAG = 0.5
# s, that a question to etcd may take, and its turn in the harness.
BUSY = 1.0
# What a fault can break.
EVERYTHING = frozenset(
    {"etcd", "api", "worker", "bounced", "relay", "site", "dns", "policy", "domain", "webhook"}
)


def _is_given_up(value: bytes) -> bool:
    last = codec.decode_notice(value).last if value else None
    return last is not None and last.error == SHORT_OF_ROOM


@dataclass(frozen=True)
class Violation:
    """A promise that was broken. ``seen`` and ``expected`` are whole clauses, for a person.

    ``rule``: filled in by the verdict. ``revision``: 0 if it is about none.
    """

    email_id: str
    at: float
    seen: str
    expected: str
    revision: int = 0
    rule: str = ""


@dataclass(frozen=True)
class Span:
    """From when to when a fault lasted, or a process was paused."""

    what: str
    begin: float
    end: float

    def meets(self, begin: float, end: float) -> bool:
        """Whether it has a moment in common with [begin, end]."""
        return self.begin <= end and begin <= self.end


class Run:
    """What rules of one e-mail need to know of the whole run."""

    def __init__(
        self,
        history: History,
        *,
        lease_ttl: float,
        touches: Mapping[str, frozenset[str]],
        retention: float,
    ) -> None:
        """``lease_ttl``: of workers; ``retention``: of records; both in seconds.

        ``touches``: what each fault breaks, by name.
        """
        self.history = history
        self.lease_ttl, self.retention = lease_ttl, retention
        self._touches = touches

    def touches(self, fault: str) -> frozenset[str]:
        """What a fault breaks. One that nobody knows may break everything."""
        return self._touches.get(fault, EVERYTHING)

    @cached_property
    def faults(self) -> list[Span]:
        """The faults, each until it healed."""
        healed = {event.turn: event.at for event in self.history.events(Healed)}
        return [
            Span(event.fault, event.at, healed.get(event.turn, self.history.end))
            for event in self.history.events(Injected)
        ]

    def faults_in(
        self, begin: float, end: float, *, touching: frozenset[str] = EVERYTHING
    ) -> list[str]:
        """Names of the faults that lasted at some moment of [begin, end], and broke such a part."""
        return sorted(
            {
                span.what
                for span in self.faults
                if span.meets(begin, end) and self.touches(span.what) & touching
            }
        )

    @cached_property
    def busy(self) -> list[Span]:
        """When the machine or the harness stood still: a question to etcd took longer than BUSY.

        So did whatever else the harness answers. While etcd is away that counts too.
        """
        found: list[Span] = []
        last = 0.0
        for event in self.history.events(Reached):
            if event.at - max(event.asked, last) > BUSY:
                found.append(Span("busy", event.asked, event.at))
            elif event.asked - last > BUSY:
                found.append(Span("busy", last, event.asked))
            last = event.at
        return found

    def was_busy(self, begin: float, end: float) -> bool:
        """Whether it was so at some moment of [begin, end]."""
        return any(span.meets(begin, end) for span in self.busy)

    @cached_property
    def pids(self) -> dict[str, int]:
        """Process ids of workers, by the ids that they had in etcd."""
        found: dict[str, int] = {}
        for event in self.history.events(Revision):
            if event.key.startswith(KEYS.workers) and not event.gone:
                worker = codec.decode_state(event.value, Worker)
                found[worker.id] = worker.pid
        return found

    @cached_property
    def lease_ids(self) -> dict[str, int]:
        """Leases of workers, by the ids that they had in etcd."""
        return {
            event.key[len(KEYS.workers) :].decode(): event.lease
            for event in self.history.events(Revision)
            if event.key.startswith(KEYS.workers) and not event.gone
        }

    @cached_property
    def ends(self) -> dict[int, ProcessEnded]:
        """How workers ended, by process id."""
        return {e.pid: e for e in self.history.events(ProcessEnded) if e.role == "worker"}

    def has_webhook(self, client: str) -> bool:
        """Whether a webhook takes a client's events, from before the first e-mail on."""
        return KEYS.client_webhooks(client) in self._webhooks

    @cached_property
    def _webhooks(self) -> set[bytes]:
        events = self.history.events(Revision)
        return {event.key for event in events if event.key.startswith(KEYS.webhooks)}

    @cached_property
    def given_up(self) -> set[str]:
        """The events that failed at some webhook since etcd was short of room."""
        return {
            KEYS.last_part(event.key)
            for event in self.history.events(Revision)
            if event.key.startswith(KEYS.sent_notices) and _is_given_up(event.value)
        }

    @cached_property
    def erased(self) -> dict[str, float]:
        """The addresses that were erased, and when that was answered as done."""
        return {event.address: event.at for event in self.history.events(Erased)}

    def suppressed(self, address: str) -> list[tuple[Revision, Revision | None]]:
        """The revisions since which an address was suppressed, and until which; None: it still is.

        Of any client and list: no two clients of the load have an address in common.
        """
        return self._suppressions.get(address, [])

    @cached_property
    def _suppressions(self) -> dict[str, list[tuple[Revision, Revision | None]]]:
        found: dict[str, list[tuple[Revision, Revision | None]]] = {}
        for event in self.history.events(Revision):
            if event.key.startswith(KEYS.suppressions):
                spans = found.setdefault(KEYS.parse_suppression(event.key)[2], [])
                if spans and spans[-1][1] is None:
                    if event.gone:
                        spans[-1] = spans[-1][0], event
                elif not event.gone:
                    spans.append((event, None))
        return found

    @cached_property
    def sending_domains(self) -> dict[str, tuple[float, SendingDomain]]:
        """The sending domains as they were last, each with the time since which it has signed."""
        found: dict[str, tuple[float, SendingDomain]] = {}
        for event in self.history.events(Revision):
            if event.key.startswith(KEYS.domains) and not event.gone:
                domain = codec.decode_state(event.value, SendingDomain)
                if any(one.state == "signing" for one in domain.selectors):
                    since = found.get(domain.name, (event.at, domain))[0]
                    found[domain.name] = since, domain
        return found

    @cached_property
    def enforced(self) -> dict[str, float]:
        """The recipient domains whose MTA-STS policy is enforced, and since when etcd has it."""
        found: dict[str, float] = {}
        for event in self.history.events(Revision):
            if event.key.startswith(KEYS.tls_policies) and not event.gone:
                stored = codec.decode_state(event.value, StoredPolicy)
                if stored.policy.mode == "enforce":
                    found.setdefault(stored.domain, event.at)
        return found

    @cached_property
    def pauses(self) -> dict[int, list[Span]]:
        """When workers stood still, by process id."""
        found: dict[int, list[Span]] = {}
        since: dict[int, float] = {}
        events: Iterator[ProcessPaused | ProcessWoken | ProcessEnded]
        events = self.history.events(ProcessPaused, ProcessWoken, ProcessEnded)
        for event in events:
            if isinstance(event, ProcessPaused):
                since[event.pid] = event.at
            elif event.pid in since:
                span = Span("paused", since.pop(event.pid), event.at)
                found.setdefault(event.pid, []).append(span)
        for pid, begin in since.items():
            found.setdefault(pid, []).append(Span("paused", begin, self.history.end))
        return found

    @cached_property
    def owned_when_killed(self) -> list[str]:
        """The e-mails that had an owner when its worker was killed, as the watch saw it."""
        owners: dict[bytes, str] = {}
        found = dict[str, None]()
        for event in self.history.events(Revision, ProcessEnded):
            if isinstance(event, ProcessEnded):
                if event.how == "SIGKILL":
                    found |= dict.fromkeys(
                        KEYS.parse_owner(key).email_id
                        for key, worker in owners.items()
                        if self.pids.get(worker) == event.pid
                    )
            elif isinstance(event, Revision) and event.key.startswith(KEYS.owners):
                owners.pop(event.key, None)
                if not event.gone:
                    owners[event.key] = codec.decode_owner(event.value).worker_id
        return list(found)

    @cached_property
    def requests(self) -> dict[int, tuple[Asked, Answered | None]]:
        """Every request with its answer, by number."""
        answers = {event.number: event for event in self.history.events(Answered)}
        return {
            event.number: (event, answers.get(event.number)) for event in self.history.events(Asked)
        }


@dataclass(frozen=True)
class Rule:
    """A promise. ``sentence`` says it. It looks at each e-mail, or at the whole run, or both."""

    name: str
    sentence: str
    of_email: Callable[[Story, Run], Iterator[Violation]] | None = None
    of_run: Callable[[Run], Iterator[Violation]] | None = None


def broken(story: Story, step: Step, seen: str, expected: str) -> Violation:
    """A violation at a revision."""
    return Violation(story.email_id, step.at, seen, expected, step.revision)


def all_rules() -> list[Rule]:
    """Every rule of this folder."""
    return registry.members(sys.modules[__name__], Rule)
