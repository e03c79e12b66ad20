"""All states of one e-mail with two workers, on the real decisions of its life cycle.

What is decided comes from the package: the transitions of :mod:`babygun.email.lifecycle` and
:mod:`babygun.email.tries`, and what becomes of a result after a refused finish. What a transaction
compares and writes is written here after the table of docs/design/life-cycle.md. Time stands still:
a queue that waits may be due.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import cache
from typing import Any

import msgspec
from msgspec.structs import replace

from babygun.email import erasure, late, lifecycle, tries, wide
from babygun.email.bounces import Bounce, Complaint
from babygun.email.edit import Edit, edit
from babygun.email.model import Email, as_json, queue_recipients
from babygun.email.retry import Schedule
from babygun.email.return_path import of_recipient
from babygun.email.transition import Transition
from babygun.email.tries import RecipientResult
from babygun.errors import Conflict
from babygun.etcd import KeyValue
from babygun.store.emails.claims import Claim
from babygun.store.emails.finish import PendingResult, _fate
from babygun.store.keys import JobRef
from tests.email.steps import GONE, HARD, HELD, LEFT_OUT, NOW, OK, SOFT, result, submitted


def once_more(queue: str) -> Schedule:
    return Schedule((600.0,))


TOO_LATE = RecipientResult("retry", "expired")
OUTCOMES = {
    "ok": OK,
    "soft": SOFT,
    "hard": HARD,
    "hold": HELD,
    "gone": GONE,
    "unsent": LEFT_OUT,
}
WORKERS = (0, 1)


class Value(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """Hundreds of thousands are made, compared and looked up."""


class Budget(Value):
    """How often each may still happen. ``late``: requests that are lost, late or unanswered.

    ``ends``: of leases, by a death or by a stall. ``asked``: cancels, retries and expiries.
    ``gone``: bounces that suppress the address. ``webhooks``: one is made or deleted. ``back``:
    bounce messages and complaints that come back. ``erased``: recipients whose data are erased.
    """

    claims: int
    ends: int = 0
    late: int = 0
    asked: int = 0
    holds: int = 0
    gone: int = 0
    webhooks: int = 0
    back: int = 0
    erased: int = 0


class Owner(Value):
    """``life``: of the worker, which ends with its lease. ``claim``: the number of the claim."""

    worker: int
    life: int
    claim: int

    @property
    def since(self) -> tuple[int, int]:
        """Whose it is, whichever claim it came by."""
        return (self.worker, self.life)


class Queue(Value):
    """``place``: of its job. ``sent``: how often a server took the message for all that are left.

    ``half``: how often for the first of several recipients alone.
    """

    place: str
    owner: Owner | None = None
    sent: int = 0
    half: int = 0


class Try(Value):
    """What a worker does with a queue, in the ``phase`` claiming, sending or ended.

    ``began``: the record at the claim, and ``seen``: the newest that it knows. ``part``: the record
    that it knows its queue from. ``tried``: records whose write has an unknown outcome.
    ``asking``: its request is on the way. ``applied``: a request of it has taken effect, though it
    does not know.
    """

    phase: str
    owner: Owner
    began: int = 0
    seen: int = 0
    part: int = 0
    outcome: str = ""
    orphaned: bool = False
    tried: tuple[int, ...] = ()
    asking: bool = False
    applied: bool = False


class Request(Value):
    """A claim (without ``seen``), or a finish that was decided on the record ``seen``.

    ``part``: of a wide e-mail, the record whose queue it was decided on. ``webhook``: the revision
    of the client's webhooks that its notices were made by.
    """

    owner: Owner
    queue: str
    seen: int = 0
    part: int = 0
    outcome: str = ""
    orphaned: bool = False
    webhook: int = 0


class State(Value):
    """``record``: its number. ``tries``: by worker and queue. ``lives``: of each worker.

    ``suppressed``: queues whose address is suppressed. These have one recipient. ``webhook``: the
    revision of the client's webhook, 0 if it has none, and ``known`` what each worker knows of it.
    ``happened``: the numbers of the log entries that it should hear of. ``notices``: those that it
    has notices of.
    """

    record: int
    queues: tuple[tuple[str, Queue], ...]
    tries: tuple[tuple[tuple[int, str], Try], ...]
    lives: tuple[int, int]
    requests: frozenset[Request]
    left: Budget
    suppressed: frozenset[str] = frozenset()
    webhook: int = 0
    known: tuple[int, int] = (0, 0)
    happened: frozenset[int] = frozenset()
    notices: frozenset[int] = frozenset()


Step = tuple[str, State]
Change = tuple[int, tuple[tuple[str, str], ...]]  # the record after it, and the jobs' places


class Exploration:
    """The states that can be reached. Records have numbers, so that a state is small.

    ``is_wide``: the e-mail is a wide one. Its records are whole here, but each decision sees the
    part of its queue only. ``compares_record``, ``compares_part`` and ``compares_webhook``: whether
    a finish compares the revision of the record, that of the queue's part, and that of the client's
    webhooks.
    ``suppressed``: queues whose address is suppressed when the e-mail comes. ``waits``: it is to be
    sent later, and its client edits it.
    """

    def __init__(
        self,
        budget: Budget,
        *,
        is_wide: bool = False,
        compares_record: bool = True,
        compares_part: bool = True,
        compares_webhook: bool = True,
        suppressed: Sequence[str] = (),
        waits: bool = False,
        **queues: int,
    ) -> None:
        self._compares_record = compares_record
        self._compares_part = compares_part
        self._compares_webhook = compares_webhook
        self._waits = waits
        self._records: list[Email] = [None]  # type: ignore[list-item]  # from 1: 0 means none
        self._numbers: dict[bytes, int] = {}
        self.budget = budget
        addresses = [f"{queue}0@example.com" for queue in suppressed]
        send_at = NOW + timedelta(hours=1) if waits else None
        accepted = submitted(send_at=send_at, suppressed=addresses, **queues)
        self._decided = cache(self._decide)
        self._allowed = cache(self._allow)
        self._joined = cache(self._join)
        self._part = cache(self._part_of)
        record = self._number(wide.begun(accepted.email) if is_wide else accepted.email)
        place = "waiting" if waits else "job"
        ready = tuple(
            (queue, Queue("" if queue in accepted.final else place)) for queue in sorted(queues)
        )
        listed = frozenset(suppressed)
        self.start = State(record, ready, (), (0, 0), frozenset(), budget, listed)

    def email(self, state: State) -> Email:
        return self._records[state.record]

    def steps(self, state: State) -> Iterator[Step]:
        """What may happen next: its name, and the state after it."""
        for request in state.requests:
            yield from self._arrives(state, request)
        for (worker, queue), one in state.tries:
            yield from self._goes_on(state, worker, queue, one)
        for worker in WORKERS:
            yield from self._begins(state, worker)
        for name, queue in state.queues:
            if queue.place == "waiting":
                yield "due", _with_queue(state, name, replace(queue, place="job"))
        if state.left.webhooks:
            yield from _webhook_changes(_spent(state, webhooks=1), state.left.webhooks)
        if state.left.asked:
            yield from self._asks(state)
        if state.left.erased:
            erased = _spent(state, erased=1)
            sending = frozenset(name for name, queue in state.queues if queue.owner)
            for name, _ in state.queues:
                yield from self._changed(erased, f"erase {name}", sending)
        if state.left.back:
            back = _spent(state, back=1)
            for name, queue in state.queues:
                if queue.sent or queue.half:
                    yield from self._changed(back, f"bounce {name}", frozenset())
                    yield from self._changed(back, f"complain {name}", frozenset())

    def _asks(self, state: State) -> Iterator[Step]:
        asked = _spent(state, asked=1)
        sending = frozenset(name for name, queue in state.queues if queue.owner)
        events = ["cancel", "retry", "send_now", *(["edit", "edit tags"] if self._waits else [])]
        events += [f"expire {name}" for name, queue in state.queues if queue.place == "job"]
        for event in events:
            yield from self._changed(asked, event, sending)

    # Requests

    def _arrives(self, state: State, request: Request) -> Iterator[Step]:
        """etcd decides on a request. Its sender may wait, or have given up, or be dead."""
        worker, queue = request.owner.worker, request.queue
        before = replace(state, requests=state.requests - {request})
        after = self._finished(before, request) if request.seen else _claimed(before, request)
        one = dict(state.tries).get((worker, queue))
        waits = one is not None and one.asking and one.owner == request.owner
        if not waits or one is None:
            arrived = after or before
            if after and one is not None and request.seen and one.owner == request.owner:
                arrived = _with_try(after, worker, queue, replace(one, applied=True))
            yield "late request", arrived
            return
        heard = self._heard(after or before, queue, one, bool(after))
        known = after or _with_known(before, worker)  # it reads the webhooks after a refusal
        if after and request.seen:
            known = self._remembered(after, worker)
        yield "answer", _with_try(known, worker, queue, heard)
        if state.left.late:
            unheard = replace(one, applied=one.applied or bool(after))
            unanswered = _spent(after or before, late=1)
            yield "answer lost", self._unheard(unanswered, queue, unheard, request)

    def _finished(self, state: State, request: Request) -> State | None:
        """A finish: None if a compare refuses it."""
        queue = dict(state.queues)[request.queue]
        ours = (
            queue.place == "job" and not queue.owner
            if request.orphaned
            else (queue.owner == request.owner)
        )
        if not ours or (self._compares_record and state.record != request.seen):
            return None
        if self._compares_webhook and state.webhook != request.webhook:
            return None
        if self._compares_part:
            then, now = (self._part(at, request.queue) for at in (request.part, state.record))
            if then != now:
                return None
        event = _event(request.outcome, request.queue, request.owner)
        joined = self._joined(request.seen, request.part, request.queue)
        record, places = self._decided(joined, event, current=state.record)
        after = self._written(state, record, places, request.webhook)
        if request.outcome == "gone":  # in the same transaction
            after = replace(after, suppressed=state.suppressed | {request.queue})
        return after

    def _join(self, seen: int, part: int, queue: str) -> int:
        """What a finish is decided on: the newest record known, with the queue as it was known."""
        if seen == part or self._records[seen].wide is None:
            return seen
        parts = wide.parts_of(self._records[part], {queue})
        return self._number(wide.with_parts(wide.record_of(self._records[seen]), parts))

    def _part_of(self, record: int, queue: str) -> object:
        """A queue's part of a wide e-mail. Another e-mail has none: None."""
        email = self._records[record]
        return None if email.wide is None else wide.parts_of(email, {queue})

    def _remembered(self, state: State, worker: int) -> State:
        """Of a wide e-mail, a worker's other tries go on with the record that a finish left."""
        if self.email(state).wide is not None:
            for (other, queue), one in state.tries:
                if other == worker and one.phase != "claiming" and not one.asking:
                    state = _with_try(state, worker, queue, replace(one, seen=state.record))
        return state

    def _heard(self, state: State, queue: str, one: Try, applied: bool) -> Try | None:
        """What a worker does after an answer."""
        there = dict(state.queues)[queue]
        if one.phase == "claiming":
            if applied:
                return Try("sending", one.owner, state.record, state.record, state.record)
            if (
                there.owner and there.owner.since == one.owner.since
            ):  # by a claim of ours that was late
                return Try("sending", there.owner, state.record, state.record, state.record)
            return None
        return None if applied else self._read_back(state, queue, one)

    def _read_back(self, state: State, queue: str, one: Try) -> Try | None:
        """After a refused finish: None if the result is written or dropped."""
        there, began = dict(state.queues)[queue], self._records[one.began]
        owners = [KeyValue(b"", b"", there.owner.claim, 0, 0, 0)] if there.owner else []
        claim = Claim(JobRef("id", queue), began, 0, None, one.owner.claim, NOW)
        tried = [self._records[number] for number in one.tried]
        outcomes = [OK] * len(queue_recipients(began, queue))
        pending = PendingResult(claim, result(queue, began, *outcomes), one.orphaned, tried)
        fate = _fate(pending, self._records[state.record], owners, there.place == "job")
        assert fate != "written" or one.applied, "it is taken for written, and is not"
        if one.applied and state.record in one.tried:
            assert fate == "written", f"it is {fate}, and was written"
        elif not one.applied:
            ours = there.owner == one.owner or self._is_untouched(state, queue, one)
            assert (fate == "again") == ours, f"it is {fate}: {one}"
        if fate != "again":
            return None
        known = replace(one, seen=state.record, part=state.record)
        return replace(known, orphaned=pending.orphaned, asking=False)

    def _is_untouched(self, state: State, queue: str, one: Try) -> bool:
        """A stall: the job is there, nobody has it, and nobody has sent it since the claim."""
        there, began, now = dict(state.queues)[queue], self._records[one.began], self.email(state)
        erased = {n for n, r in enumerate(now.recipients) if r.erased_at}
        parts = [
            (
                email.queues[queue].tries,
                email.queues[queue].reclaims,
                [
                    (r.final and ("delivered" if r.late else r.status), r.tries)
                    for n, r in enumerate(email.recipients)
                    if r.queue == queue and n not in erased
                ],
            )
            for email in (began, now)
        ]
        return there.place == "job" and not there.owner and parts[0] == parts[1]

    def _unheard(self, state: State, queue: str, one: Try, request: Request) -> State:
        """The answer does not come. A claim is given up, a finish is written again."""
        after: Try | None = None
        if one.phase == "ended":
            event = _event(one.outcome, queue, one.owner)
            joined = self._joined(request.seen, request.part, queue)
            record, _ = self._decided(joined, event, current=request.seen)
            after = replace(one, asking=False, tried=(*one.tried, record))
        return _with_try(state, one.owner.worker, queue, after)

    # Workers

    def _begins(self, state: State, worker: int) -> Iterator[Step]:
        life, tries = state.lives[worker], dict(state.tries)
        for name, queue in state.queues:
            if (worker, name) in tries:
                continue
            if queue.owner and queue.owner.since == (worker, life):
                yield "reconcile", _with_queue(state, name, replace(queue, owner=None))
            # The workers are alike, so the first claim may as well be the first worker's.
            may_claim = worker == WORKERS[0] or state.left.claims < self.budget.claims
            if queue.place == "job" and state.left.claims and may_claim:
                owner = Owner(worker, life, self.budget.claims - state.left.claims + 1)
                asked = _spent(state, claims=1)
                asked = replace(asked, requests=state.requests | {Request(owner, name)})
                yield "claim", _with_try(asked, worker, name, Try("claiming", owner, asking=True))
        if state.left.ends:
            freed = _spent(state, ends=1)
            for name, queue in state.queues:
                if queue.owner and queue.owner.worker == worker:
                    freed = _with_queue(freed, name, replace(queue, owner=None))
            lives = tuple(n + (one == worker) for one, n in enumerate(state.lives))
            freed = replace(freed, lives=lives)  # type: ignore[arg-type]
            yield "stall", freed
            kept = tuple(entry for entry in freed.tries if entry[0][0] != worker)
            yield "death", replace(freed, tries=kept)

    def _goes_on(self, state: State, worker: int, queue: str, one: Try) -> Iterator[Step]:
        if one.asking:
            if state.left.late and any(r.owner == one.owner for r in state.requests):
                request = next(r for r in state.requests if r.owner == one.owner)
                yield "given up", self._unheard(_spent(state, late=1), queue, one, request)
        elif one.phase == "sending":
            if one.owner.life != state.lives[worker]:
                yield "lease not trusted", _with_try(state, worker, queue, None)
                return
            for outcome in self._outcomes(state, queue, one):
                ended = _with_try(
                    state, worker, queue, replace(one, phase="ended", outcome=outcome)
                )
                if outcome == "ok":
                    there = dict(state.queues)[queue]
                    ended = _with_queue(ended, queue, replace(there, sent=there.sent + 1))
                if outcome == "half":
                    there = dict(state.queues)[queue]
                    ended = _with_queue(ended, queue, replace(there, half=there.half + 1))
                if outcome == "hold":
                    ended = _spent(ended, holds=1)
                if outcome == "gone":
                    ended = _spent(ended, gone=1)
                yield outcome, ended
            if self.budget.ends > state.left.ends:
                yield from self._reclaimed(state, worker, queue, one)
        else:
            known = (one.seen, one.part)
            request = Request(
                one.owner, queue, *known, one.outcome, one.orphaned, state.known[worker]
            )
            asked = replace(state, requests=state.requests | {request})
            yield "finish", _with_try(asked, worker, queue, replace(one, asking=True))

    def _outcomes(self, state: State, queue: str, one: Try) -> Iterator[str]:
        """How a try may end. One that is not the first looks for suppressions before it sends."""
        first = tries.is_first(self._records[one.began], queue)
        if queue in state.suppressed and not first:
            yield "unsent"
            return
        yield from ("ok", "soft", "hard")
        if len(queue_recipients(self._records[one.began], queue)) > 1:
            yield "half"
        if state.left.holds:
            yield "hold"
        if state.left.gone:
            yield "gone"

    def _reclaimed(self, state: State, worker: int, queue: str, one: Try) -> Iterator[Step]:
        """The worker logs once that it took the job over from a dead one."""
        if not self._records[one.began].queues[queue].reclaims:
            record, _ = self._decided(state.record, f"reclaim {queue}")
            known = replace(one, began=record, seen=record, part=record)
            yield "reclaim", _with_try(replace(state, record=record), worker, queue, known)

    # Decisions

    def _changed(self, state: State, event: str, sending: frozenset[str]) -> Iterator[Step]:
        change = self._allowed(state.record, event, sending)
        if change is None:
            return
        record, places = change
        if event == "retry":  # a copy that came back is no duplicate
            for name in {
                r.queue for r in self.email(state).recipients if r.late and not r.erased_at
            }:
                queue = dict(state.queues)[name]
                state = _with_queue(state, name, replace(queue, sent=0, half=0))
        yield event, self._written(state, record, places, state.webhook)

    def _written(
        self, state: State, record: int, places: tuple[tuple[str, str], ...], webhook: int
    ) -> State:
        """After a change whose notices were made by this revision of the client's webhooks."""
        entry = frozenset({self._records[record].log_seq})
        return replace(
            _moved(state, record, places),
            record=record,
            happened=state.happened | entry if state.webhook else state.happened,
            notices=state.notices | entry if webhook else state.notices,
        )

    def _allow(self, record: int, event: str, sending: frozenset[str]) -> Change | None:
        """What is decided, or None where the e-mail does not allow it."""
        try:
            return self._decided(record, event, sending)
        except Conflict:
            return None

    def _decide(
        self,
        number: int,
        event: str,
        sending: frozenset[str] = frozenset(),
        current: int | None = None,
    ) -> Change:
        """The record after a change, and where the queues that it touches go.

        ``current``: the record that the change meets, by default the one that it was decided on.
        """
        before = self._records[number]
        words = event.split()
        transition = self._transition(_seen(before, words), words, sending)
        assert transition.email.log_seq == before.log_seq + 1 == transition.entry.seq
        places = (
            *((queue, "job") for queue in transition.ready),
            *((queue, "waiting") for queue, _ in transition.waiting),
            *((queue, "") for queue in transition.final),
        )
        met = before if current is None else self._records[current]
        return self._number(_met(met, transition)), places

    @staticmethod
    def _transition(email: Email, event: list[str], sending: frozenset[str]) -> Transition:
        match event:
            case ["finish", outcome, queue, claim]:
                first = next(r for r in email.recipients if r.queue == queue)
                outcomes = [
                    (OK if one is first else SOFT) if outcome == "half" else OUTCOMES[outcome]
                    for one in queue_recipients(email, queue)
                ]
                results = [result(queue, email, *outcomes)]
                now = NOW + timedelta(milliseconds=int(claim))  # no two results are alike
                return tries.finish(email, results, now=now, schedule=once_more, suppress=86400.0)
            case ["cancel"]:
                return lifecycle.cancel(email, sending=sending, now=NOW)
            case ["send_now"]:
                return lifecycle.send_now(email, sending=sending, now=NOW)
            case ["edit", *only]:
                number = email.log_seq + 1
                at = None if only else NOW + timedelta(hours=number + 1)
                edited = edit(email, Edit(at, (f"tag-{number}",)), sending=sending, now=NOW)
                assert edited is not None
                return edited
            case ["retry"]:
                return lifecycle.retry(email, now=NOW)
            case ["expire", queue]:
                return lifecycle.expire(
                    email, queue, sending=sending, worker_id="w", now=NOW, outcome=TOO_LATE
                )
            case ["bounce" | "complain" | "erase", queue]:
                return _about_first(email, event[0], queue, sending)
            case ["reclaim", queue]:
                return lifecycle.reclaim(
                    email, queue, worker_id="w", previous_worker_id="v", now=NOW
                )
        raise AssertionError(event)

    def _number(self, email: Email) -> int:
        """Records count from 1. An equal one has the same number, which is its revision, too."""
        encoded = as_json(email)
        if encoded not in self._numbers:
            self._records.append(email)
            self._numbers[encoded] = len(self._records) - 1
        return self._numbers[encoded]


