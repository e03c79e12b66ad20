"""Sends one queue of one e-mail: finds out where it goes and what it needs, and has it sent.

return path, destination, signer ─▶ ceilings of warm-ups ─▶ transactions ─▶ results
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Collection

from babygun.email.model import Content, queue_recipients
from babygun.email.tries import RecipientResult, recipients_of_try
from babygun.errors import OutOfResources
from babygun.mime import heeds_tls_policies
from babygun.routing.destination import Destination, NoDestination, NoSource
from babygun.routing.mx import LookupFailed, NoMailHost
from babygun.routing.mx_destinations import MxDestination
from babygun.routing.routes import Routes
from babygun.routing.sites import Site
from babygun.runtime.logs import get_logger
from babygun.runtime.open_files import allow_open_files
from babygun.runtime.settings import Settings
from babygun.smtp import (
    UNLIMITED,
    KnownServers,
    NoConnection,
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
from babygun.worker.messages import Messages
from babygun.worker.replies import Crowded, Replied, Replies, Unauthenticated
from babygun.worker.results import Sent, SessionFault, without_host
from babygun.worker.return_paths import ReturnPaths
from babygun.worker.signing import CannotSign, Signers
from babygun.worker.tls_sessions import count_session
from babygun.worker.transactions import Progress, Sending, Transactions, may_be_taken
from babygun.worker.warm_ups import WarmUps

log = get_logger("worker")

_POOL_UNUSED = 2.0  # s, after which a pool without connections is dropped: domains are many
_OTHER_FILES = 256  # beside connections to servers
_MX_IDLE = 5.0  # s, for which a connection to a mail host stays open: there are many of them


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
        self._settings, self._routes, self._signers = settings, routes, signers
        self._return_paths, self._warm_ups = return_paths, warm_ups
        self._permits_of = permits_of
        self._replies = Replies(Classifier.load(settings.reply_rules), replied, unauthenticated)
        self._hostname = settings.smtp_hostname or socket.getfqdn()
        files = allow_open_files(settings.worker_concurrency + _OTHER_FILES + MOST)
        idle_files = max(0, files - settings.worker_concurrency - _OTHER_FILES)
        self._known = KnownServers(count=ConnectionCount(most=idle_files))
        self.pools = Pools(self._make_pool, unused=_POOL_UNUSED)
        messages = Messages(link_keys, settings.feedback_id)
        self._transactions = Transactions(self.pools, messages, self._replies, tls_session)

    def _make_pool(self, destination: Destination, for_email: str) -> SmtpPool:
        settings, idle = self._settings, self._settings.smtp_idle
        return SmtpPool(
            destination,
            hostname=self._hostname,
            connect_timeout=settings.smtp_connect_timeout,
            timeout=settings.smtp_timeout,
            data_timeout=settings.smtp_data_timeout,
            idle=min(idle, _MX_IDLE) if destination.is_mx else idle,
            known=self._known,
            permits=self._permits_of(destination.site),
            refuses_ipv6=self._replies.refuse_ipv6,
            for_email=for_email,
        )

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
            return Sent(dict.fromkeys(todo, _no_content(claim)))
        sent = Sent({}, in_rounds=copies)
        try:
            destination = await self._destination(queue, claim.content)
            progress.site = destination.site
            sending = Sending(
                claim,
                claim.content,
                destination,
                # The same at each try, so that a server that greylists knows it by our address.
                for_email=f"{email.sender} {queue}".lower() if destination.sources else "",
                signer=await self._signers.of(email),
                return_path=return_path,
                may_send=may_send,
                progress=progress,
                sent=sent,
            )
            send = self._transactions.send_copies if copies else self._transactions.send_message
            if self._warm_ups is not None and destination.is_mx:
                await self._send_within_ceilings(self._warm_ups, send, sending, todo)
            else:
                await send(sending, todo)
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

    async def _destination(self, queue: str, content: Content) -> Destination:
        """Raises NoDestination, NoMailHost, LookupFailed."""
        destination = await self._routes.destination(queue)
        if isinstance(destination, MxDestination) and not heeds_tls_policies(content):
            return destination.without_policies()
        return destination

    async def _send_within_ceilings(
        self,
        warm_ups: WarmUps,
        send: Callable[[Sending, tuple[str, ...]], Awaitable[None]],
        sending: Sending,
        todo: tuple[str, ...],
    ) -> None:
        """Sends to as many recipients as a warm-up allows. Its last round puts the others off."""
        reserved = await warm_ups.reserve(
            sending.claim.email, sending.destination, sending.for_email, len(todo)
        )
        if reserved is None:
            await send(sending, todo)
            return
        results = sending.sent.results
        sending.reserved, sending.destination = reserved, reserved.destination
        allowed, others = todo[: reserved.recipients], todo[reserved.recipients :]
        try:
            if allowed:
                await send(sending, allowed)
        finally:
            warm_ups.settle(reserved, sum(map(may_be_taken, results.values())))
        another_round = sending.sent.in_rounds and any(one not in results for one in allowed)
        if others and not another_round:
            results |= dict.fromkeys(others, warm_ups.put_off(reserved, len(others)))


def _no_content(claim: Claim) -> RecipientResult:
    log.error("content missing", email_id=claim.email.id, queue=claim.ref.queue)
    reason = "the e-mail's content is gone from etcd, or can't be read"
    return RecipientResult("fail", "internal", reason=reason)
