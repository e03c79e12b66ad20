"""What comes back after a server took the message: writes late bounces and complaints.

If the e-mail's record is gone, :mod:`babygun.store.emails.late_events` writes the event alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence
from typing import Literal

from msgspec.structs import replace

from babygun.email import late
from babygun.email.addresses import comparable
from babygun.email.bounces import Bounce, Complaint
from babygun.email.model import Email, Recipient, client_id_of
from babygun.email.return_path import ReturnPath
from babygun.email.suppression import ALL_MAIL, Suppression, replaces
from babygun.email.transition import Transition
from babygun.errors import Conflict, NotFound
from babygun.etcd import KeyValue
from babygun.store import codec
from babygun.store.emails import late_events, parts
from babygun.store.emails.change import Parts, Seen, change_record
from babygun.store.records import Client
from babygun.store.store import Store
from babygun.store.suppressions.suppressions import until_of

# applied    it is written: record, log, suppression, notices
# already    nothing to write: it was written before, or the recipient is final and not delivered
# too_early  the try that the message is about has not ended yet. Ask the server to come again (451)
# no_record  the e-mail's record is gone: the event alone is written, if a webhook wants it
# unknown    there is no such client any more, or no such recipient
Outcome = Literal["applied", "already", "too_early", "no_record", "unknown"]

# s. A bounce message may be faster than the result of the try that it is about.
_PATIENCE, _LOOK_AGAIN = 5.0, 0.2


class _Nothing(Conflict):
    """Nothing is to be written. ``outcome``: why."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


async def late_bounce(store: Store, address: ReturnPath, report: Bounce) -> Outcome:
    """A bounce message has come for a return path. Returns when its outcome is committed.

    It can be repeated: a second call writes nothing. Raises EtcdError if etcd does not answer, or
    the outcome is unknown: then the server is asked to come again.
    """
    until = time.monotonic() + _PATIENCE
    while True:
        outcome = await _outcome(_late_bounce(store, address, report))
        if outcome != "too_early" or time.monotonic() > until:
            return outcome
        await asyncio.sleep(_LOOK_AGAIN)


async def _outcome(written: Awaitable[Outcome]) -> Outcome:
    try:
        return await written
    except _Nothing as nothing:
        return nothing.outcome
    except Conflict:  # others change the same keys all the time
        return "too_early"


async def _late_bounce(store: Store, address: ReturnPath, report: Bounce) -> Outcome:
    found = await _find(store, address, report.addresses)
    if found is None:
        return await late_events.bounced(store, address, report)
    email, recipient = found
    if recipient is None:
        return "unknown"
    now = await store.clock.now()
    client_key = store.keys.client(client_id_of(email.client_id))

    def decide(seen: Seen) -> Transition:
        there = _again(seen.email, recipient)
        if (fate := late.fate_of_bounce(address, there)) != "apply":
            raise _Nothing(fate)
        client = seen.watched[0]
        seconds = store.settings.suppress_hard_bounces if _is_of(email, client) else 0.0
        return late.bounce(seen.email, there, report, now=now, suppress=seconds)

    one = Parts(only=recipient.queue)
    try:
        await change_record(store, email.id, decide, one, watched=[client_key])
    except NotFound:
        return await late_events.bounced(store, address, report)
    return "applied"


async def complaint(store: Store, address: ReturnPath, report: Complaint) -> Outcome:
    """A recipient has called the e-mail spam. As :func:`late_bounce`.

    It is written whatever became of the recipient: somebody has got the message.
    """
    return await _outcome(_complaint(store, address, report))


async def _complaint(store: Store, address: ReturnPath, report: Complaint) -> Outcome:
    found = await _find(store, address, report.addresses)
    if found is None:
        return await late_events.complained(store, address, report)
    email, recipient = found
    if recipient is None:
        return "unknown"
    now = await store.clock.now()
    word = Suppression("complaint", now, until_of(store.settings, "complaint", now), email.id)
    key = store.keys.suppression(
        email.client_id, email.list or ALL_MAIL, comparable(recipient.email)
    )
    client_key = store.keys.client(client_id_of(email.client_id))

    def decide(seen: Seen) -> Transition:
        there = _again(seen.email, recipient)
        if there.complained_at is not None:
            raise _Nothing("already")
        old, client = seen.watched
        stands = old is not None and not replaces(word, codec.decode_suppression(old.value), now)
        suppression = word if _is_of(email, client) and not stands else None
        return late.complain(seen.email, there, report, now=now, suppression=suppression)

    one = Parts(only=recipient.queue)
    try:
        await change_record(store, email.id, decide, one, watched=[key, client_key])
    except NotFound:
        return await late_events.complained(store, address, report)
    return "applied"


def _is_of(email: Email, client: KeyValue | None) -> bool:
    """Whether the e-mail's client is there, and is no later one of its id.

    If not, its suppressions have been deleted, and no new one may come.
    """
    there = codec.state_of(client, Client) if client else None
    return there is not None and there.identity == email.client_id


async def _find(
    store: Store, address: ReturnPath, named: Sequence[str]
) -> tuple[Email, Recipient | None] | None:
    """The e-mail, and the recipient that the message is about. None: the record is gone."""
    kv = await store.client.get(store.keys.email(address.email_id))
    if kv is None:
        return None
    email = codec.decode_email(kv.value)
    if email.wide is None:
        return email, late.recipient_of(email, address, named)
    more, after = True, ""
    while more:
        page, more = await parts.read_page(store, email.id, 0, after)
        after = max(page, default="")
        at_hand = replace(email, recipients=tuple(r for p in page.values() for r in p.recipients))
        if (recipient := late.recipient_of(at_hand, address, named)) is not None:
            return email, recipient
    return email, None


def _again(email: Email, recipient: Recipient) -> Recipient:
    """The same recipient in a record that may be newer. Raises _Nothing if it is erased there."""
    for there in email.recipients:
        if there.email == recipient.email:
            return there
    raise _Nothing("unknown")
