"""A plain model of one e-mail's life, written from docs/design/life-cycle.md.

It imports nothing of the package, so that it can't share a mistake with it. A state is immutable,
each operation gives the next state or raises Refused. Times are seconds since the acceptance.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

INTERVALS = (600.0, 1200.0)  # s, between tries: so there are three
LOG_ENTRIES = 32  # beyond it the oldest goes, but the first stays

# What a try did for one recipient, by the name of its action. GONE: it failed, since the mailbox
# does not exist, so the address is suppressed. SUPPRESS: it was left out, since it is suppressed.
# PUT_OFF: it may not be sent to before a time.
DELIVER, FAIL, RETRY, HOLD = "deliver", "fail", "retry", "hold"
GONE, SUPPRESS, PUT_OFF = "gone", "suppress", "put_off"
OPEN = ("pending", "deferred")
UNTRIED = (HOLD, PUT_OFF, SUPPRESS)


class Refused(Exception):
    """The operation changes nothing in this state."""


@dataclass(frozen=True)
class Queue:
    """``place``: where its job is: ``job``, ``waiting`` (until ``due``), or ``""`` when final.

    ``owner``: the number of the claim that owns it. ``sends``: tries that ended since it was
    accepted or retried. ``reclaims``: workers in a row that took it over. ``done``: of a try in
    rounds, the deferred ones that have had their turn; they are due ``again`` at this time.
    """

    place: str
    due: float | None = None
    tries: int = 0
    owner: int | None = None
    sends: int = 0
    reclaims: int = 0
    done: frozenset[str] = frozenset()
    again: float | None = None


# What a try changes of its queue: the queue's numbers, and the recipients that are final.
Part = tuple[int, int, frozenset[tuple[str, str]]]


@dataclass(frozen=True)
class Try:
    """A try that has ended. ``claim``: its number. ``began``: :func:`part` at the claim.

    ``outcomes``: action and the server's own wait, by address. An address without one failed
    softly; ``in_rounds``: it is as before, and has its turn in another round.
    """

    queue: str
    claim: int
    began: Part
    outcomes: Mapping[str, tuple[str, float | None]]
    in_rounds: bool = False


@dataclass(frozen=True)
class Mail:
    """One e-mail. ``statuses``: by address. ``log``: the events, as far as they are kept.

    ``changes``: of the record, since the acceptance. ``gone``: addresses that its last change has
    suppressed. ``late``: those that bounced after their delivery. ``retries``: by address, how
    often a client had it tried again. ``complained``: those who called it spam. ``tries``: by
    address, those that it had.
    """

    queue_of: Mapping[str, str]
    statuses: Mapping[str, str]
    queues: Mapping[str, Queue]
    log: tuple[str, ...] = ("accepted",)
    changes: int = 0
    ends: float | None = None
    gone: frozenset[str] = frozenset()
    late: frozenset[str] = frozenset()
    retries: Mapping[str, int] = field(default_factory=dict)
    complained: frozenset[str] = frozenset()
    tries: Mapping[str, int] = field(default_factory=dict)

    @property
    def status(self) -> str:
        if any(queue.place for queue in self.queues.values()):
            return "incomplete"
        found = set(self.statuses.values())
        if "cancelled" in found:
            return "cancelled"
        return "complete" if found in ({"delivered"}, {"delivered", "suppressed"}) else "failed"

    @property
    def final(self) -> bool:
        return self.status != "incomplete"

    def with_queue(self, name: str, queue: Queue) -> Mail:
        return replace(self, queues={**self.queues, name: queue})

    def logged(self, event: str, gone: frozenset[str] = frozenset()) -> Mail:
        log = (*self.log, event)
        kept = (log[0], *log[1:][-(LOG_ENTRIES - 1) :])
        return replace(self, log=kept, changes=self.changes + 1, gone=gone)

    def stopped(self, queues: Collection[str], status: str) -> Mail:
        """Queues that end without a try: their open recipients get this status."""
        statuses = {
            address: status if self.queue_of[address] in queues and old in OPEN else old
            for address, old in self.statuses.items()
        }
        ended = {
            name: replace(queue, place="", due=None) if name in queues else queue
            for name, queue in self.queues.items()
        }
        return replace(self, statuses=statuses, queues=ended)


def accept(
    queue_of: Mapping[str, str],
    *,
    send_at: float | None = None,
    ends: float | None = None,
    suppressed: Collection[str] = (),
) -> Mail:
    """``queue_of``: the recipients' queues, by address. ``suppressed``: they are not sent to."""
    queue = Queue("job") if send_at is None else Queue("waiting", send_at)
    to_send = {name for address, name in queue_of.items() if address not in suppressed}
    return Mail(
        queue_of,
        {a: "suppressed" if a in suppressed else "pending" for a in queue_of},
        {name: queue if name in to_send else Queue("") for name in queue_of.values()},
        ends=ends,
    )