def _about_first(email: Email, event: str, queue: str, sending: frozenset[str]) -> Transition:
    """What comes back about the first recipient of a queue, and its erasure."""
    first = next(r for r in email.recipients if r.queue == queue)
    if first.erased_at is not None:
        raise Conflict("nobody has this address any more")
    if event == "erase":
        return erasure.erase(email, first.email, sending=sending, now=NOW, size=0)
    if event == "complain":
        if first.complained_at is not None:
            raise Conflict("it is known")
        return late.complain(email, first, Complaint(), now=NOW, suppression=None)
    path = of_recipient(email.id, first.email, first.retried, email.client_id)
    if late.fate_of_bounce(path, first) != "apply":
        raise Conflict("it changes nothing")
    return late.bounce(email, first, Bounce(), now=NOW)


def _seen(email: Email, event: list[str]) -> Email:
    """What a decision sees: of a wide e-mail the event's queue, or all for a client's request."""
    if email.wide is None or event[0] in ("cancel", "edit", "retry", "send_now"):
        return email
    queue = event[2] if event[0] == "finish" else event[1]
    return wide.with_parts(wide.record_of(email), wide.parts_of(email, {queue}))


def _met(current: Email, transition: Transition) -> Email:
    """The record after the change. Of a wide e-mail, the parts that it does not write stay."""
    if current.wide is None:
        return transition.email
    written = wide.parts_of(transition.email, transition.changed)
    parts = {**wide.parts_of(current), **written}
    return wide.unlogged(wide.with_parts(wide.record_of(transition.email), parts))


