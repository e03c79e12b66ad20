"""Reads all keys of a test at one revision, checks the invariants (docs/design/life-cycle.md)."""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec.structs import asdict

from babygun.email import wide
from babygun.email.addresses import comparable
from babygun.email.events import EVENTS
from babygun.email.log import entries_in_record
from babygun.email.model import Email, LogEntry, Part
from babygun.email.suppression import ALL_MAIL, Suppression, parse_list_name
from babygun.etcd import KeyValue
from babygun.store import Store, codec
from babygun.store.emails.writes import LOG_ENTRIES, log_numbers
from babygun.store.keys import JobRef, range_end
from babygun.store.records import Owner
from tests.support.domain_invariants import Domains, check_domains
from tests.support.outbox_invariants import Outbox, Written, check_outbox


@dataclass
class Snapshot:
    """Everything under a prefix at one revision. Wide e-mails and their logs are put together."""

    emails: dict[str, Email] = field(default_factory=dict)
    leases: dict[str, int] = field(default_factory=dict)  # of the records
    jobs: set[JobRef] = field(default_factory=set)
    waiting: set[JobRef] = field(default_factory=set)
    owners: dict[JobRef, Owner] = field(default_factory=dict)
    chunks: dict[str, int] = field(default_factory=dict)
    logs: dict[str, dict[int, LogEntry]] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    parts: dict[str, dict[str, Part]] = field(default_factory=dict)
    part_leases: dict[str, set[int]] = field(default_factory=dict)  # by e-mail
    ends: dict[str, str] = field(default_factory=dict)  # kinds of end marks, by e-mail
    # By client, list and mailbox, with their leases.
    suppressions: dict[tuple[str, str, str], tuple[Suppression, int]] = field(default_factory=dict)
    keys: list[bytes] = field(default_factory=list)
    outbox: Outbox = field(default_factory=Outbox)
    domains: Domains = field(default_factory=Domains)
    # The revisions that created and last wrote a record and its parts, and that created log keys.
    created: dict[str, int] = field(default_factory=dict)
    modified: dict[str, int] = field(default_factory=dict)
    logged: dict[tuple[str, int], int] = field(default_factory=dict)


async def snapshot(store: Store) -> Snapshot:
    """Reads the prefix page by page, at one revision."""
    keys, seen = store.keys, Snapshot()
    start, end, revision = keys.prefix, range_end(keys.prefix), 0
    while True:
        found = await store.client.range(start, end, limit=5000, revision=revision)
        revision = revision or found.revision
        for kv in found.kvs:
            _sort(store, kv, seen)
        if not found.more:
            _put_together(seen)
            return seen
        start = found.kvs[-1].key + b"\0"


def _sort(store: Store, kv: KeyValue, seen: Snapshot) -> None:
    keys, key = store.keys, kv.key
    seen.keys.append(key)
    seen.outbox.take(store, kv)
    seen.domains.take(store, kv)
    if key.startswith(keys.emails):
        email = codec.decode_email(kv.value)
        seen.emails[email.id] = email
        seen.leases[email.id] = kv.lease
        seen.created[email.id], seen.modified[email.id] = kv.create_revision, kv.mod_revision
    elif key.startswith(keys.jobs):
        seen.jobs.add(keys.parse_job(key))
    elif key.startswith(keys.waiting):
        seen.waiting.add(keys.parse_not_before(key)[1])
    elif key.startswith(keys.owners):
        seen.owners[keys.parse_owner(key)] = codec.decode_owner(kv.value)
    elif key.startswith(keys.contents):
        email_id = key.split(b"/")[-2].decode()
        seen.chunks[email_id] = seen.chunks.get(email_id, 0) + 1
    elif key.startswith(keys.logs):
        entry = codec.decode_log_entry(kv.value)
        email_id = key.split(b"/")[-2].decode()
        seen.logs.setdefault(email_id, {})[entry.seq] = entry
        seen.logged[email_id, entry.seq] = kv.create_revision
    elif key.startswith(keys.parts):
        ref = keys.parse_part(key)
        seen.parts.setdefault(ref.email_id, {})[ref.queue] = codec.decode_part(kv.value)
        seen.part_leases.setdefault(ref.email_id, set()).add(kv.lease)
    elif key.startswith(keys.suppressions):
        place = keys.parse_suppression(key)
        seen.suppressions[place] = codec.decode_suppression(kv.value), kv.lease
    elif key.startswith(keys.failures):
        seen.failed.add(keys.email_id(key))
    elif key.startswith((keys.retention_kind("delivered"), keys.retention_kind("undelivered"))):
        email_id = keys.parse_end_mark(key)[1]
        assert email_id not in seen.ends, f"{email_id} has two end marks"
        seen.ends[email_id] = key.split(b"/")[-3].decode()