def claim(mail: Mail, name: str, number: int) -> Mail:
    queue = mail.queues[name]
    if queue.place != "job" or queue.owner is not None:
        raise Refused
    return mail.with_queue(name, replace(queue, owner=number))


def release(mail: Mail, name: str, number: int) -> Mail:
    queue = mail.queues[name]
    if queue.owner != number:
        raise Refused
    return mail.with_queue(name, replace(queue, owner=None))


def lease_ends(mail: Mail, claims: Collection[int]) -> Mail:
    """The owner keys of these claims go."""
    for name, queue in mail.queues.items():
        if queue.owner in claims:
            mail = mail.with_queue(name, replace(queue, owner=None))
    return mail


def reclaim(mail: Mail, name: str, number: int) -> Mail:
    queue = mail.queues[name]
    if queue.owner != number:
        raise Refused
    return mail.with_queue(name, replace(queue, reclaims=queue.reclaims + 1)).logged("reclaimed")


def due(mail: Mail, name: str) -> Mail:
    queue = mail.queues[name]
    if queue.place != "waiting":
        raise Refused
    return mail.with_queue(name, replace(queue, place="job"))


def cancel(mail: Mail) -> Mail:
    """Stops what nobody is sending."""
    stopped = [n for n, queue in mail.queues.items() if queue.place and queue.owner is None]
    if not stopped:
        raise Refused
    return mail.stopped(stopped, "cancelled").logged("cancelled")


def send_now(mail: Mail) -> Mail:
    """Makes ready what waits, or was due and nobody has begun yet."""
    hurried = [
        name
        for name, queue in mail.queues.items()
        if queue.place and queue.owner is None and queue.due is not None
    ]
    if not hurried:
        raise Refused
    for name in hurried:
        mail = mail.with_queue(name, replace(mail.queues[name], place="job", due=None))
    return mail.logged("due_now")


def edit(mail: Mail, at: float | None = None, now: float = 0.0) -> Mail:
    """Other tags; with ``at`` also another time for what waits for its first try."""
    if mail.final:
        raise Refused
    if at is not None:
        if mail.ends is not None and at >= mail.ends:
            raise Refused
        moved = [name for name, queue in mail.queues.items() if queue.place and queue.due != at]
        tried = any(queue.owner is not None or queue.tries for queue in mail.queues.values())
        for name in moved:
            queue = mail.queues[name]
            if tried or queue.due is None or queue.due <= now:
                raise Refused
            after = replace(queue, place="waiting", due=at)
            mail = mail.with_queue(
                name, after if at > now else replace(after, place="job", due=None)
            )
    return mail.logged("changed")


def expire(mail: Mail, name: str) -> Mail:
    """The e-mail's own end, of a job that nobody is sending."""
    queue = mail.queues[name]
    if queue.place != "job" or queue.owner is not None:
        raise Refused
    return mail.stopped([name], "expired").logged("expired")


def retry(mail: Mail, now: float = 0.0) -> Mail:
    """Tries again those that were not reached."""
    if mail.status not in ("failed", "cancelled"):
        raise Refused
    statuses = {
        address: status if status in ("delivered", "suppressed") else "pending"
        for address, status in mail.statuses.items()
    }
    again = {mail.queue_of[address] for address, status in statuses.items() if status in OPEN}
    if not again:
        raise Refused
    queues = {name: Queue("job") if name in again else queue for name, queue in mail.queues.items()}
    ends = None if mail.ends is not None and mail.ends <= now else mail.ends
    opened = [address for address, status in statuses.items() if status in OPEN]
    retries = {**mail.retries, **{a: mail.retries.get(a, 0) + 1 for a in opened}}
    late = mail.late.difference(opened)
    after = replace(mail, statuses=statuses, queues=queues, ends=ends, late=late, retries=retries)
    after = replace(after, tries={**mail.tries, **dict.fromkeys(opened, 0)})
    return after.logged("retried")


def late_bounce(mail: Mail, address: str, retries: int, *, gone: bool = False) -> Mail:
    """A bounce message comes about the delivery after so many retries."""
    if mail.statuses[address] != "delivered" or mail.retries.get(address, 0) != retries:
        raise Refused
    statuses = {**mail.statuses, address: "bounced"}
    after = replace(mail, statuses=statuses, late=mail.late | {address})
    return after.logged("bounced", frozenset({address} if gone else ()))


