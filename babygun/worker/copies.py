"""Sends an e-mail in copies: to each recipient one of its own, in a transaction of its own.

    the first copy, alone ─▶ the others, several at a time ─▶ the results of this round

So it goes if the copies have links to unsubscribe, or if each recipient has a return path of its
own. Each copy has its own reply. But what a server says of the session, the site, the sender or the
message holds for all recipients, as it does in one transaction. So the first copy goes alone, and
after such a reply no other one begins.

A try is made in rounds. A round ends after 100 copies, or after ten seconds. Its results are
written, and the queue is ready again for the next one. So a worker that dies makes few
duplicates.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from babygun.email.tries import RecipientResult
from babygun.routing.mx import LookupFailed, NoMailHost
from babygun.runtime.logs import get_logger
from babygun.smtp import NotSent
from babygun.store.emails.claims import Claim
from babygun.worker.results import Sent

log = get_logger("worker")

_MOST = 100  # copies of one round
_SECONDS = 10.0  # after which a round begins no further copy
_AT_ONCE = 8  # copies
_BYTES_AT_ONCE = 4 << 20  # of the content of copies under way


Send = Callable[[str], Awaitable[None]]
"""Sends one recipient's copy, and adds its result to the Sent of the try."""


async def send_copies(claim: Claim, recipients: Sequence[str], sent: Sent, send: Send) -> None:
    """Sends to the recipients, until the round ends.

    Without any result it raises what ``send`` raises: nothing was sent. Otherwise each recipient
    that was tried has a result. Raises NoMailHost and LookupFailed, too: who has no result was not
    sent anything.
    """
    current = _Round(claim, recipients, sent, send)
    try:
        await current.send_first()
        async with asyncio.TaskGroup() as group:
            for _ in range(current.at_once):
                group.create_task(current.send_others(), name="copies")
    except (NotSent, asyncio.CancelledError):
        if not sent.results:
            raise
    if current.without_host is not None:
        raise current.without_host
    if sent.for_all is not None:
        left = (address for address in recipients if address not in sent.results)
        sent.results |= dict.fromkeys(left, sent.for_all)


class _Round:
    """``at_once``: how many others go at a time. ``without_host``: DNS names no host any more."""

    def __init__(self, claim: Claim, recipients: Sequence[str], sent: Sent, send: Send) -> None:
        self._ref, self._sent, self._send = claim.ref, sent, send
        self._left = deque(recipients)
        self._ends_at = time.monotonic() + _SECONDS
        self._stopped = False
        by_size = max(1, _BYTES_AT_ONCE // max(1, claim.email.size))
        self.at_once = min(len(recipients) - 1, _AT_ONCE, by_size)
        self.without_host: NoMailHost | LookupFailed | None = None

    async def send_first(self) -> None:
        if self._left:
            await self._send(self._left.popleft())

    async def send_others(self) -> None:
        """Sends one copy after the other. Several tasks do it together."""
        while self._left and not self._ends:
            try:
                await self._send(self._left.popleft())
            except NotSent:
                self._stopped = True
            except (NoMailHost, LookupFailed) as error:
                self.without_host = error
            except Exception as error:
                # Those that are delivered must not be sent to again because of our fault.
                log.error(
                    "delivery crashed",
                    exc=error,
                    email_id=self._ref.email_id,
                    queue=self._ref.queue,
                )
                reason = f"internal error: {type(error).__name__}: {error}"
                self._sent.for_all = RecipientResult("retry", "internal", reason=reason)

    @property
    def _ends(self) -> bool:
        """Whether no further copy is begun."""
        return (
            self._stopped
            or self.without_host is not None
            or self._sent.for_all is not None
            or len(self._sent.results) >= _MOST
            or time.monotonic() >= self._ends_at
        )
