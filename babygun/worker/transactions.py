"""Sends the mail of one try, in as many SMTP transactions as that takes.

One message to all recipients, or to each a copy of its own. A server that wants some recipients in
another transaction gets one at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from msgspec import Struct, field
from msgspec.structs import replace

from babygun.email.addresses import needs_smtputf8
from babygun.email.model import Content
from babygun.email.tries import RecipientResult
from babygun.mime import needs_smtputf8 as content_needs_smtputf8
from babygun.routing.destination import Destination
from babygun.routing.sites import Site
from babygun.runtime import tracing
from babygun.runtime.metrics import CLAIM_TO_REPLY
from babygun.smtp import Envelope, NotSent, Outcome, Pools, SmtpPool
from babygun.smtp.tls_checks import TlsSession
from babygun.store.emails.claims import Claim
from babygun.worker.copies import send_copies
from babygun.worker.messages import Message, Messages
from babygun.worker.replies import Replies
from babygun.worker.results import Sent
from babygun.worker.return_paths import ReturnPathOfTry
from babygun.worker.signing import Signer
from babygun.worker.warm_ups import Reservation

_INTERRUPTED = RecipientResult(
    "retry", "interrupted", reason="the try was stopped between two of its transactions"
)
_UNCERTAIN = RecipientResult(
    "retry",
    "uncertain",
    reason="the worker was stopped while the server had the message: it may have been delivered",
)


class Progress(Struct, gc=False):
    """How far a try has come, for a caller that wants to stop it.

    ``site``: where its mail goes, once that is known. ``connected``: it has a connection.
    ``content_sent``: the content of the present transaction has gone out, or is going out.
    ``finishing``: its result is being written, so it must not be cancelled. ``claimed_at``: on
    time.monotonic().
    """

    site: Site | None = None
    connected: bool = False
    content_sent: bool = False
    finishing: bool = False
    claimed_at: float = field(default_factory=time.monotonic)


class Sending(Struct, gc=False):
    """What the transactions of one try share.

    ``for_email``: as :meth:`Destination.servers` takes it. ``signer``: None: it is not signed.
    ``return_path``: None: the envelope sender is the e-mail's own. ``may_send``: asked before the
    content of each transaction. ``sent``: gets the results. ``reserved``: None: no ceiling of a
    warm-up counts. ``repeated``: the recipients that were sent to on a fresh connection already.
    """

    claim: Claim
    content: Content
    destination: Destination
    for_email: str
    signer: Signer | None
    return_path: ReturnPathOfTry | None
    may_send: Callable[[], bool]
    progress: Progress
    sent: Sent
    reserved: Reservation | None = None
    repeated: set[str] = field(default_factory=set)


class Transactions:
    """Makes the transactions of tries.

    ``tls_session``: called with each connection that was used, or that TLS was a reason not to use.
    """

    def __init__(
        self,
        pools: Pools,
        messages: Messages,
        replies: Replies,
        tls_session: Callable[[Destination, TlsSession], None],
    ) -> None:
        self._pools, self._messages, self._replies = pools, messages, replies
        self._tls_session = tls_session

    async def send_message(self, sending: Sending, todo: tuple[str, ...]) -> None:
        """Sends one message to all recipients. Raises as :meth:`Delivery.deliver` says."""
        message, utf8 = self._message(sending), _needs_smtputf8(sending, todo)
        groups = [todo]
        results, progress = sending.sent.results, sending.progress
        try:
            await self._send_groups(sending, groups, message, utf8)
        except (NotSent, asyncio.CancelledError):
            if not results and not progress.content_sent:
                raise
            interrupted = _UNCERTAIN if progress.content_sent else _INTERRUPTED
            left = [address for group in groups for address in group]
            results |= dict.fromkeys(left, interrupted)

    async def send_copies(self, sending: Sending, todo: tuple[str, ...]) -> None:
        """Sends each recipient a copy of its own, with a link to unsubscribe if it has links."""
        rendered = self._message(sending)
        copy_for = await self._messages.copies(sending.claim.email, sending.content, rendered)

        async def send(address: str) -> None:
            message = copy_for(address)
            utf8 = _needs_smtputf8(sending, (address,))
            progress = Progress(claimed_at=sending.progress.claimed_at)
            own = replace(sending, progress=progress)
            try:
                await self._send_groups(own, [(address,)], message, utf8)
            except (NotSent, asyncio.CancelledError):
                if progress.content_sent:
                    sending.sent.results[address] = _UNCERTAIN
                raise

        await send_copies(sending.claim, todo, sending.sent, send)

    def _message(self, sending: Sending) -> Message:
        def connected() -> None:
            sending.progress.connected = True  # what the server offers is known

        # A relay may pass the mail on to a server without 8BITMIME, and would encode it again: the
        # signature would not fit any more (RFC 6376, 5.3).
        seven_bit = sending.signer is not None and not sending.destination.is_mx
        email, content = sending.claim.email, sending.content
        return self._messages.message(email, content, seven_bit=seven_bit, asked=connected)

    async def _send_groups(
        self, sending: Sending, groups: list[tuple[str, ...]], message: Message, utf8: bool
    ) -> None:
        """Sends a message to each group in a transaction. Takes out of ``groups`` what is done.

        ``utf8``: the message or an address needs SMTPUTF8.
        """
        claim, destination, sent = sending.claim, sending.destination, sending.sent
        sender, return_path = claim.email.sender, sending.return_path
        sign = sending.signer.sign if sending.signer else None
        while groups:
            mail_from = return_path.sender(groups[0]) if return_path else sender
            envelope = Envelope(mail_from, groups[0], message, utf8, sign)
            pool = self._pools.get(destination, sending.for_email)
            outcome = await self._transact(sending, pool, envelope)
            if sending.reserved is not None:
                sending.reserved.note(outcome)
            if not sent.results:
                self._replies.raise_crowded(pool, outcome, sender)
            again = self._replies.add_results(claim, destination, outcome, sent, sending.repeated)
            groups[:1] = (again, *outcome.parts) if again else outcome.parts

    async def _transact(self, sending: Sending, pool: SmtpPool, envelope: Envelope) -> Outcome:
        """One transaction."""
        destination, progress = sending.destination, sending.progress

        def may_send_now() -> bool:
            progress.content_sent = sending.may_send()
            return progress.content_sent

        progress.content_sent = False
        with tracing.child("smtp transaction", "client") as span:
            outcome = await pool.deliver(envelope, may_send=may_send_now, queue=destination.name)
            if span.recording:
                self._replies.describe(span, destination, outcome)
        progress.content_sent = False
        for session in outcome.sessions:
            self._tls_session(destination, session)
        for reply in outcome.replies.values():
            if reply.phase == "message" and reply.code is not None:
                seconds = time.monotonic() - progress.claimed_at
                CLAIM_TO_REPLY[destination.site.label].observe(seconds)
                break
        return outcome


def may_be_taken(result: RecipientResult) -> bool:
    """Whether a server has the recipient's message, or nobody knows."""
    return result.action == "deliver" or result.reply_class == _UNCERTAIN.reply_class


def _needs_smtputf8(sending: Sending, recipients: tuple[str, ...]) -> bool:
    own = () if sending.return_path else (sending.claim.email.sender,)
    addresses = (*own, *recipients)
    return content_needs_smtputf8(sending.content) or any(map(needs_smtputf8, addresses))
