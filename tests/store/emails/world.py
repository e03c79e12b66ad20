"""What etcd has to hold after operations, by the plain model, and what it holds."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations, product
from typing import Any, NamedTuple

from babygun.email.log import entries_in_record
from babygun.store import Store
from babygun.store.keys import JobRef
from babygun.store.upkeep import removal
from tests.support.email_model import LOG_ENTRIES, Mail
from tests.support.invariants import check_invariants


@dataclass(frozen=True)
class World:
    """The e-mails by id, and what was answered by Idempotency-Key.

    ``webhooks``: by their description, whether they are enabled. ``notices``: the webhook, the
    e-mail and the number of the log entry that it is about. ``suppressed``: addresses of the one
    client.
    """

    mails: Mapping[str, Mail] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    webhooks: Mapping[str, bool] = field(default_factory=dict)
    notices: frozenset[tuple[str, str, int]] = frozenset()
    suppressed: frozenset[str] = frozenset()

    def with_mail(self, email_id: str, mail: Mail) -> World:
        """The e-mail after a change of it. A log entry more has a notice for each webhook.

        What the change suppresses is suppressed from then on.
        """
        before = self.mails.get(email_id)
        after = replace(self, mails={**self.mails, email_id: mail})
        if before is not None and mail.changes == before.changes:
            return after
        notices = self.notices
        if mail.log[-1] not in ("reclaimed", "due_now", "changed"):
            enabled = (name for name, enabled in self.webhooks.items() if enabled)
            notices |= {(name, email_id, mail.changes) for name in enabled}
        return replace(after, notices=notices, suppressed=self.suppressed | mail.gone)

    def without_webhook(self, name: str) -> World:
        return replace(
            self,
            webhooks={other: on for other, on in self.webhooks.items() if other != name},
            notices=frozenset(notice for notice in self.notices if notice[0] != name),
        )


UNKNOWN = "unknown"  # an answer: the operation may have taken effect
NOTHING = "nothing"  # an answer: it has not


class Operation(NamedTuple):
    """One operation, on the store and on the model.

    ``process``: the number of who does it. ``expected``: the world after it, and its answer.
    ``then``: takes in the world, the model's answer and the store's. ``plain``: what of an answer
    is compared. ``claims``: a claim that failed may take effect all the same.
    """

    process: int
    real: Callable[[Store], Coroutine[Any, Any, Any]]
    expected: Callable[[World], tuple[World, Any]]
    then: Callable[[World, Any, Any], None] = lambda world, expected, answer: None
    plain: Callable[[Any], Any] = lambda answer: answer
    claims: bool = False


class Done(NamedTuple):
    """An operation and its answer."""

    operation: Operation
    answer: Any


def outcomes(world: World, done: Sequence[Done]) -> Iterator[tuple[World, list[Any]]]:
    """Each world that may be after operations that overlapped, with the model's answers.

    They took effect one after the other, in any order, and their answers fit that order.
    """
    choices = [
        (False, True) if one.answer is UNKNOWN else (one.answer is not NOTHING,) for one in done
    ]
    for order in permutations(range(len(done))):
        for applied in product(*choices):
            after, answers, fits = world, [None] * len(done), True
            for index in order:
                if applied[index]:
                    operation, answer = done[index]
                    after, answers[index] = operation.expected(after)
                    known = answer is not UNKNOWN
                    fits &= not known or operation.plain(answer) == operation.plain(answers[index])
            if fits:
                yield after, answers


def view(world: World, worker_of: Mapping[int, str]) -> dict[str, Any]:
    """A world as :func:`seen` shows etcd. ``worker_of``: by the number of a claim."""
    return {
        "keys": sorted(world.keys),
        "webhooks": dict(world.webhooks),
        "notices": sorted(world.notices),
        "suppressed": set(world.suppressed),
        **{
            email_id: (
                mail.status,
                dict(mail.statuses),
                {
                    name: (
                        queue.place,
                        queue.tries,
                        queue.reclaims,
                        None if queue.owner is None else worker_of[queue.owner],
                    )
                    for name, queue in mail.queues.items()
                },
                mail.log,
                mail.changes,
            )
            for email_id, mail in world.mails.items()
        },
    }


async def seen(store: Store) -> dict[str, Any]:
    """What etcd holds, with the design's invariants checked."""
    await removal.go_on(store)  # as the leading worker does
    found = await check_invariants(store)
    keys = store.keys
    names = {id: webhook.description for id, (_, webhook) in found.outbox.webhooks.items()}
    shown: dict[str, Any] = {
        "keys": sorted(k.split(b"/")[-1].decode() for k in found.keys if keys.idempotencies in k),
        "webhooks": {w.description: w.enabled for _, w in found.outbox.webhooks.values()},
        "notices": sorted(
            {(names[ref.webhook_id], *_entry_of(ref.event_id)) for ref in found.outbox.notices}
        ),
        "suppressed": {mailbox for _, _, mailbox in found.suppressions},
    }
    for email in found.emails.values():
        entries = [*entries_in_record(email), *(found.logs.get(email.id, {}).values())]
        if email.wide:  # each part keeps its newest entries, so some more may be there
            entries[1:] = entries[1:][-(LOG_ENTRIES - 1) :]
        queues = {}
        for name, state in email.queues.items():
            ref = JobRef(email.id, name)
            place = "job" if ref in found.jobs else "waiting" if ref in found.waiting else ""
            owner = found.owners.get(ref)
            queues[name] = (place, state.tries, state.reclaims, owner and owner.worker_id)
        shown[email.id] = (
            email.status,
            {r.email: r.status for r in email.recipients},
            queues,
            tuple(entry.event for entry in entries),
            email.log_seq,
        )
    return shown


def _entry_of(event_id: str) -> tuple[str, int]:
    """The e-mail, and the number of the log entry, of an event."""
    email_id, seq, _ = event_id.rsplit("-", 2)
    return email_id, int(seq, 16)
