"""The store's operations, each beside what the plain model says of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, NamedTuple

from msgspec import structs

from babygun.email import wide
from babygun.email.bounces import Bounce, Complaint
from babygun.email.compose import new_email
from babygun.email.edit import Edit
from babygun.email.model import Content, Email, Recipient
from babygun.email.return_path import of_recipient
from babygun.email.suppression import Suppression
from babygun.email.tries import QueueResult, RecipientResult, left_out
from babygun.errors import Conflict, LeaseNotFound, NotFound
from babygun.intake.ids import new_email_id
from babygun.runtime.clock import utc_now
from babygun.store import Store
from babygun.store.emails import acceptance, claims, late, on_request, schedule
from babygun.store.emails.finish import PendingResult, finish
from babygun.store.emails.new_email import prepare
from babygun.store.emails.reading import owned_by
from babygun.store.keys import JobRef, range_end
from babygun.store.suppressions import suppressions
from babygun.store.webhooks import change
from tests.store.emails.world import Operation, World
from tests.support import email_model as model
from tests.support.email_model import Mail
from tests.support.faulty_etcd import FaultyProcess

RESULTS = {
    model.DELIVER: RecipientResult("deliver", "success", 250),
    model.FAIL: RecipientResult("fail", "bad_mailbox", 550),
    model.RETRY: RecipientResult("retry", "greylisted", 451),
    model.HOLD: RecipientResult("hold", "authentication", 535),
    model.PUT_OFF: RecipientResult("put_off", "warm_up", retry_after=3600.0),
    model.GONE: RecipientResult("fail", "bad_mailbox", 550, suppress=True),
    model.SUPPRESS: left_out(Suppression("manual", utc_now())),
}
TOO_LATE = RecipientResult("retry", "expired", reason="too late")
LAYOUTS = ({"x@a": "a"}, {"x@a": "a", "y@b": "b"}, {"x@a": "a", "y@a": "a", "z@b": "b"})
MOST_EMAILS, MOST_WEBHOOKS = 3, 2
CONFLICT, NO_LEASE = "conflict", "no lease"


class Spec(NamedTuple):
    """What an operation is made from, in the world that is there then.

    ``seat``: of the worker that does it. ``email``: its place in the order of acceptance.
    """

    kind: str
    seat: int
    email: int
    queue: str
    outcomes: tuple[str, str, str]
    flag: bool


class Held(NamedTuple):
    """A claim that a worker knows of. ``number``: the model's; ``began``: its queue's part then."""

    claim: claims.Claim
    number: int
    began: model.Part


class Seat:
    """Where a process runs. When it dies, another one takes the seat.

    ``records``: of wide e-mails, as its last finish left them, and their revisions.
    """

    process: FaultyProcess
    worker_id, lease = "", 0

    def __init__(self) -> None:
        self.hand: dict[JobRef, Held] = {}
        self.records: dict[str, tuple[Email, int]] = {}


class Operations:
    """Makes operations. ``worker_of``: by the number of a claim. ``ended``: whose lease is gone."""

    def __init__(self, seats: list[Seat]) -> None:
        self._seats = seats
        self._numbers = itertools.count(1)
        self.worker_of: dict[int, str] = {}
        self.ended: set[str] = set()
        self._mails: Mapping[str, Mail] = {}  # as they are when an operation is made

    def made(self, spec: Spec, world: World) -> Operation | None:
        """None: it makes no sense in this world."""
        if spec.kind == "accept":
            return self._accept(spec, world)
        if spec.kind == "reconcile":
            return self._reconcile(spec)
        if spec.kind in ("webhook", "no webhook", "switch"):
            return self._webhook(spec, world)
        if spec.kind == "suppress":
            return self._suppress(spec)
        if not world.mails:
            return None
        self._mails = world.mails
        email_id = list(world.mails)[spec.email % len(world.mails)]
        queues = world.mails[email_id].queues
        ref = JobRef(email_id, spec.queue if spec.queue in queues else next(iter(queues)))
        kind, ref = self._fitting(spec, ref, world)
        make: Callable[[Spec, JobRef], Operation] = getattr(self, f"_{kind}")
        return make(spec, ref)

    def _fitting(self, spec: Spec, ref: JobRef, world: World) -> tuple[str, JobRef]:
        """What comes first, where the operation makes no sense yet."""
        hand, kind = self._seats[spec.seat].hand, spec.kind
        if kind in ("finish", "release", "reclaim") and hand:
            return kind, ref if ref in hand else next(iter(hand))
        if kind == "claim" and ref in hand:
            return "finish", ref  # a worker makes one try at a job at a time
        if kind in ("claim", "finish", "release", "reclaim"):
            for kind, place in (("claim", "job"), ("due", "waiting"), ("retry", "")):
                if fitting := [ref for ref, there in _unowned(world) if there == place]:
                    return kind, ref if ref in fitting else fitting[0]
            return "claim", ref
        return kind, ref

    def _accept(self, spec: Spec, world: World) -> Operation | None:
        key = f"k{spec.email}" if spec.flag else None
        if len(world.mails) >= MOST_EMAILS and key not in world.keys:
            return None
        queue_of = LAYOUTS[spec.outcomes.count(model.DELIVER) % len(LAYOUTS)]
        later = spec.queue == "b"
        email = new_email(
            new_email_id(),
            client_id="client",
            sender="me@example.com",
            subject="",
            recipients=tuple(Recipient(a, "to", queue) for a, queue in queue_of.items()),
            now=utc_now(),
            send_at=utc_now() + timedelta(hours=1) if later else None,
        )

        async def real(store: Store) -> str:
            content = Content("me@example.com", body="Hello\n")
            new = prepare(store, email, content)
            accepted = await acceptance.accept(store, "client", new, idempotency_key=key)
            return f"{accepted.email_id} {accepted.suppressed}"

        def expected(world: World) -> tuple[World, str]:
            if key is not None and key in world.keys:
                return world, world.keys[key]
            suppressed = world.suppressed & set(queue_of)
            mail = model.accept(queue_of, send_at=3600.0 if later else None, suppressed=suppressed)
            numbers = tuple(n for n, address in enumerate(queue_of) if address in suppressed)
            answer = f"{email.id} {numbers}"
            keys = world.keys if key is None else {**world.keys, key: answer}
            return replace(world.with_mail(email.id, mail), keys=keys), answer

        return Operation(0, real, expected)

    def _webhook(self, spec: Spec, world: World) -> Operation | None:
        """Makes a webhook, deletes the oldest or the newest one, or switches it on or off."""
        if spec.kind == "webhook":
            name = f"webhook {next(self._numbers)}"
            return None if len(world.webhooks) >= MOST_WEBHOOKS else self._new_webhook(name)
        if not world.webhooks:
            return None
        name = list(world.webhooks)[0 if spec.queue == "a" else -1]

        async def real(store: Store) -> bool:
            for webhook in await change.list_webhooks(store, "client"):
                if webhook.description == name:
                    if spec.kind == "no webhook":
                        return await change.delete_webhook(store, "client", webhook.id)
                    await change.change_webhook(
                        store, "client", webhook.id, lambda w: structs.replace(w, enabled=spec.flag)
                    )
                    return True
            return False

        def expected(world: World) -> tuple[World, bool]:
            if name not in world.webhooks:
                return world, False
            if spec.kind == "no webhook":
                return world.without_webhook(name), True
            return replace(world, webhooks={**world.webhooks, name: spec.flag}), True

        return Operation(0, real, expected)

    @staticmethod
    def _new_webhook(name: str) -> Operation:
        async def real(store: Store) -> bool:
            url = "https://receiver.example/"
            await change.create_webhook(store, "client", url=url, description=name)
            return True

        def expected(world: World) -> tuple[World, bool]:
            return replace(world, webhooks={**world.webhooks, name: True}), True

        return Operation(0, real, expected)

    def _claim(self, spec: Spec, ref: JobRef) -> Operation:
        seat = self._seats[spec.seat]
        worker, lease = seat.worker_id, seat.lease
        knows = spec.flag and not wide.MOST_QUEUES  # most jobs say that their e-mail is wide

        async def real(store: Store) -> Any:
            try:
                return await claims.claim(
                    store, ref, worker_id=worker, lease_id=lease, has_part=knows
                )
            except LeaseNotFound:
                return NO_LEASE

        def expected(world: World) -> tuple[World, Any]:
            mail = world.mails[ref.email_id]
            owner = mail.queues[ref.queue].owner
            if owner is not None and self.worker_of[owner] == worker:
                return world, owner  # by a claim whose answer was lost
            number = next(self._numbers)
            self.worker_of[number] = worker
            try:
                claimed = model.claim(mail, ref.queue, number)
            except model.Refused:
                return world, None
            if worker in self.ended:
                return world, NO_LEASE
            return world.with_mail(ref.email_id, claimed), number

        def then(world: World, expected: Any, answer: Any) -> None:
            if isinstance(answer, claims.Claim):
                assert answer.content is not None
                began = model.part(world.mails[ref.email_id], ref.queue)
                seat.hand[ref] = Held(answer, expected, began)

        def plain(answer: Any) -> Any:
            return "claimed" if isinstance(answer, (int, claims.Claim)) else answer

        return Operation(spec.seat, real, expected, then, plain, claims=True)

    def _finish(self, spec: Spec, ref: JobRef) -> Operation:
        """``flag``: of all queues of the e-mail that the worker has, as one change."""
        seat = self._seats[spec.seat]
        refs = [r for r in seat.hand if r == ref or (spec.flag and r.email_id == ref.email_id)]
        held = [seat.hand[r] for r in refs]
        addresses = dict(zip(LAYOUTS[-1], spec.outcomes, strict=True))
        known = {**addresses, "y@b": addresses["y@a"]}
        tries = [
            model.Try(
                one.claim.ref.queue, one.number, one.began, {a: (o, None) for a, o in known.items()}
            )
            for one in held
        ]

        async def real(store: Store) -> list[str]:
            pending = [
                PendingResult(
                    one.claim,
                    QueueResult(
                        one.claim.ref.queue,
                        seat.worker_id,
                        one.claim.claimed_at,
                        {address: RESULTS[outcome] for address, outcome in known.items()},
                    ),
                )
                for one in held
            ]
            record, revision = seat.records.pop(ref.email_id, (None, 0))
            finished = await finish(store, pending, email=record, email_revision=revision)
            after = finished.email
            if after is not None and after.wide is not None and not after.final:
                newest = wide.record_of(after), finished.email_revision
                seat.records[ref.email_id] = newest
            assert len(finished.written) + len(finished.dropped) == len(held)
            return [written.queue for written in finished.written]

        def expected(world: World) -> tuple[World, list[str]]:
            mail, written = model.finish(world.mails[ref.email_id], tries)
            return world.with_mail(ref.email_id, mail), written

        return Operation(spec.seat, real, expected, self._out_of_hand(seat, *refs), sorted)

    def _release(self, spec: Spec, ref: JobRef) -> Operation:
        seat = self._seats[spec.seat]
        held = seat.hand[ref]
        return Operation(
            spec.seat,
            lambda store: claims.release(store, ref, held.claim.owner_revision),
            self._changing(ref, lambda mail: model.release(mail, ref.queue, held.number)),
            self._out_of_hand(seat, ref),
        )

    def _reclaim(self, spec: Spec, ref: JobRef) -> Operation:
        seat = self._seats[spec.seat]
        held = seat.hand[ref]

        async def real(store: Store) -> Any:
            return await claims.reclaim(
                store, held.claim, worker_id=seat.worker_id, previous_worker_id="dead"
            )

        def then(world: World, expected: Any, answer: Any) -> None:
            seat.hand.pop(ref, None)
            if isinstance(answer, claims.Claim):
                began = model.part(world.mails[ref.email_id], ref.queue)
                seat.hand[ref] = Held(answer, held.number, began)

        reclaimed = self._changing(ref, lambda mail: model.reclaim(mail, ref.queue, held.number))
        return Operation(spec.seat, real, reclaimed, then, bool)

    def _reconcile(self, spec: Spec) -> Operation:
        """A worker releases the first job that it owns and does not know of."""
        seat = self._seats[spec.seat]
        worker, known = seat.worker_id, set(seat.hand)

        async def real(store: Store) -> bool:
            for ref, revision in await owned_by(store, worker):
                if ref not in known:
                    return await claims.release(store, ref, revision)
            return False

        def expected(world: World) -> tuple[World, bool]:
            for email_id, mail in sorted(world.mails.items()):
                for name, queue in sorted(mail.queues.items()):
                    unknown = JobRef(email_id, name) not in known
                    if (
                        queue.owner is not None
                        and unknown
                        and (self.worker_of[queue.owner] == worker)
                    ):
                        mail = model.release(mail, name, queue.owner)
                        return world.with_mail(email_id, mail), True
            return world, False

        return Operation(spec.seat, real, expected)

    def _suppress(self, spec: Spec) -> Operation:
        """A person puts an address on the list, or takes it off (``flag``)."""
        address = "x@a" if spec.queue == "a" else "y@b"

        async def real(store: Store) -> bool:
            if spec.flag:
                return await suppressions.remove(store, "client", address) is not None
            manual = Suppression("manual", utc_now())
            return (await suppressions.add(store, "client", address, manual))[1]

        def expected(world: World) -> tuple[World, bool]:
            changes = spec.flag == (address in world.suppressed)
            after = world.suppressed - {address} if spec.flag else world.suppressed | {address}
            return replace(world, suppressed=after), changes

        return Operation(0, real, expected, plain=lambda answer: True)

    def _due(self, spec: Spec, ref: JobRef) -> Operation:
        async def real(store: Store) -> bool:
            prefix = store.keys.waiting
            for kv in (await store.client.range(prefix, range_end(prefix))).kvs:
                if store.keys.parse_not_before(kv.key)[1] == ref:
                    return await schedule.make_due(store, kv.key, kv.value)
            return False

        return Operation(spec.seat, real, self._changing(ref, lambda m: model.due(m, ref.queue)))

    def _bounce(self, spec: Spec, ref: JobRef) -> Operation:
        """A bounce message comes; with ``flag`` about a delivery before the last retry."""

        async def real(store: Store) -> str:
            path = of_recipient(ref.email_id, address, retries, "client")
            report = Bounce(status_code=550, reply_class="bad_mailbox", suppress=gone)
            return await late.late_bounce(store, path, report)

        mail = self._mails[ref.email_id]
        address = next(a for a, queue in mail.queue_of.items() if queue == ref.queue)
        retries = max(0, mail.retries.get(address, 0) - spec.flag)
        gone = spec.outcomes[0] == model.GONE
        bounced = self._changing(ref, lambda m: model.late_bounce(m, address, retries, gone=gone))
        return Operation(0, real, bounced, plain=lambda answer: True)

    def _complaint(self, spec: Spec, ref: JobRef) -> Operation:
        async def real(store: Store) -> str:
            path = of_recipient(ref.email_id, address, 0, "client")
            return await late.complaint(store, path, Complaint())

        queue_of = self._mails[ref.email_id].queue_of
        address = next(a for a, queue in queue_of.items() if queue == ref.queue)
        complained = self._changing(ref, lambda m: model.complaint(m, address))
        return Operation(0, real, complained, plain=lambda answer: True)

    def _cancel(self, spec: Spec, ref: JobRef) -> Operation:
        async def real(store: Store) -> bool:
            return await _requested(on_request.cancel(store, ref.email_id))

        return Operation(0, real, self._changing(ref, model.cancel))

    def _send_now(self, spec: Spec, ref: JobRef) -> Operation:
        async def real(store: Store) -> bool:
            return await _requested(on_request.send_now(store, ref.email_id))

        return Operation(0, real, self._changing(ref, model.send_now))

    def _edit(self, spec: Spec, ref: JobRef) -> Operation:
        """Other tags; with ``flag`` also another time: later, or (queue ``b``) now."""
        tags, at = (f"tag-{next(self._numbers)}",), None
        if spec.flag:
            at = 0.0 if spec.queue == "b" else 7200.0
        send_at = None if at is None else utc_now() + timedelta(seconds=at)

        async def real(store: Store) -> bool:
            return await _requested(on_request.edit(store, ref.email_id, Edit(send_at, tags)))

        return Operation(0, real, self._changing(ref, lambda mail: model.edit(mail, at)))

    def _retry(self, spec: Spec, ref: JobRef) -> Operation:
        async def real(store: Store) -> bool:
            return await _requested(on_request.retry(store, ref.email_id))

        return Operation(0, real, self._changing(ref, model.retry))

    def _expire(self, spec: Spec, ref: JobRef) -> Operation:
        async def real(store: Store) -> bool:
            return await _requested(on_request.expire(store, ref, TOO_LATE, worker_id="w"))

        expired = self._changing(ref, lambda mail: model.expire(mail, ref.queue))
        return Operation(spec.seat, real, expired)

    @staticmethod
    def _changing(
        ref: JobRef, change: Callable[[Mail], Mail]
    ) -> Callable[[World], tuple[World, bool]]:
        """An operation on one e-mail that either changes it or does nothing."""

        def expected(world: World) -> tuple[World, bool]:
            try:
                return world.with_mail(ref.email_id, change(world.mails[ref.email_id])), True
            except model.Refused:
                return world, False

        return expected

    @staticmethod
    def _out_of_hand(seat: Seat, *refs: JobRef) -> Callable[[World, Any, Any], None]:
        """The worker is done with these jobs, whatever the answer."""

        def then(world: World, expected: Any, answer: Any) -> None:
            for ref in refs:
                seat.hand.pop(ref, None)  # gone already if the worker died

        return then


def _unowned(world: World) -> Iterator[tuple[JobRef, str]]:
    """The queues that nobody sends, with the places of their jobs; of what can go on."""
    for email_id, mail in world.mails.items():
        for name, queue in mail.queues.items():
            if queue.owner is None and mail.status != "complete":
                yield JobRef(email_id, name), queue.place


async def _requested(change: Any) -> bool:
    try:
        await change
    except (Conflict, NotFound):
        return False
    return True
