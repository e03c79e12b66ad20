"""Writes results. Those of one email that come together are written together: the queues share its record."""

from __future__ import annotations

import asyncio

from babygun.email.lifecycle import QueueResult
from babygun.email.model import Email
from babygun.runtime.metrics import EMAILS_ENDED
from babygun.store import Store
from babygun.store.emails.claims import Claim
from babygun.store.emails.finish import Finished, PendingResult
from babygun.store.emails.finish import finish as write


class Finisher:
    """One writer per email at a time; what comes meanwhile goes with its next transaction."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[str, list[tuple[PendingResult, asyncio.Future[Finished]]]] = {}

    async def finish(self, claim: Claim, result: QueueResult) -> Finished:
        """Returns when etcd has decided, however long that takes. Not to be cancelled: a result that is not written is a duplicate to come."""
        if len(claim.email.queues) == 1:  # there is nobody to write with
            return _counted(await write(self._store, [PendingResult(claim, result)]))
        email_id = claim.email.id
        future: asyncio.Future[Finished] = asyncio.get_running_loop().create_future()
        item = (PendingResult(claim, result), future)
        if email_id in self._waiting:
            self._waiting[email_id].append(item)
            return await future
        self._waiting[email_id] = [item]
        await asyncio.sleep(0)  # lets a result that is about to come join
        record: Email | None = None
        revision = 0
        batch: list[tuple[PendingResult, asyncio.Future[Finished]]] = []
        try:
            while batch := self._waiting[email_id]:
                self._waiting[email_id] = []
                done = _counted(
                    await write(
                        self._store,
                        [held for held, _ in batch],
                        email=record,
                        email_revision=revision,
                    )
                )
                record, revision = done.email, done.email_revision
                for _, waiter in batch:
                    if not waiter.done():
                        waiter.set_result(done)
        finally:
            for _, waiter in (*batch, *self._waiting.pop(email_id)):
                waiter.cancel()  # does nothing to one that has its result
        return future.result()


def _counted(done: Finished) -> Finished:
    """What was written, counted in the metrics where it ended the e-mail."""
    if done.email is not None and done.written and done.email.final:
        EMAILS_ENDED[done.email.status].inc()
    return done
