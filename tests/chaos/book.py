"""Writes histories by hand: e-mails live as the product's own life cycle says, or are broken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aetcd import rpc
from msgspec.structs import replace

from babygun.email import lifecycle, wide
from babygun.email.compose import new_email
from babygun.email.erasure import erase, without_address
from babygun.email.ids import email_id
from babygun.email.model import Email, Recipient
from babygun.email.retry import Schedule
from babygun.email.transition import Transition
from babygun.email.tries import QueueResult, RecipientResult, finish
from babygun.etcd import Op, Txn
from babygun.mime import message_id
from babygun.store import codec
from babygun.store.emails import writes
from babygun.store.emails.writes import Kept
from babygun.store.keys import JobRef
from babygun.store.records import IdempotencyRecord, Owner, Worker
from scripts.chaos.history import (
    KEYS,
    Answered,
    Asked,
    Call,
    Event,
    History,
    Mail,
    Notified,
    Received,
    Recorder,
    Revision,
    subject,
)
from scripts.chaos.verdict import Verdict, judge

A, B, C = "a@one.example", "b@one.example", "c@two.example"
TOUCHES = {f"{part}-away": frozenset({part}) for part in ("relay", "etcd", "api")}
LEASE_TTL = 4.0
RETENTION = 99  # the lease of final e-mails
DELIVER = RecipientResult("deliver", "delivered", 250)
DEFER = RecipientResult("retry", "greylisted", 451)
BOUNCE = RecipientResult("fail", "bad_mailbox", 550)
LEFT_OUT = RecipientResult("suppress", "hard_bounce", reason="suppressed")
HOLD = RecipientResult("hold", "refused", 554)
LOST = RecipientResult("retry", "uncertain", None)
_START = datetime(2026, 1, 1, tzinfo=UTC)


def three_tries(queue: str) -> Schedule:
    return Schedule((1.0, 1.0))


class Book:
    """One history. ``at`` and the revision go on with every event; ``judged`` ends it.

    ``is_wide``: whether its e-mails are wide. ``sender``: of those that are stored from now on.
    """

    is_wide = False
    sender = "me@example.com"

    def __init__(self, folder: Path) -> None:
        self._path = folder / "history"
        self._recorder = Recorder(self._path)
        self._live: dict[bytes, tuple[int, int]] = {}  # create revision and version
        self._values: dict[bytes, tuple[bytes, int]] = {}
        self.at, self.revision, self._emails = 10.0, 0, 0
        self.records: dict[str, Email] = {}
        for number, name in enumerate(("w1", "w2"), 1):
            self.worker(name, pid=100 + number, lease=70 + number)

    def add(self, event: Event) -> None:
        self._recorder.add(event)

    def later(self, seconds: float) -> None:
        self.at += seconds

    def write(
        self,
        puts: Sequence[tuple[bytes, bytes, int]] = (),
        gone: Sequence[bytes] = (),
    ) -> None:
        """One revision: keys that are put, with value and lease, and keys that are deleted."""
        self.revision += 1
        self.at += 0.1
        for key in gone:
            if self._live.pop(key, None):
                self._values.pop(key)
                self.add(Revision(self.at, self.revision, key, b"", 0, 0, 0, True))
        for key, value, lease in puts:
            created, version = self._live.get(key, (self.revision, 0))
            self._live[key] = created, version + 1
            self._values[key] = value, lease
            self.add(
                Revision(
                    self.at,
                    self.revision,
                    key,
                    value,
                    lease,
                    created,
                    version + 1,
                    False,
                    len(value),
                )
            )

    def worker(self, name: str, *, pid: int, lease: int) -> None:
        record = Worker(
            id=name,
            pid=pid,
            hostname="h",
            started_at=_START,
            last_checkin=_START,
            version="1",
            ip="127.0.0.1",
            checkins=1,
            in_flight=0,
            slice=(0, 256),
            draining=False,
            queues={},
            delivered=0,
            deferred=0,
            failed=0,
        )
        self.write([(KEYS.worker(name), codec.encode_state(record), lease)])

    @property
    def live(self) -> list[bytes]:
        """All keys that are there."""
        return list(self._live)

    def owner_key(self, found: str, queue: str = "one") -> bytes:
        return KEYS.owner(JobRef(found, queue))

    @property
    def now(self) -> datetime:
        return _START + timedelta(seconds=round(self.at, 1))

    # --- requests ---

    def mail(self, mark: str, *addresses: str, **more: object) -> Mail:
        return Mail(mark, addresses, "digest", **more)  # type: ignore[arg-type]

    def ask(
        self, call: Call, *mails: Mail, key: str | None = None, about: str | None = None
    ) -> int:
        number = self._recorder.next_number()
        self.add(Asked(self.at, number, "shop", 1, call, key, mails, about))
        return number

    def answer(self, number: int, status: int, *ids: str | None, problem: str = "") -> None:
        self.add(Answered(self.at, number, status, ids, problem))

    def posted(self, mark: str, *addresses: str, key: str | None = None) -> str:
        """An e-mail that was asked for, stored and acknowledged; returns its id."""
        mail = self.mail(mark, *addresses)
        number = self.ask("send", mail, key=key)
        found = self.store(mark, *addresses, key=key)
        self.answer(number, 202, found)
        return found

    # --- transitions ---

    def store(
        self, mark: str, *addresses: str, key: str | None = None, later: float | None = None
    ) -> str:
        """An e-mail is accepted; a recipient's queue is the first word of the domain."""
        self._emails += 1
        email = new_email(
            email_id(self._emails * 1_000_000, f"{self._emails:016x}"),
            client_id="shop",
            sender=self.sender,
            subject=subject("Hi", mark),
            recipients=tuple(Recipient(a, "to", _queue(a)) for a in addresses),
            now=self.now,
            send_at=None if later is None else self.now + timedelta(seconds=later),
        )
        if self.is_wide:
            email = wide.begun(email)
        transition = lifecycle.accept(email)
        ops = writes.acceptance(KEYS, transition)
        ops += writes.content(KEYS, transition.email, b"content")
        mark_key = [] if key is None else [self._idempotency(key, email.id)]
        self.write([*_puts(ops), *mark_key])
        self.records[email.id] = email
        return email.id

    def _idempotency(self, key: str, found: str) -> tuple[bytes, bytes, int]:
        record = codec.encode_state(IdempotencyRecord(found, "f"))
        return KEYS.idempotency("shop", key), record, RETENTION

    def claim(self, found: str, queue: str = "one", worker: str = "w1") -> None:
        lease = {"w1": 71, "w2": 72}[worker]
        owner = codec.encode_state(Owner(worker, self.now))
        self.write([(KEYS.owner(JobRef(found, queue)), owner, lease)])

    def lose(self, found: str, queue: str = "one") -> None:
        """The owner's lease runs out."""
        self.write(gone=[KEYS.owner(JobRef(found, queue))])

    def release(self, found: str, queue: str = "one") -> None:
        job = KEYS.job(JobRef(found, queue))
        self.write([(job, *self._values[job])], [KEYS.owner(JobRef(found, queue))])

    def due(self, found: str, queue: str = "one", *, leave: bool = False) -> None:
        """A not-before key becomes a job. ``leave``: the key stays, which is wrong."""
        key = next(k for k in self._live if k.startswith(KEYS.waiting) and found.encode() in k)
        job = KEYS.job(JobRef(found, queue)), *self._values[key]
        self.write([job], [] if leave else [key])

    def finish(
        self, found: str, result: RecipientResult, queue: str = "one", worker: str = "w1"
    ) -> None:
        email = self.records[found]
        results = {r.email: result for r in email.recipients if r.queue == queue and not r.final}
        one = QueueResult(queue, worker, self.now, results)
        transition = finish(email, [one], now=self.now, schedule=three_tries)
        self.change(transition, gone=[KEYS.owner(JobRef(found, queue))])

    def cancel(self, found: str, *sending: str) -> None:
        email = self.records[found]
        self.change(lifecycle.cancel(email, sending=sending, now=self.now), before=email)

    def erase(self, found: str, address: str) -> None:
        """An erasure in an e-mail to several: the log's entries first, then the record."""
        self.erase_in_log(found, address)
        email = self.records[found]
        transition = erase(email, address, sending=(), now=self.now, size=email.size - 1)
        self.change(transition, before=email)

    def erase_in_log(self, found: str, address: str) -> None:
        for key, (value, lease) in self.log_of(found).items():
            marked = without_address(codec.decode_log_entry(value), [address])
            self.write([(key, codec.encode_state(marked), lease)])

    def log_of(self, found: str) -> dict[bytes, tuple[bytes, int]]:
        """The keys of an e-mail's log, each with value and lease."""
        log = KEYS.log(found)
        return {key: value for key, value in self._values.items() if key.startswith(log)}

    def delete(self, found: str) -> None:
        """All keys of an e-mail go."""
        self.write(gone=[key for key in self._live if found.encode() in key])

    def change(
        self,
        transition: Transition,
        *,
        before: Email | None = None,
        gone: Sequence[bytes] = (),
        lease: int | None = None,
    ) -> None:
        """Writes a transition as the product does. ``lease``: another one, which is wrong."""
        email = transition.email
        kept = Kept(RETENTION if email.final else 0) if lease is None else Kept(lease)
        ops = writes.change(
            KEYS,
            transition,
            before=before,
            kept=kept,
            existing=set(self._live),
        )
        puts = _puts(ops, self._values)
        self.write(puts, [*(op.key for op in ops if op.kind == 1), *gone])
        self.records[email.id] = email

    def edit(self, found: str, **fields: object) -> None:
        """The record changes, without a transition."""
        email = replace(self.records[found], **fields)
        puts = [(KEYS.email(found), codec.encode_state(email), 0)]
        if self.is_wide:
            puts = [(KEYS.email(found), codec.encode_state(wide.record_of(email)), 0)]
            for queue, part in wide.parts_of(email).items():
                puts.append((KEYS.part(JobRef(found, queue)), codec.encode_state(part), 0))
        self.write(puts)
        self.records[found] = email

    # --- messages ---

    def receive(
        self,
        found: str,
        mark: str,
        *addresses: str,
        digest: str = "digest",
        committed: bool | None = True,
        shown: tuple[str, ...] = (),
        relay: str = "one",
        **more: Any,
    ) -> None:
        """``more``: further fields of :class:`Received`."""
        self.at += 0.05
        name = message_id(self.records[found]) if found in self.records else "<x@example.com>"
        self.add(
            Received(
                self.at,
                relay,
                mark,
                name,
                found,
                addresses,
                digest,
                "250 OK" if committed else "",
                committed,
                shown,
                **more,
            )
        )

    def notified(self, found: str, sequence: int, type: str, *whom: str, status: int = 204) -> None:
        """The webhook gets an event of an e-mail."""
        event_id = f"{found}-{sequence:04x}-{'+'.join(whom)}-{type}"
        self.add(Notified(self.at, event_id, type, found, sequence, whom, status))

    # --- the end ---

    def close(self) -> None:
        self._recorder.close()

    def history(self) -> History:
        self.close()
        return History(self._path)

    def judged(self) -> Verdict:
        return judge(self.history(), lease_ttl=LEASE_TTL, touches=TOUCHES)

    def broken(self) -> set[str]:
        """Names of the rules that find something."""
        return set(self.judged().rules)


def _queue(address: str) -> str:
    return address.rpartition("@")[2].partition(".")[0]


def _puts(
    ops: Sequence[Op], values: dict[bytes, tuple[bytes, int]] | None = None
) -> list[tuple[bytes, bytes, int]]:
    """Key, value and lease of the puts, read back from their protocol buffers."""
    found = []
    for request in rpc.TxnRequest.FromString(Txn([], ops).encoded).success:
        if request.WhichOneof("request") != "request_put":
            continue
        put = request.request_put
        value = values[put.key][0] if put.ignore_value and values else put.value
        found.append((put.key, value, put.lease))
    return found


Happens = Callable[[Book], None]  # writes a story