def _event(outcome: str, queue: str, owner: Owner) -> str:
    return f"finish {outcome} {queue} {owner.claim}"


def _webhook_changes(state: State, revision: int) -> Iterator[Step]:
    """A client makes a webhook, or deletes it with its notices. The worker hears of it later."""
    if state.webhook:
        none = frozenset[int]()
        yield "no webhook", replace(state, webhook=0, happened=none, notices=none)
    else:
        yield "webhook", replace(state, webhook=revision)


def _with_known(state: State, worker: int) -> State:
    known = tuple(state.webhook if n == worker else old for n, old in enumerate(state.known))
    return replace(state, known=known)  # type: ignore[arg-type]


def _claimed(state: State, request: Request) -> State | None:
    """A claim: None if a compare, or the end of its lease, refuses it."""
    queue = dict(state.queues)[request.queue]
    alive = request.owner.life == state.lives[request.owner.worker]
    if queue.place != "job" or queue.owner or not alive:
        return None
    return _with_queue(state, request.queue, replace(queue, owner=request.owner))


def _moved(state: State, record: int, places: tuple[tuple[str, str], ...]) -> State:
    for name, place in places:
        queue = dict(state.queues)[name]
        state = _with_queue(state, name, replace(queue, place=place, owner=None))
    return state


def _with_queue(state: State, name: str, queue: Queue) -> State:
    return replace(
        state, queues=tuple((n, queue if n == name else other) for n, other in state.queues)
    )


def _with_try(state: State, worker: int, queue: str, one: Try | None) -> State:
    tries: dict[Any, Try] = dict(state.tries)
    tries.pop((worker, queue), None)
    if one is not None:
        tries[worker, queue] = one
    return replace(state, tries=tuple(sorted(tries.items(), key=lambda entry: entry[0])))


def _spent(state: State, **counts: int) -> State:
    left = state.left
    fewer = {name: getattr(left, name) - count for name, count in counts.items()}
    return replace(state, left=replace(left, **fewer))