def _put_together(seen: Snapshot) -> None:
    """Makes each wide e-mail whole, and checks that its record and its parts agree."""
    for email_id, parts in seen.parts.items():
        record = seen.emails.get(email_id)
        assert record is not None and record.wide is not None, f"{email_id}: parts without a record"
        assert not record.recipients and not record.queues and not record.wide.logs, (
            f"{email_id}: its record has what belongs to the parts"
        )
        email = seen.emails[email_id] = wide.with_parts(record, parts)
        assert wide.is_whole(email), (
            f"{email_id}: its record counts {record.wide}, which are not its parts"
        )
        assert wide.record_of(email) == record
        assert seen.part_leases[email_id] == {seen.leases[email_id]}, (
            f"{email_id}: its parts are not on its record's lease"
        )
        assert email_id not in seen.logs, f"{email_id}: a wide e-mail has no log keys"
        entries = wide.merged_log(part.log for part in parts.values())
        seen.logs[email_id] = {entry.seq: entry for entry in entries}
        assert max(seen.logs[email_id], default=0) == email.log_seq, f"{email_id}: {entries}"
        for queue, part in parts.items():
            assert len(part.log) < LOG_ENTRIES and {r.queue for r in part.recipients} == {queue}
    for email_id, record in seen.emails.items():
        assert (record.wide is not None) == (email_id in seen.parts), f"{email_id} has no parts"


async def check_invariants(store: Store) -> Snapshot:
    """Asserts the invariants; returns what was read."""
    seen = await snapshot(store)
    for email in seen.emails.values():
        refs = {JobRef(email.id, queue): state for queue, state in email.queues.items()}
        for ref, state in refs.items():
            places = (ref in seen.jobs) + (ref in seen.waiting)
            assert places == (0 if state.final else 1), (
                f"{ref}: in {places} places, final: {state.final}"
            )
            assert state.final == all(r.final for r in email.recipients if r.queue == ref.queue), (
                f"{ref}: queue and recipients disagree"
            )
        assert (email.status == "incomplete") == any(not s.final for s in refs.values()), (
            f"{email.id}: {email.status}, {refs}"
        )
        entries = sorted(seen.logs.get(email.id, ()))
        held = entries_in_record(email)
        assert len(held) == email.first_log_key, (
            f"{email.id}: its record does not hold all entries before {email.first_log_key}"
        )
        for entry in (*held, *seen.logs.get(email.id, {}).values()):
            filled = {
                name for name, value in asdict(entry).items() if value not in (None, (), False)
            }
            assert filled <= {"seq", "at", "event", *EVENTS[entry.event].holds}, entry
        assert email.wide is not None or entries == list(log_numbers(email)), (
            f"{email.id}: log entries {entries}, newest {email.log_seq}"
        )
        ended = email.status != "incomplete"
        assert bool(seen.leases[email.id]) == ended, (
            f"{email.id} is {email.status}, and its lease {seen.leases[email.id]}"
        )
        kind = "delivered" if email.status == "complete" else "undelivered"
        if not ended:
            assert seen.chunks.get(email.id) == email.chunks, f"{email.id}: chunks are missing"
            assert email.id not in seen.ends, f"{email.id} is not final, and has an end mark"
        elif email.id in seen.chunks:
            assert seen.ends.get(email.id) == kind, f"{email.id}: its content has no end"
        else:
            assert email.id not in seen.ends, f"{email.id}: an end mark without content"
        assert (email.id in seen.failed) == (email.status == "failed")
        if ended:
            _check_status(email)
    known = set(seen.emails)
    for ref in (*seen.jobs, *seen.waiting, *seen.owners):
        assert ref.email_id in known, f"{ref} has no email"
    for ref in seen.owners:
        assert ref in seen.jobs, f"{ref} is owned without a job"
    _check_suppressions(seen)
    check_domains(seen.domains)
    check_outbox(
        seen.outbox, {id: (email, _written(seen, email)) for id, email in seen.emails.items()}
    )
    return seen


def _written(seen: Snapshot, email: Email) -> list[Written]:
    """The e-mail's log, with what is known of when each entry was written."""
    accepted, newest = seen.created[email.id], seen.modified[email.id]
    log = [Written(entry, accepted, newest) for entry in entries_in_record(email)]
    log[0] = Written(log[0].entry, accepted, accepted)
    for entry in seen.logs.get(email.id, {}).values():
        at = seen.logged.get((email.id, entry.seq))
        if at is None:  # of a wide e-mail
            log.append(Written(entry, accepted, newest))
        elif at == seen.logged.get((email.id, entry.seq + 1)):  # the record held it before
            log.append(Written(entry, accepted, at))
        else:
            log.append(Written(entry, at, at))
    return log


def _check_status(email: Email) -> None:
    """A suppressed recipient counts neither as delivered nor as a failure."""
    statuses = {r.status for r in email.recipients}
    others = statuses - {"suppressed"}
    if "cancelled" in statuses:
        assert email.status == "cancelled", email
    else:
        assert email.status == ("complete" if others == {"delivered"} else "failed"), email
    if not others:
        assert email.status_reason == "all recipients suppressed", email


def _check_suppressions(seen: Snapshot) -> None:
    """Each has the key of its mailbox. A bounce ends, and names an e-mail to that mailbox."""
    for (client_id, name, mailbox), (suppression, lease) in seen.suppressions.items():
        where = f"{client_id}/{name}/{mailbox}"
        assert comparable(mailbox) == mailbox and parse_list_name(name) == name, where
        assert suppression.until is not None or not lease, f"{where} has a lease, and no end"
        if suppression.email_id is not None and suppression.reason == "hard_bounce":
            assert name == ALL_MAIL and suppression.until is not None and lease, where
            email = seen.emails.get(suppression.email_id)
            assert email is None or (
                email.client_id == client_id
                and mailbox in {comparable(r.email) for r in email.recipients}
            ), f"{where}: {email}"
