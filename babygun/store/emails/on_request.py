"""Changes of an e-mail that nobody sends: those that a client asks for, and the e-mail's own end.

A wide e-mail is cancelled or made ready some parts at a time: all may be too many bytes for one
request. A retry makes an e-mail incomplete as a whole, so it writes all parts at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from babygun.email import lifecycle, wide
from babygun.email.model import Email
from babygun.email.transition import Transition
from babygun.email.tries import RecipientResult
from babygun.errors import Conflict, EtcdError, EtcdUnavailable, NotFound, OutcomeUnknown
from babygun.etcd import (
    Compare,
    Op,
    TxnResult,
    absent,
    all_created_before,
    get,
    get_range,
    modified_at,
    present,
)
from babygun.runtime.clock import utc_now
from babygun.store import codec
from babygun.store.emails import parts
from babygun.store.emails.write_loop import (
    MAY_BE_WRITTEN,
    existing_keys,
    is_refusal,
    write_change,
)
from babygun.store.keys import JobRef, range_end
from babygun.store.store import Store

_PAUSE = 0.05  # s, between two tries of a write
# Given the record and the queues that are being sent. Raises Conflict.
Decision = Callable[[Email, set[str]], Transition]


async def cancel(
    store: Store, email_id: str, *, client_id: str | None = None, request_id: str | None = None
) -> Email:
    """Stops what is not being sent; see lifecycle.cancel. Raises NotFound, Conflict."""

    def decide(email: Email, sending: set[str]) -> Transition:
        return lifecycle.cancel(
            email, sending=sending, now=utc_now(), client_id=client_id, request_id=request_id
        )

    return await _page_by_page(store, email_id, decide)


async def send_now(
    store: Store, email_id: str, *, client_id: str | None = None, request_id: str | None = None
) -> Email:
    """Makes ready what waits for its time; see lifecycle.send_now. Raises NotFound, Conflict."""

    def decide(email: Email, sending: set[str]) -> Transition:
        return lifecycle.send_now(
            email, sending=sending, now=utc_now(), client_id=client_id, request_id=request_id
        )

    return await _page_by_page(store, email_id, decide)


async def _page_by_page(store: Store, email_id: str, decide: Decision) -> Email:
    """Changes all parts of a wide e-mail, one page after the other."""
    page = _Parts()
    email: Email | None = None
    while True:
        try:
            email = await _change(store, email_id, decide, page)
        except Conflict:
            if email is None and not page.more:
                raise
        except EtcdUnavailable as error:
            if email is None:
                raise
            raise OutcomeUnknown(str(error)) from None  # some parts are changed
        if email is not None and not page.more:
            return email
        page = _Parts(after=page.last)


async def expire(
    store: Store,
    ref: JobRef,
    outcome: RecipientResult,
    *,
    worker_id: str,
    ends: Callable[[Email], bool] = lambda _: True,
    needs: Sequence[bytes] = (),
) -> Email:
    """Ends a job that nobody sends; see lifecycle.expire. Raises NotFound, Conflict.

    ``ends``: whether the record's end has come; if not, it raises Conflict. ``needs``: keys without
    which it raises Conflict, beside the job's.
    """

    def decide(email: Email, sending: set[str]) -> Transition:
        if not ends(email):
            raise Conflict("the e-mail has time left")
        return lifecycle.expire(
            email,
            ref.queue,
            sending=sending,
            worker_id=worker_id,
            now=utc_now(),
            outcome=outcome,
        )

    one = _Parts(only=ref.queue)
    return await _change(store, ref.email_id, decide, one, (store.keys.job(ref), *needs))


async def retry(
    store: Store, email_id: str, *, client_id: str | None = None, request_id: str | None = None
) -> Email:
    """Tries again the recipients not reached (lifecycle.retry). Raises NotFound, Conflict."""

    def decide(email: Email, sending: set[str]) -> Transition:
        return lifecycle.retry(email, now=utc_now(), client_id=client_id, request_id=request_id)

    return await _change(store, email_id, decide, _Parts(all=True))


@dataclass(slots=True)
class _Parts:
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


async def _change(
    store: Store, email_id: str, decide: Decision, page: _Parts, needs: Sequence[bytes] = ()
) -> Email:
    """Reads, decides and writes, until the record has not changed in between.

    ``needs``: keys without which it raises Conflict.
    """
    tried: list[Email] = []
    try:
        return await _until_written(store, email_id, decide, page, needs, tried)
    except EtcdUnavailable as error:
        if not tried:
            raise
        raise OutcomeUnknown(str(error)) from None


async def _until_written(
    store: Store,
    email_id: str,
    decide: Decision,
    page: _Parts,
    needs: Sequence[bytes],
    tried: list[Email],
) -> Email:
    """``tried``: gets the records whose write has an unknown outcome."""
    email_key, first_chunk = store.keys.email(email_id), store.keys.chunk(email_id, 0)
    reads = _reads(store, email_id, (first_chunk, *needs))
    existing: set[bytes] | None = None
    deadline = time.monotonic() + store.settings.etcd_timeout
    while True:
        seen = await store.client.read(reads, timeout=max(0.0, deadline - time.monotonic()))
        records = seen.kvs(0)
        if not records:
            raise NotFound("there is no such e-mail")
        revision = records[0].mod_revision
        email = await page.seen(store, codec.decode_email(records[0].value), seen.revision)
        if wide.unlogged(email) in tried:
            return email
        _require(seen, range(3, len(reads)))
        transition = decide(email, {store.keys.parse_owner(kv.key).queue for kv in seen.kvs(1)})
        compares = [
            modified_at(email_key, revision),
            *_unowned(store, transition, seen.revision),
            *map(present, needs),
        ]
        if transition.ready:
            if not seen.kvs(2):
                raise Conflict("the e-mail's content is not kept any more")
            compares.append(present(first_chunk))
        try:
            result = await write_change(
                store,
                transition,
                compares,
                before=email,
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
    if email.wide is not None:
        owners = store.keys.email_owners(email.id)
        return [all_created_before(owners, range_end(owners), revision + 1)]
    return [absent(store.keys.owner(JobRef(email.id, queue))) for queue in transition.touched]


def _require(seen: TxnResult, reads: range) -> None:
    """Raises Conflict if one of these reads found nothing."""
    if not all(map(seen.kvs, reads)):
        raise Conflict("what the change was decided by is gone")


def _reads(store: Store, email_id: str, there: Sequence[bytes]) -> list[Op]:
    """Reads the record, its owners, and of each key of ``there`` whether it exists."""
    owners = store.keys.email_owners(email_id)
    return [
        get(store.keys.email(email_id)),
        get_range(owners, range_end(owners)),
        *(get_range(key, key + b"\0", keys_only=True) for key in there),
    ]
