"""What the loops share that write a change of a record until etcd has decided."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from contextlib import suppress

from babygun.email.model import Email
from babygun.email.transition import Transition
from babygun.errors import (
    MAY_BE_WRITTEN,
    BabygunError,
    EtcdError,
    EtcdUnavailable,
    LeaseNotFound,
    PermissionDenied,
)
from babygun.etcd import Compare, Op, TxnResult, get_range
from babygun.runtime.logs import get_logger
from babygun.runtime.metrics import SUPPRESSIONS_WRITTEN
from babygun.store.emails import parts, writes
from babygun.store.emails.writes import Kept
from babygun.store.keys import range_end
from babygun.store.store import Store
from babygun.store.suppressions import bounces
from babygun.store.suppressions.suppressions import NewSuppression, add_page
from babygun.store.webhooks import outbox

log = get_logger("store")

# Of a change without its notices; etcd takes 1.5 MiB a request.
_MOST_BYTES = 1_440_000


async def write_change(
    store: Store,
    transition: Transition,
    compares: Sequence[Compare],
    *,
    before: Email | None = None,
    has_content: bool = True,
    existing: Collection[bytes] | None = None,
    more: Sequence[Op] = (),
    otherwise: Sequence[Op] = (),
    deadline: float | None = None,
) -> TxnResult:
    """Writes a change of a record under ``compares``, as one transaction. Raises EtcdError.

    The addresses that it suppresses are written along, and the notices of its client's webhooks
    (:mod:`babygun.store.webhooks.outbox`).

    ``before`` and ``existing``: see :func:`babygun.store.emails.writes.change`. ``has_content``:
    False: the content of a final e-mail is gone already. ``more``: written along. ``otherwise``:
    read if a compare fails. ``deadline``: see :meth:`Batcher.submit`.
    """
    while True:
        kept, suppressions_lease = Kept(), 0
        try:
            if transition.email.final:
                kept = await _kept(store, transition.email, has_content)
            ops = writes.change(
                store.keys,
                transition,
                before=before,
                kept=kept,
                existing=existing,
            )
            ops += more
            first = len(ops)  # of the writes of suppressions
            if transition.suppressed:
                suppressions_lease = await store.suppression_leases.lease(
                    len(transition.suppressed)
                )
                ops += bounces.suppress(
                    store.keys,
                    transition.email.client_id,
                    transition.suppressed,
                    suppressions_lease,
                    most_bytes=_MOST_BYTES - writes.size(ops),
                )
            result = await outbox.submit(
                store,
                (transition,),
                compares,
                ops,
                otherwise,
                deadline=deadline,
            )
            if result.succeeded and transition.suppressed:
                # Those that don't fit have no operation.
                written = [result.done(index) for index in range(first, len(ops))]
                await _after_bounces(store, transition, written)
            return result
        except LeaseNotFound:  # revoked to make room; the next one is new
            store.record_leases.forget(kept.lease)
            store.suppression_leases.forget(suppressions_lease)


async def _after_bounces(store: Store, transition: Transition, written: Sequence[bool]) -> None:
    """Counts the addresses that were suppressed. For the others, a person's word is there.

    etcd can't compare whether that word has ended. If it has, the bounce takes its place now. It is
    tried once, since the slot of the try waits for it. If that fails, the next bounce does it.
    """
    stayed = []
    for each, done in zip(transition.suppressed, written, strict=False):
        if done:
            SUPPRESSIONS_WRITTEN[each.suppression.reason].inc()
        else:
            stayed.append(NewSuppression(each.address, each.suppression, each.list))
    if stayed:
        with suppress(BabygunError, ValueError):
            await add_page(store, transition.email.client_id, stayed, tries=1)


async def _kept(store: Store, email: Email, has_content: bool) -> Kept:
    """How a final e-mail is kept. One that failed keeps its content, since it may be retried."""
    queues = await parts.queues_of(store, email.id) if email.wide else ()
    # The record, the mark of a failure, the log, the parts.
    keys = 2 + len(writes.log_numbers(email)) + len(queues)
    lease = await store.record_leases.lease(keys)
    keeps = email.status != "complete" or store.settings.contents_retention > 0
    return Kept(lease, keeps and has_content, queues)


def is_refusal(error: EtcdError) -> bool:
    """Whether etcd refused the writes themselves, as it does if a key to keep is missing."""
    return not isinstance(error, (EtcdUnavailable, PermissionDenied, *MAY_BE_WRITTEN))


async def existing_keys(store: Store, email_id: str) -> set[bytes] | None:
    """The keys of an e-mail's log and parts that exist. None: etcd does not answer."""
    prefixes = (store.keys.log(email_id), store.keys.email_parts(email_id))
    try:
        found = await store.client.read(
            [get_range(prefix, range_end(prefix), keys_only=True) for prefix in prefixes]
        )
    except EtcdError:
        return None
    return {kv.key for index in range(len(prefixes)) for kv in found.kvs(index)}


class Pause:
    """A growing pause between tries of a write that has to be made, however long etcd is away."""

    _LOG_EVERY = 60.0
    _seconds = 0.05
    _logged = -_LOG_EVERY

    async def after(self, error: EtcdError, what: str, email_id: str) -> None:
        """Waits, and logs that from time to time: hundreds may wait at once."""
        if (now := time.monotonic()) - self._logged >= self._LOG_EVERY:
            self._logged = now
            log.warning("write waits for etcd", what=what, email_id=email_id, error=str(error))
        await asyncio.sleep(self._seconds)
        self._seconds = min(2.0, self._seconds * 2)
