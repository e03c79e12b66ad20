"""Writes the results of tries. Those of one e-mail that come together are written together."""

from __future__ import annotations

import asyncio

from babygun.email import wide
from babygun.email.model import Email
from babygun.email.tries import QueueResult
from babygun.runtime.metrics import EMAILS_ENDED
from babygun.store import Store
from babygun.store.emails.claims import Claim
from babygun.store.emails.finish import Finished, PendingResult
from babygun.store.emails.finish import finish as write

# Results in one transaction. Each has up to three compares, of which etcd takes 128.
_TOGETHER = 32
_REMEMBERED = 256  # wide e-mails whose record is remembered

_Waiting = tuple[PendingResult, asyncio.Future[Finished]]


class Finisher:
    """One writer per e-mail at a time, since its queues share a record.

    Results that come meanwhile are written in its next transaction.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[str, list[_Waiting]] = {}  # by e-mail, which has a writer
        # Of wide e-mails: the record as the last result left it, and its revision. The record of a
        # claim is mostly older, and a result that is decided on that is refused.
        self._records: dict[str, tuple[Email, int]] = {}

    async def finish(self, claim: Claim, result: QueueResult) -> Finished:
        """Returns when etcd has decided, however long that takes.

        Not to be cancelled: an unwritten result becomes a duplicate.
        """
        if len(claim.email.queues) == 1 and claim.email.wide is None:  # no other result can come
            return _counted(await write(self._store, [PendingResult(claim, result)]))
        email_id = claim.email.id
        future: asyncio.Future[Finished] = asyncio.get_running_loop().create_future()
        if email_id in self._waiting:
            self._waiting[email_id].append((PendingResult(claim, result), future))
            return await future
        self._waiting[email_id] = [(PendingResult(claim, result), future)]
        await asyncio.sleep(0)  # a result that is about to come joins
        await self._write(email_id)
        return future.result()

    async def _write(self, email_id: str) -> None:
        """Writes all results of the e-mail that wait, until none is left."""
        record, revision = self._records.pop(email_id, (None, 0))
        batch: list[_Waiting] = []
        try:
            while batch := self._waiting[email_id][:_TOGETHER]:
                self._waiting[email_id] = self._waiting[email_id][_TOGETHER:]
                pending = [one for one, _ in batch]
                done = _counted(
                    await write(self._store, pending, email=record, email_revision=revision)
                )
                record, revision = done.email, done.email_revision
                self._remember(email_id, record, revision)
                for _, waiter in batch:
                    if not waiter.done():
                        waiter.set_result(done)
        finally:
            for _, waiter in (*batch, *self._waiting.pop(email_id)):
                waiter.cancel()  # has no effect on one that has its result

    def _remember(self, email_id: str, record: Email | None, revision: int) -> None:
        self._records.pop(email_id, None)
        if record is not None and record.wide is not None and not record.final:
            self._records[email_id] = wide.record_of(record), revision
            if len(self._records) > _REMEMBERED:
                del self._records[next(iter(self._records))]


def _counted(done: Finished) -> Finished:
    """Counts the e-mail in the metrics, if it is final now."""
    if done.email is not None and done.written and done.email.final:
        EMAILS_ENDED[done.email.status].inc()
    return done
