"""Sends one queue of one e-mail, in as many SMTP transactions as that takes."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Collection

from msgspec import Struct, field

from babygun.email.addresses import needs_smtputf8
from babygun.email.model import Content, queue_recipients
from babygun.email.tries import RecipientResult, recipients_of_try
from babygun.errors import OutOfResources
from babygun.mime import heeds_tls_policies
from babygun.mime import needs_smtputf8 as content_needs_smtputf8
from babygun.routing.destination import Destination, NoDestination, NoSource
from babygun.routing.mx import LookupFailed, NoMailHost
from babygun.routing.mx_destinations import MxDestination
from babygun.routing.routes import Routes
from babygun.routing.sites import Site
from babygun.runtime import tracing
from babygun.runtime.logs import get_logger
from babygun.runtime.metrics import CLAIM_TO_REPLY
from babygun.runtime.open_files import allow_open_files
from babygun.runtime.settings import Settings
from babygun.smtp import (
    UNLIMITED,
    Envelope,
    KnownServers,
    NoConnection,
    NotSent,
    Outcome,
    Permits,
    Pools,
    SmtpPool,
)
from babygun.smtp.classifier import Classifier
from babygun.smtp.connection_count import MOST, ConnectionCount
from babygun.smtp.replies import Reply
from babygun.smtp.tls_checks import TlsSession
from babygun.store.emails.claims import Claim
from babygun.store.unsubscribe.keys import UnsubscribeKeys
from babygun.worker.copies import send_copies
from babygun.worker.messages import Message, Messages
from babygun.worker.replies import Crowded, Replied, Replies, Unauthenticated
from babygun.worker.results import Sent, SessionFault, without_host
from babygun.worker.return_paths import ReturnPathOfTry, ReturnPaths
from babygun.worker.signing import CannotSign, Signer, Signers
from babygun.worker.tls_sessions import count_session
from babygun.worker.warm_ups import Reservation, WarmUps

log = get_logger("worker")

_POOL_UNUSED = 2.0  # s, after which a pool without connections is dropped: domains are many
_OTHER_FILES = 256  # beside connections to servers
_MX_IDLE = 5.0  # s, for which a connection to a mail host stays open: there are many of them


class Progress(Struct, gc=False):
    """How far a try has come, for a caller that wants to stop it.

    ``site``: where its mail goes, once that is known. ``connected``: it has a connection.
    ``content_sent``: the content of the present transaction has gone out, or is going out.
    ``finishing``: its result is being written, so it must not be cancelled.
    """

    site: Site | None = None
    connected: bool = False
    content_sent: bool = False
    finishing: bool = False
    claimed_at: float = field(default_factory=time.monotonic)


class _Try(Struct, gc=False):
    """What the transactions of one try share.

    ``for_email``: as :meth:`Destination.servers` takes it. ``signer``: None: it is not signed.
    ``return_path``: None: the envelope sender is the e-mail's own. ``reserved``: None: no ceiling
    of a warm-up counts. ``repeated``: the recipients that were sent to on a fresh connection
    already.
    """

    claim: Claim
    content: Content
    destination: Destination
    for_email: str
    signer: Signer | None
    return_path: ReturnPathOfTry | None
    may_send: Callable[[], bool]
    sent: Sent
    reserved: Reservation | None = None
    repeated: set[str] = field(default_factory=set)


class Delivery:
    """Sends e-mails to the destinations of their queues.

    ``link_keys``: of links to unsubscribe. ``signers``: of messages. ``permits_of``: those of a
    site. ``replied``: called with each reply of a site that has limits, once for all recipients
    that got it, and with the sender's domain. ``unauthenticated``: called with each reply which
    says that the sender's mail is not authenticated. ``tls_session``: called with each connection
    that a queue's mail used, or that TLS was a reason not to use. ``warm_ups``: None: nothing warms
    up.
    """

    def __init__(
        self,
        settings: Settings,
        routes: Routes,
        link_keys: UnsubscribeKeys,
        signers: Signers,
        return_paths: ReturnPaths,
        *,
        permits_of: Callable[[Site], Permits] = lambda site: UNLIMITED,
        replied: Replied = lambda site, reply, found, sender: None,
        unauthenticated: Unauthenticated = lambda claim, site, reply: None,
        tls_session: Callable[[Destination, TlsSession], None] = count_session,
        warm_ups: WarmUps | None = None,
    ) -> None:
        self._warm_ups = warm_ups
        self._tls_session = tls_session
        self._routes, self._signers = routes, signers
        self._messages = Messages(link_keys, settings.feedback_id)
        self._return_paths = return_paths
        self._replies = Replies(Classifier.load(settings.reply_rules), replied, unauthenticated)
        hostname = settings.smtp_hostname or socket.getfqdn()
        files = allow_open_files(settings.worker_concurrency + _OTHER_FILES + MOST)
        idle_files = max(0, files - settings.worker_concurrency - _OTHER_FILES)
        known = KnownServers(count=ConnectionCount(most=idle_files))

        def make_pool(destination: Destination, for_email: str) -> SmtpPool:
            idle = settings.smtp_idle
            return SmtpPool(
                destination,
                hostname=hostname,
                connect_timeout=settings.smtp_connect_timeout,
                timeout=settings.smtp_timeout,
                data_timeout=settings.smtp_data_timeout,
                idle=min(idle, _MX_IDLE) if destination.is_mx else idle,
                known=known,
                permits=permits_of(destination.site),
                refuses_ipv6=self._replies.refuse_ipv6,
                for_email=for_email,
            )

        self.pools = Pools(make_pool, unused=_POOL_UNUSED)

    async def close(self) -> None:
        await self.pools.close()
        self._signers.close()

    async def deliver(
        self,
        claim: Claim,
        may_send: Callable[[], bool],
        progress: Progress,
        *,
        skip: Collection[str] = (),
    ) -> Sent:
        """Sends to each recipient of the queue that is not final yet. Returns a result for each.

        Recipients that the server wants in another transaction go into one at once. So do those
        that are to be repeated on a fresh connection. Neither uses up a try. ``skip``: addresses
        that it does not send to.

        ``may_send`` may say no, the task may be cancelled, or there may be no connection to be
        had. Then it raises NotSent, CancelledError or Crowded, if certainly no server has taken
        anything. If one may have, it returns what is known by then: without a result the try would
        be made again for all recipients. An e-mail of which each recipient gets a copy is sent in
        rounds (see :mod:`babygun.worker.copies`).
        """
        email, queue = claim.email, claim.ref.queue
        return_path = await self._return_paths.of(email, queue)
        copies = claim.content is not None and (
            claim.content.unsubscribe is not None
            or (return_path is not None and return_path.makes_copies)
        )
        recipients = (recipients_of_try if copies else queue_recipients)(email, queue)
        todo = tuple(r.email for r in recipients if r.email not in skip)
        if claim.content is None:
            log.error("content missing", email_id=email.id, queue=queue)
            reason = "the e-mail's content is gone from etcd, or can't be read"
            fault = RecipientResult("fail", "internal", reason=reason)
            return Sent(dict.fromkeys(todo, fault))
        sent = Sent({}, in_rounds=copies)
        try:
            destination = await self._routes.destination(queue)
            progress.site = destination.site
            if isinstance(destination, MxDestination) and not heeds_tls_policies(claim.content):
                destination = destination.without_policies()
            # The same at each try, so that a server that greylists knows it by our address.
            for_email = f"{email.sender} {queue}".lower() if destination.sources else ""
            signer = await self._signers.of(email)
            attempt = _Try(
                claim,
                claim.content,
                destination,
                for_email,
                signer,
                return_path,
                may_send,
                sent,
            )
            send = self._send_copies if copies else self._send_message
            if self._warm_ups is not None and destination.is_mx:
                await self._send_within_ceilings(self._warm_ups, send, attempt, todo, progress)
            else:
                await send(attempt, todo, progress)
        except (OutOfResources, NoConnection) as error:
            raise Crowded(Reply("connect", None, None, str(error))) from error
        except (NoSource, CannotSign) as error:
            fault = RecipientResult("retry", "configuration", reason=str(error))
            sent.results = dict.fromkeys(todo, fault) | sent.results
        except NoDestination as error:
            log.error("destination unknown", queue=queue, email_id=email.id)
            fault = RecipientResult("hold", "configuration", reason=str(error))
            at_site = SessionFault(fault, holds=True, at_mail=False)
            return Sent(dict.fromkeys(todo, fault), at_site, in_rounds=copies)
        except (NoMailHost, LookupFailed) as error:
            found = without_host(error, recipients, self._routes.schedule(queue))
            sent.results = found | sent.results
        return sent

    async def _send_within_ceilings(
        self,
        warm_ups: WarmUps,
        send: Callable[[_Try, tuple[str, ...], Progress], Awaitable[None]],
        attempt: _Try,
        todo: tuple[str, ...],
        progress: Progress,
    ) -> None:
        """Sends to as many recipients as a warm-up allows. Its last round puts the others off."""
        reserved = await warm_ups.reserve(
            attempt.claim.email, attempt.destination, attempt.for_email, len(todo)
        )
        if reserved is None:
            await send(attempt, todo, progress)
            return
        results = attempt.sent.results
        attempt.reserved, attempt.destination = reserved, reserved.destination
        allowed, others = todo[: reserved.recipients], todo[reserved.recipients :]
        try:
            if allowed:
                await send(attempt, allowed, progress)
        finally:
            warm_ups.settle(reserved, sum(map(_may_be_taken, results.values())))
        another_round = attempt.sent.in_rounds and any(one not in results for one in allowed)
        if others and not another_round:
            results |= dict.fromkeys(others, warm_ups.put_off(reserved, len(others)))

    async def _send_message(self, attempt: _Try, todo: tuple[str, ...], progress: Progress) -> None:
        """Sends one message to all recipients."""
        message, utf8 = self._message(attempt, progress), _needs_smtputf8(attempt, todo)
        groups = [todo]
        results = attempt.sent.results
        try:
            await self._send_groups(attempt, groups, message, utf8, progress)
        except (NotSent, asyncio.CancelledError):
            if not results and not progress.content_sent:
                raise
            interrupted = _UNCERTAIN if progress.content_sent else _INTERRUPTED
            left = [address for group in groups for address in group]
            results |= dict.fromkeys(left, interrupted)

    async def _send_copies(self, attempt: _Try, todo: tuple[str, ...], progress: Progress) -> None:
        """Sends each recipient a copy of its own, with a link to unsubscribe if it has links."""
        rendered = self._message(attempt, progress)
        copy_for = await self._messages.copies(attempt.claim.email, attempt.content, rendered)

        async def send(address: str) -> None:
            message = copy_for(address)
            utf8 = _needs_smtputf8(attempt, (address,))
            own = Progress(claimed_at=progress.claimed_at)
            try:
                await self._send_groups(attempt, [(address,)], message, utf8, own)
            except (NotSent, asyncio.CancelledError):
                if own.content_sent:
                    attempt.sent.results[address] = _UNCERTAIN
                raise

        await send_copies(attempt.claim, todo, attempt.sent, send)

    def _message(self, attempt: _Try, progress: Progress) -> Message:
        def connected() -> None:
            progress.connected = True  # what the server offers is known

        # A relay may pass the mail on to a server without 8BITMIME, and would encode it again: the
        # signature would not fit any more (RFC 6376, 5.3).
        seven_bit = attempt.signer is not None and not attempt.destination.is_mx
        email, content = attempt.claim.email, attempt.content
        return self._messages.message(email, content, seven_bit=seven_bit, asked=connected)

    async def _send_groups(
        self,
        attempt: _Try,
        groups: list[tuple[str, ...]],
        message: Message,
        utf8: bool,
        progress: Progress,
    ) -> None:
        """Sends a message to each group in a transaction. Takes out of ``groups`` what is done."""
        destination, sent = attempt.destination, attempt.sent
        sender, return_path = attempt.claim.email.sender, attempt.return_path
        while groups:
            sign = attempt.signer.sign if attempt.signer else None
            mail_from = return_path.sender(groups[0]) if return_path else sender
            envelope = Envelope(mail_from, groups[0], message, utf8, sign)
            pool = self.pools.get(destination, attempt.for_email)
            outcome = await self._send(pool, destination, envelope, attempt.may_send, progress)
            if attempt.reserved is not None:
                attempt.reserved.note(outcome)
            if not sent.results:
                self._replies.raise_crowded(pool, outcome, sender)
            again = self._replies.add_results(
                attempt.claim, destination, outcome, sent, attempt.repeated
            )
            groups[:1] = (again, *outcome.parts) if again else outcome.parts

    async def _send(
        self,
        pool: SmtpPool,
        destination: Destination,
        envelope: Envelope,
        may_send: Callable[[], bool],
        progress: Progress,
    ) -> Outcome:
        """One transaction."""

        def may_send_now() -> bool:
            progress.content_sent = may_send()
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


def _needs_smtputf8(attempt: _Try, recipients: tuple[str, ...]) -> bool:
    own = () if attempt.return_path else (attempt.claim.email.sender,)
    addresses = (*own, *recipients)
    return content_needs_smtputf8(attempt.content) or any(map(needs_smtputf8, addresses))


def _may_be_taken(result: RecipientResult) -> bool:
    return result.action == "deliver" or result.reply_class == _UNCERTAIN.reply_class


_INTERRUPTED = RecipientResult(
    "retry", "interrupted", reason="the try was stopped between two of its transactions"
)
_UNCERTAIN = RecipientResult(
    "retry",
    "uncertain",
    reason="the worker was stopped while the server had the message: it may have been delivered",
)
