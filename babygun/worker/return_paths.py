"""Return paths of the mail that a worker sends: by them a bounce message finds its recipient.

An e-mail has one where its route says so, and where its client holds a domain that covers the
sender's and whose return path was found in DNS. All tries of an e-mail have the same one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from msgspec import Struct

from babygun.email.model import Email, queue_recipients
from babygun.email.return_path import local_part, of_queue, of_recipient
from babygun.errors import EtcdError
from babygun.routing.routes import Routes
from babygun.runtime.logs import get_logger
from babygun.store import Store
from babygun.store.return_path_keys import ReturnPathKeys

log = get_logger("worker")

_READ_AGAIN = 0.5  # s, after a read that failed


class ReturnPathOfTry(Struct, frozen=True, gc=False):
    """The return paths of one try. ``each``: each recipient has its own.

    ``retried``: how often a client had the recipients tried again.
    """

    email: Email
    queue: str
    retried: int
    domain: str
    secret: bytes
    each: bool

    @property
    def makes_copies(self) -> bool:
        """Whether each recipient has a transaction of its own: there are several of them.

        Final ones count, too: a try that is made in rounds ends as such.
        """
        return self.each and sum(r.queue == self.queue for r in self.email.recipients) > 1

    def sender(self, addresses: Sequence[str]) -> str:
        """The envelope sender of a transaction to these recipients."""
        id, client_id = self.email.id, self.email.client_id
        if self.each and len(addresses) == 1:
            path = of_recipient(id, addresses[0], self.retried, client_id)
        else:
            path = of_queue(id, self.queue, self.retried, client_id)
        return f"{local_part(path, self.secret)}@{self.domain}"


class ReturnPaths:
    """Finds the return paths of tries. ``keys``: to be followed by a task."""

    def __init__(self, store: Store, routes: Routes) -> None:
        self._store, self._routes = store, routes
        self.keys = ReturnPathKeys(store)

    async def of(self, email: Email, queue: str) -> ReturnPathOfTry | None:
        """None: the envelope sender is the e-mail's own.

        Waits for etcd: without it the results could not be written either.
        """
        mode = self._routes.return_path(queue)
        if mode == "off":
            return None
        domains = self._store.domains
        if not domains.ready.is_set():
            await domains.ready.wait()
        domain = domains.of_sender(email.client_id, email.sender)
        if domain is None or not domain.is_verified("return_path"):
            return None
        while True:
            try:
                key = await self.keys.of_time(email.created_at)
                break
            except EtcdError as error:
                log.warning("return-path key not read", error=str(error))
                await asyncio.sleep(_READ_AGAIN)
        retried = max((r.retried for r in queue_recipients(email, queue)), default=0)
        return ReturnPathOfTry(
            email, queue, retried, domain.return_path, key.secret, mode == "recipient"
        )
