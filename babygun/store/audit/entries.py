"""Audit entries: written before a change, and again with its outcome.

An entry holds no secret, no message content and no recipient's address. An address stands there
as its hash (:func:`babygun.email.addresses.hash_of`).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Literal

import msgspec
from msgspec.structs import replace

from babygun.email.ids import created_ms, email_id
from babygun.errors import BabygunError, EtcdError, OutcomeUnknown, OutOfSpace
from babygun.etcd import Txn, delete, present, put
from babygun.runtime.clock import at_ms, utc_now
from babygun.runtime.identifiers import new_short_id
from babygun.runtime.logs import get_logger
from babygun.store import codec
from babygun.store.store import Store

log = get_logger("store")

Via = Literal["api", "command", "process"]
# begun    the change goes on, or its process died: then nobody knows whether it was made
# done     it is made
# failed   it is not made; one in many steps did not get to its end: the reason says more
# unknown  etcd did not say whether it is made
Outcome = Literal["begun", "done", "failed", "unknown"]

# Characters of an action's target and of each detail.
_MOST_TEXT = 300


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """``audit/<id>``: one change, or an attempt at it.

    ``action``: the name of the API's call, such as ``deleteClient``; a command has the same.
    ``by``: the client that called, ``user@host`` of a command, or the id of a process.
    ``target``: what it was done to. ``details``: what was asked for, by field. ``address``: the IP
    address of the caller.
    """

    id: str
    action: str
    by: str
    via: Via
    target: str = ""
    details: dict[str, str] = {}
    address: str = ""
    request_id: str = ""
    outcome: Outcome = "begun"
    ended_at: datetime | None = None
    reason: str = ""

    @property
    def at(self) -> datetime:
        """When it began."""
        return at_ms(created_ms(self.id))


class Recording:
    """An entry while its change goes on. The change may add to it."""

    def __init__(self, entry: AuditEntry) -> None:
        self.entry = entry
        self.refused = False  # nothing was changed: no entry stays
        self.only_logged = False  # a full etcd did not take the entry
        self.outcome: Outcome | None = None  # where the change knows better

    def add(self, *, target: str = "", details: Mapping[str, str] | None = None) -> None:
        """Says more of the change. ``target``: where it was not known before."""
        entry = self.entry
        self.entry = replace(
            entry,
            target=entry.target or target[:_MOST_TEXT],
            details={**entry.details, **cut(details or {})},
        )


def new_entry(
    action: str,
    *,
    by: str,
    via: Via,
    target: str = "",
    details: Mapping[str, str] | None = None,
    address: str = "",
    request_id: str = "",
) -> AuditEntry:
    """An entry that begins now."""
    return AuditEntry(
        id=email_id(time.time_ns(), new_short_id()),
        action=action,
        by=by,
        via=via,
        target=target[:_MOST_TEXT],
        details=cut(details or {}),
        address=address,
        request_id=request_id,
    )


def done_by_process(
    action: str,
    process_id: str,
    *,
    target: str,
    details: Mapping[str, str] | None = None,
    at: datetime | None = None,
) -> AuditEntry:
    """An entry of what a process did by itself. ``at``: when, if not now."""
    entry = new_entry(action, by=process_id, via="process", target=target, details=details)
    return replace(entry, outcome="done", ended_at=at or entry.at)


@asynccontextmanager
async def recorded(
    store: Store, entry: AuditEntry, *, deletes: bool = False
) -> AsyncIterator[Recording]:
    """Writes the entry, runs the change inside, and writes its outcome.

    Raises EtcdError if the entry can't be written: then the change does not begin. If the outcome
    can't be written, the entry stays ``begun``, which says that nobody knows it. ``deletes``: the
    change makes room. So it begins although a full etcd takes no entry: then the log has it.
    """
    recording = Recording(entry)
    try:
        await write(store, entry)
    except OutOfSpace:
        if not deletes:
            raise
        recording.only_logged = True
    try:
        yield recording
    except BaseException as error:
        await _end(store, recording, _outcome_of(error), _reason_of(error))
        raise
    await _end(store, recording, "done")


async def write(store: Store, entry: AuditEntry) -> None:
    """Writes an entry. Raises EtcdError."""
    await store.client.put(store.keys.audit_entry(entry.id), codec.encode_state(entry))


def _outcome_of(error: BaseException) -> Outcome:
    known = isinstance(error, BabygunError) and not isinstance(error, OutcomeUnknown)
    return "failed" if known else "unknown"


def _reason_of(error: BaseException) -> str:
    return str(error)[:_MOST_TEXT] if isinstance(error, BabygunError) else type(error).__name__


async def _end(store: Store, recording: Recording, outcome: Outcome, reason: str = "") -> None:
    """Writes the outcome. The entry must still be there: a retention may have deleted it."""
    ended = replace(
        recording.entry,
        outcome=recording.outcome or outcome,
        ended_at=utc_now(),
        reason=reason,
    )
    if recording.only_logged:
        if not recording.refused:
            _log(ended)
        return
    key = store.keys.audit_entry(ended.id)
    op = delete(key) if recording.refused else put(key, codec.encode_state(ended))
    try:
        await store.client.txn(Txn([present(key)], [op]))
    except EtcdError as error:
        log.warning("audit outcome not written", entry=ended.id, error=str(error))


def _log(entry: AuditEntry) -> None:
    log.error(
        "audit entry not written",
        action=entry.action,
        by=entry.by,
        address=entry.address,
        target=entry.target,
        details="; ".join(f"{name}: {value}" for name, value in entry.details.items()),
        outcome=entry.outcome,
        reason=entry.reason,
    )


def cut(details: Mapping[str, str]) -> dict[str, str]:
    """The details as an entry has them: no text is long."""
    return {name: value[:_MOST_TEXT] for name, value in details.items()}
