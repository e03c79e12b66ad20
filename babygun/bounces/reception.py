"""Decides what is taken, and what becomes of it: which addresses, which message, which outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from babygun.bounces.matching import return_paths
from babygun.bounces.parse import read
from babygun.bounces.reading import Reading
from babygun.bounces.verdict import bounce_of
from babygun.email.bounces import Complaint
from babygun.email.return_path import ReturnPath, is_return_path
from babygun.errors import EtcdError, EtcdUnavailable
from babygun.runtime import metrics
from babygun.runtime.logs import get_logger
from babygun.smtp.classifier import Classifier
from babygun.store import Store
from babygun.store.emails.late import Outcome, complaint, late_bounce
from babygun.store.return_path_keys import ReturnPathKeys

log = get_logger("bounced")

TAKEN = "250 2.0.0 Taken"
_NOBODY = "550 5.1.1 No such address here"
_LATER = "451 4.3.0 Please come again"
_LOG_MAX = 200  # characters of a text from outside in the process log


class Reception:
    """The answers to RCPT and to the message. ``complaint_addresses``: in lower case."""

    def __init__(
        self,
        store: Store,
        keys: ReturnPathKeys,
        classifier: Classifier,
        complaint_addresses: Sequence[str],
    ) -> None:
        self._store, self._keys, self._classifier = store, keys, classifier
        self._complaint_addresses = frozenset(complaint_addresses)

    async def refusal(self, address: str) -> str | None:
        """Why mail to this address is not taken, as a reply to RCPT; None: it is.

        Only who got one of our messages knows its return path. So nobody can have bounce messages
        made for others here, and this server passes no mail on. What has the form of a return path
        may be made under a key that is new: so it is refused for good after a look at all keys.
        """
        if self._is_for_complaints(address):
            return None
        if self._keys.known and self._path(address):
            return None
        try:
            if not self._keys.known:
                raise EtcdUnavailable("the keys of return paths are not read yet")
            if is_return_path(address.rpartition("@")[0]):
                await self._keys.look_again()
        except EtcdError:
            metrics.RETURNED_REFUSED["etcd"].inc()
            return _LATER
        if self._path(address):
            return None
        metrics.RETURNED_REFUSED["address"].inc()
        return _NOBODY

    async def take(self, message: bytes, addresses: Sequence[str], peer: str) -> str:
        """The reply to a message. It is 250 only after all that it says is committed."""
        reading = await asyncio.to_thread(read, message)
        metrics.RETURNED_MESSAGES[reading.kind].inc()
        replies = [await self._take_for(address, reading, peer) for address in addresses]
        return next((reply for reply in replies if reply != TAKEN), TAKEN)

    async def _take_for(self, address: str, reading: Reading, peer: str) -> str:
        path = self._path(address)
        outcomes: list[str] = []
        try:
            if reading.kind == "bounce" and path:
                outcomes += await self._bounced(path, reading)
            elif reading.kind == "complaint":
                outcomes += await self._complained(path, reading)
        except EtcdError as error:
            metrics.RETURNED_OUTCOMES[reading.kind, "away"].inc()
            log.warning("returned message deferred", address=peer, error=str(error))
            return _LATER
        log.info(
            "returned message taken",
            address=peer,
            kind=reading.kind,
            shape=reading.shape,
            email_id=path.email_id if path else None,
            reporter=reading.reporter[:_LOG_MAX],
            outcomes=", ".join(outcomes),
        )
        return _LATER if "too_early" in outcomes else TAKEN

    async def _bounced(self, path: ReturnPath, reading: Reading) -> list[Outcome]:
        """One for each recipient, up to the first for which the server has to come again."""
        outcomes: list[Outcome] = []
        for failure in reading.failures:
            report = bounce_of(failure, reading.reporter, self._classifier)
            outcomes.append(await late_bounce(self._store, path, report))
            metrics.RETURNED_OUTCOMES["bounce", outcomes[-1]].inc()
            if outcomes[-1] == "too_early":
                break
        return outcomes

    async def _complained(self, path: ReturnPath | None, reading: Reading) -> list[str]:
        """``path``: of the address that the complaint came to, mostly None."""
        assert reading.complaint is not None
        said = reading.complaint
        report = Complaint(
            addresses=said.addresses,
            feedback_type=said.feedback_type[:_LOG_MAX],
            reporter=said.reporter[:_LOG_MAX],
        )
        paths = [path] if path else list(return_paths(said.head, said.addresses, self._keys.read))
        outcomes: list[str] = []
        for each in paths:
            outcomes.append(await complaint(self._store, each, report))
            metrics.RETURNED_OUTCOMES["complaint", outcomes[-1]].inc()
        if not outcomes:
            metrics.RETURNED_OUTCOMES["complaint", "unmatched"].inc()
            outcomes.append("unmatched")
        return outcomes

    def _is_for_complaints(self, address: str) -> bool:
        return address.lower() in self._complaint_addresses

    def _path(self, address: str) -> ReturnPath | None:
        """The return path that an address is; None for others."""
        return self._keys.read(address.rpartition("@")[0])
