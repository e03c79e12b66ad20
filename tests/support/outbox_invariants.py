"""The invariants of the outbox: which notices there must be, and which there can't be.

When a webhook was made is known by the revision that created its secret. When a log entry was
written is known by a revision, too, or lies between two. A webhook that was changed since may have
wanted other events before; then only what is there is checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from babygun.email.email_events import EmailEvent
from babygun.email.erasure import MARK
from babygun.email.log import was_suppressed_at_once
from babygun.email.model import Email, LogEntry
from babygun.etcd import KeyValue
from babygun.store import Store, codec
from babygun.store.keys import NoticeRef
from babygun.store.records import Removal
from babygun.store.webhooks.records import ClientWebhooks, Notice, Webhook

OF_TRIES = ("delivered", "deferred", "bounced", "expired", "suppressed")
WITHOUT_EMAIL = ("test", "unsubscribed")
LATE = ("bounced", "complained")
_decode_event = msgspec.json.Decoder(EmailEvent).decode


@dataclass
class Outbox:
    """What a snapshot holds of webhooks. ``made``: the create revisions of their secrets.

    ``webhooks``: each with its client. ``revisions``: of ready notices, when they were written.
    """

    webhooks: dict[str, tuple[str, Webhook]] = field(default_factory=dict)
    made: dict[str, int] = field(default_factory=dict)
    notices: dict[NoticeRef, Notice] = field(default_factory=dict)
    revisions: dict[NoticeRef, int] = field(default_factory=dict)
    owners: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)  # webhooks whose notices are being deleted

    def take(self, store: Store, kv: KeyValue) -> None:
        """Takes in a key, if it is one of webhooks."""
        keys, key = store.keys, kv.key
        if key.startswith(keys.webhooks):
            client_id = keys.last_part(key)
            for webhook in codec.decode_state(kv.value, ClientWebhooks).webhooks:
                self.webhooks[webhook.id] = client_id, webhook
        elif key.startswith(keys.webhook_secrets):
            self.made[keys.last_part(key)] = kv.create_revision
        elif key.startswith(keys.notice_owners):
            self.owners.add(keys.last_part(key))
        elif key.startswith(keys.removals):
            self.removed.update(codec.decode_state(kv.value, Removal).webhooks)
        elif key.startswith(keys.notices):
            ref = keys.parse_notice(key)
            self._notice(ref, kv)
            self.revisions[ref] = kv.create_revision
        elif key.startswith(keys.due_notices):
            self._notice(keys.parse_due_notice(key)[1], kv)
        elif key.startswith(keys.sent_notices):
            ref = keys.parse_sent_notice(key)
            if ref not in self.notices:  # one that is replayed is ready, too
                self._notice(ref, kv)

    def _notice(self, ref: NoticeRef, kv: KeyValue) -> None:
        assert ref not in self.notices, f"{ref} is in two places"
        self.notices[ref] = codec.decode_notice(kv.value)


@dataclass(frozen=True)
class Written:
    """A log entry, and the revisions between which it was written, both included."""

    entry: LogEntry
    first: int
    last: int


def check_outbox(outbox: Outbox, emails: dict[str, tuple[Email, list[Written]]]) -> None:
    """Asserts that notices and log entries belong together. ``emails``: each with its log."""
    assert outbox.made.keys() == outbox.webhooks.keys(), "a webhook has a secret, and no other has"
    assert outbox.owners <= outbox.webhooks.keys(), "a webhook is owned that is deleted"
    there: dict[str, set[NoticeRef]] = {}
    for ref, notice in outbox.notices.items():
        if ref.webhook_id in outbox.removed:
            continue
        assert ref.webhook_id in outbox.webhooks, f"{ref} is of a webhook that there is not"
        event = _decode_event(notice.event)
        assert event.data.event_id == ref.event_id
        if event.type in WITHOUT_EMAIL:
            continue
        if event.type in LATE and not event.data.sequence:  # it came back without a record
            assert event.data.email_id not in emails, f"{ref} does not know of the record"
            continue
        if event.data.email_id not in emails and {r.email for r in event.data.recipients} == {MARK}:
            continue  # the e-mail was for an erased recipient alone
        there.setdefault(event.data.email_id, set()).add(ref)
        _check_notice(outbox, ref, event, emails)
    for email_id, (email, log) in emails.items():
        for written in log:
            for ref in _wanted(outbox, email, written):
                assert ref in there.get(email_id, ()), f"{ref} is missing: {written}"


def _check_notice(
    outbox: Outbox,
    ref: NoticeRef,
    event: EmailEvent,
    emails: dict[str, tuple[Email, list[Written]]],
) -> None:
    """That the notice's webhook is of the e-mail's client, and that the log says the same."""
    data = event.data
    assert data.email_id in emails, f"{ref} is of an e-mail that there is not"
    email, log = emails[data.email_id]
    client_id, webhook = outbox.webhooks[ref.webhook_id]
    assert client_id == email.client_id, f"{ref} is of another client's e-mail"
    assert data.sequence <= email.log_seq
    found = [written for written in log if written.entry.seq == data.sequence]
    if not found:
        assert email.log_seq > 30, f"{ref} has no log entry"
        return
    (written,) = found
    assert event.type in (*types_of(email, written.entry), "suppressed"), (ref, written)
    assert event.timestamp == written.entry.at, (ref, written)
    if written.entry.attempts and not data.recipients_omitted:
        replied = {r.email: r.status for a in written.entry.attempts for r in a.replies}
        of_type = {r.email for r in data.recipients}
        same = {
            address for address, status in replied.items() if event.type in ("complained", status)
        }
        assert of_type == same, f"{ref} concerns {of_type}, and the log says {same}"
    revision = outbox.revisions.get(ref)
    assert revision is None or revision >= written.first, f"{ref} was there before its entry"
    assert outbox.made[ref.webhook_id] < written.last, f"{ref} was there before its webhook"
    if webhook.created_at == webhook.updated_at:
        assert _wants(webhook, event.type, email), f"{ref} is not wanted"


def _wanted(outbox: Outbox, email: Email, written: Written) -> Iterator[NoticeRef]:
    """The notices that an entry must have."""
    for webhook_id, (client_id, webhook) in outbox.webhooks.items():
        unchanged = webhook.created_at == webhook.updated_at
        if client_id != email.client_id or not unchanged:
            continue
        if outbox.made[webhook_id] >= written.first:
            continue
        for event_type in types_of(email, written.entry):
            if _wants(webhook, event_type, email):
                event_id = f"{email.id}-{written.entry.seq:04x}-{event_type}"
                yield NoticeRef(webhook_id, event_id)


def types_of(email: Email, entry: LogEntry) -> list[str]:
    """The types of events that an entry gives."""
    if entry.event == "accepted":
        suppressed = any(was_suppressed_at_once(r, email) for r in email.recipients)
        return ["accepted", "suppressed"] if suppressed else ["accepted"]
    if entry.event == "erased":
        stopped = any(r.erased_at == r.updated_at == entry.at for r in email.recipients)
        return ["cancelled"] if stopped else []
    if entry.event in ("cancelled", "retried", "complained"):
        return [entry.event]
    statuses = {reply.status for attempt in entry.attempts for reply in attempt.replies}
    return [] if entry.event == "reclaimed" else [s for s in OF_TRIES if s in statuses]


def _wants(webhook: Webhook, event_type: str, email: Email) -> bool:
    return (
        webhook.enabled
        and (not webhook.events or event_type in webhook.events)
        and (not webhook.tags or bool(set(webhook.tags) & set(email.tags)))
    )
