"""Reads, decides and writes a change of an e-mail's record, until nobody came in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from babygun.email import wide
from babygun.email.model import Email
from babygun.email.transition import Transition
from babygun.errors import (
    MAY_BE_WRITTEN,
    Conflict,
    EtcdError,
    EtcdUnavailable,
    NotFound,
    OutcomeUnknown,
)
from babygun.etcd import (
    Compare,
    KeyValue,
    Op,
    TxnResult,
    absent,
    all_created_before,
    get,
    get_range,
    modified_at,
    present,
    unchanged,
)
from babygun.store import codec
from babygun.store.emails import parts
from babygun.store.emails.write_loop import (
    existing_keys,
    is_refusal,
    write_change,
)
from babygun.store.keys import JobRef, range_end
from babygun.store.store import Store

_PAUSE = 0.05  # s, between two tries of a write


class Seen(NamedTuple):
    """What a change is decided on.

    ``sending``: the queues that are being sent. ``watched``: what the keys hold that the decision
    also hangs on, None where there is none. ``revision``: that of the record's last change.
    """

    email: Email
    sending: set[str]
    watched: list[KeyValue | None]
    revision: int


Decision = Callable[[Seen], Transition]
"""Raises Conflict where nothing is to be changed."""


@dataclass(slots=True)
class Parts:
    """Which parts of a wide e-mail a change sees: ``all``, one queue's, or a page.

    ``after``: the queue before the page. ``last`` and ``more``: of the page that was read.
    """

    all: bool = False
    only: str = ""
    after: str = ""
    last: str = ""
    more: bool = False

    async def seen(self, store: Store, record: Email, revision: int) -> Email:
        """The record as the change sees it."""
        if record.wide is None:
            return record
        if self.all:
            found = await parts.read_parts(store, record.id, revision)
        elif self.only:
            found = await parts.read_one(store, JobRef(record.id, self.only), revision)
        else:
            found, self.more = await parts.read_page(store, record.id, revision, self.after)
            self.last = max(found, default="")
        return wide.with_parts(record, found)


async def change_record(
    store: Store,
    email_id: str,
    decide: Decision,
    page: Parts,
    *,
    needs: Sequence[bytes] = (),
    watched: Sequence[bytes] = (),
) -> Email:
    """Makes a change. Returns the record as it is then.

    ``needs``: keys without which it raises Conflict. ``watched``: keys that stay as the decision
    saw them. Raises NotFound, and what ``decide`` raises. Raises EtcdError; OutcomeUnknown where
    the change may have been made.
    """
    tried: list[Email] = []
    try:
        return await _until_written(store, email_id, decide, page, needs, watched, tried)
    except EtcdUnavailable as error:
        if not tried:
            raise
        raise OutcomeUnknown(str(error)) from None


async def _until_written(
    store: Store,
    email_id: str,
    decide: Decision,
    page: Parts,
    needs: Sequence[bytes],
    watched: Sequence[bytes],
    tried: list[Email],
) -> Email:
    """``tried``: gets the records whose write has an unknown outcome."""
    email_key, first_chunk = store.keys.email(email_id), store.keys.chunk(email_id, 0)
    reads = [*_reads(store, email_id, (first_chunk, *needs)), *map(get, watched)]
    existing: set[bytes] | None = None
    deadline = time.monotonic() + store.settings.etcd_timeout
    while True:
        found = await store.client.read(reads, timeout=max(0.0, deadline - time.monotonic()))
        records = found.kvs(0)
        if not records:
            raise NotFound("there is no such e-mail")
        revision = records[0].mod_revision
        email = await page.seen(store, codec.decode_email(records[0].value), found.revision)
        if wide.unlogged(email) in tried:
            return email
        after_needs = len(reads) - len(watched)
        _require(found, range(3, after_needs))
        others = [next(iter(found.kvs(n)), None) for n in range(after_needs, len(reads))]
        sending = {store.keys.parse_owner(kv.key).queue for kv in found.kvs(1)}
        transition = decide(Seen(email, sending, others, revision))
        has_content = bool(found.kvs(2))
        compares = [
            modified_at(email_key, revision),
            *_unowned(store, transition, found.revision),
            *map(present, needs),
            *map(unchanged, watched, others),
        ]
        if transition.ready and not has_content:
            raise Conflict("the e-mail's content is not kept any more")
        if transition.ready or email.final:  # a content may be deleted, and its end mark with it
            compares.append(present(first_chunk) if has_content else absent(first_chunk))
        try:
            result = await write_change(
                store,
                transition,
                compares,
                before=email,
                has_content=has_content,
                existing=existing,
                deadline=deadline,
            )
        except MAY_BE_WRITTEN:
            tried.append(wide.unlogged(transition.email))
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(_PAUSE)
            continue
        except EtcdError as error:
            if existing is not None or not is_refusal(error):
                raise
            existing = await existing_keys(store, email_id)
            if existing is None:
                raise
            continue
        if result.succeeded:
            return transition.email
        if time.monotonic() > deadline:
            raise Conflict("the e-mail is changing all the time; try again")


def _unowned(store: Store, transition: Transition, revision: int) -> list[Compare]:
    """That nobody has taken the queues of the change since it was decided, at ``revision``.

    A wide e-mail may have more of them than etcd takes compares.
    """
    email = transition.email
    if not transition.touched:
        return []
    if email.wide is not None:
        owners = store.keys.email_owners(email.id)
        return [all_created_before(owners, range_end(owners), revision + 1)]
    return [absent(store.keys.owner(JobRef(email.id, queue))) for queue in transition.touched]


def _require(found: TxnResult, reads: range) -> None:
    """Raises Conflict if one of these reads found nothing."""
    if not all(map(found.kvs, reads)):
        raise Conflict("what the change was decided by is gone")


def _reads(store: Store, email_id: str, there: Sequence[bytes]) -> list[Op]:
    """Reads the record, its owners, and of each key of ``there`` whether it exists."""
    owners = store.keys.email_owners(email_id)
    return [
        get(store.keys.email(email_id)),
        get_range(owners, range_end(owners)),
        *(get_range(key, key + b"\0", keys_only=True) for key in there),
    ]