def complaint(mail: Mail, address: str) -> Mail:
    """Somebody calls it spam, whatever became of the recipient."""
    if address in mail.complained:
        raise Refused
    after = replace(mail, complained=mail.complained | {address})
    return after.logged("complained", frozenset({address}))


def counts(mail: Mail, ended: Try) -> bool:
    """Whether the result of a try may be written: it is the owner's, or a stall's."""
    queue = mail.queues[ended.queue]
    if queue.owner == ended.claim:
        return True
    return queue.owner is None and queue.place == "job" and part(mail, ended.queue) == ended.began


def part(mail: Mail, name: str) -> Part:
    """By this a stall is known to be harmless: it is the same as at the claim."""
    queue = mail.queues[name]
    ended = frozenset(
        (address, "delivered" if address in mail.late else status)
        for address, status in mail.statuses.items()
        if mail.queue_of[address] == name and status not in OPEN
    )
    return queue.sends, queue.reclaims, ended


def finish(mail: Mail, tries: Sequence[Try], now: float = 0.0) -> tuple[Mail, list[str]]:
    """Tries have ended, of one queue or of several. Gives the queues whose result is written."""
    written = [one for one in tries if counts(mail, one)]
    if not written:
        return mail, []
    met: set[str] = set()
    held = False
    mail = replace(mail, gone=frozenset())
    for one in written:
        mail, statuses, is_held = _end_try(mail, one, now)
        met |= statuses
        held = held or is_held
    event = "held" if held else next((s for s in LEAST_FINISHED if s in met), "delivered")
    return mail.logged(event, mail.gone), [one.queue for one in written]


LEAST_FINISHED = ("deferred", "bounced", "expired", "suppressed")
ENDS = {DELIVER: "delivered", FAIL: "bounced", GONE: "bounced", SUPPRESS: "suppressed"}


def _end_try(mail: Mail, ended: Try, now: float) -> tuple[Mail, set[str], bool]:
    queue, statuses = mail.queues[ended.queue], dict(mail.statuses)
    tries = queue.tries + 1
    actions, dues, put_off, had = set(), [], [], dict(mail.tries)
    met = [a for a, name in mail.queue_of.items() if name == ended.queue and statuses[a] in OPEN]
    waiting = set(queue.done)  # they have had their turn
    left = False
    if ended.in_rounds:
        others = [address for address in met if address not in ended.outcomes]
        met = [address for address in met if address in ended.outcomes]
        left = not queue.done.issuperset(others)
        dues += [queue.again for address in others if address in queue.done]
    for address in met:
        action, wait = ended.outcomes.get(address, (RETRY, None))
        actions.add(action)
        statuses[address] = ENDS.get(action, "deferred")
        if action not in UNTRIED:
            had[address] = tries
        if action in (RETRY, PUT_OFF):
            again = _again(tries if action == RETRY else 0, wait, now, mail.ends)
            if again is None:
                statuses[address] = "expired"
            elif action == PUT_OFF:
                put_off.append(again)
            else:
                dues.append(again)
                waiting.add(address)
    sends = queue.sends + bool(actions - {HOLD, PUT_OFF})
    if HOLD in actions or left:  # no try is used up, and the job stays
        after = Queue("job", tries=queue.tries, sends=sends)
        if ended.in_rounds:
            after = replace(after, done=frozenset(waiting), again=max(dues, default=None))
    elif put_off:  # as many tries are used up as the recipients have had that are left
        used = max(had.get(a, 0) for a in met if statuses[a] in OPEN)
        used = max([used, *(had.get(a, 0) for a in waiting)])
        due = min(max(put_off), max(dues, default=max(put_off)))
        sends = max(sends, queue.sends + (used != queue.tries))
        after = Queue("waiting", due, used, sends=sends)
    elif dues:
        after = Queue("waiting", max(dues), tries, sends=queue.sends + 1)
    else:
        after = Queue("", tries=tries, sends=queue.sends + 1)
    gone = {a for a in met if ended.outcomes.get(a, ("",))[0] == GONE}
    mail = replace(mail.with_queue(ended.queue, after), statuses=statuses, gone=mail.gone | gone)
    mail = replace(mail, tries=had)
    return mail, {statuses[address] for address in met}, HOLD in actions


def _again(tries: int, wait: float | None, now: float, ends: float | None) -> float | None:
    if tries > len(INTERVALS):
        return None
    at = now + ((INTERVALS[tries - 1] if tries else 0.0) if wait is None else wait)
    return None if ends is not None and at >= ends else at
