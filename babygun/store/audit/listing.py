"""The listing of audit entries: newest first, filtered, page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from msgspec import Struct

from babygun.email.ids import created_ms
from babygun.etcd import KeyValue
from babygun.runtime.clock import utc_now
from babygun.store import codec
from babygun.store.audit.entries import AuditEntry, Outcome
from babygun.store.newest_first import AtOneRevision, id_floor, newest_end, newest_first
from babygun.store.store import Store

_SCANNED = 1000  # entries that one page reads at most
_LEAST_READ = 100  # entries of one read: few may fit


class Wanted(Struct, frozen=True, kw_only=True):
    """Which entries to list: those that fit all that is given. ``after``, ``before``: begun."""

    action: str = ""
    by: str = ""
    target: str = ""
    outcome: Outcome | None = None
    after: datetime | None = None
    before: datetime | None = None

    def fits(self, entry: AuditEntry) -> bool:
        """Whether an entry is wanted, whenever it began."""
        return (
            self.action in ("", entry.action)
            and self.by in ("", entry.by)
            and self.target in ("", entry.target)
            and self.outcome in (None, entry.outcome)
        )


class AuditPage(Struct, frozen=True, gc=False):
    """``cursor`` leads to the next page, None at the end. A short page may have one too."""

    entries: list[AuditEntry]
    cursor: str | None


async def list_entries(
    store: Store, wanted: Wanted, *, limit: int, cursor: str | None = None
) -> AuditPage:
    """The newest entries before ``cursor``, an entry's id, that fit. Raises EtcdError."""
    found: list[AuditEntry] = []
    scanned, last = 0, ""
    async for kvs in _newest(store, wanted, cursor, max(limit + 1, _LEAST_READ)):
        for kv in kvs:
            if len(found) == limit or scanned == _SCANNED:
                return AuditPage(found, last)
            scanned, last = scanned + 1, store.keys.last_part(kv.key)
            entry = codec.state_of(kv, AuditEntry)
            if entry is not None and wanted.fits(entry):
                found.append(entry)
    return AuditPage(found, None)


async def _newest(
    store: Store, wanted: Wanted, cursor: str | None, chunk: int
) -> AsyncIterator[list[KeyValue]]:
    reads, prefix = AtOneRevision(store.client), store.keys.audit
    before = None if wanted.before is None else _ms(wanted.before)
    if cursor is not None and (before is None or created_ms(cursor) < before):
        end, end_ms = store.keys.audit_entry(cursor), created_ms(cursor) + 1
    elif before is not None:
        end, end_ms = prefix + id_floor(before), before
    else:
        end, end_ms = await newest_end(reads.range, prefix, _ms(utc_now()) + 1)
    least = 0 if wanted.after is None else _ms(wanted.after)
    async for kvs in newest_first(
        reads.range, prefix, chunk, end=end, end_ms=end_ms, least_ms=least
    ):
        yield kvs


def _ms(at: datetime) -> int:
    return max(0, int(at.timestamp() * 1000))
