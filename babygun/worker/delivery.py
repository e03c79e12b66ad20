"""Sends one queue of one e-mail, in as many SMTP transactions as that takes."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable

from msgspec import Struct, field

from babygun.email.addresses import needs_smtputf8
from babygun.email.model import queue_recipients
from babygun.email.tries import RecipientResult
from babygun.mime import message_id, render
from babygun.mime import needs_smtputf8 as content_needs_smtputf8
from babygun.routing.destination import Destination, NoDestination
from babygun.routing.routes import Routes
from babygun.runtime import tracing
from babygun.runtime.logs import get_logger
from babygun.runtime.metrics import CLAIM_TO_REPLY
from babygun.runtime.settings import Settings
from babygun.smtp import Envelope, NotSent, Outcome, Pools, SmtpPool, WorkaroundsByServer
from babygun.smtp.classifier import Classification, Classifier
from babygun.smtp.replies import SESSION_PHASES, Reply
from babygun.store.emails.claims import Claim
from babygun.worker.results import Sent, SessionFault, result_of

log = get_logger("worker")

_POOL_UNUSED = 60.0  # s, after which a pool is closed, and smtp_idle at least


class Crowded(NotSent):
    """The destination has too many connections. The job goes back, and no try is used up."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"the destination has too many connections: {reply.text}")
        self.reply = reply


class Progress(Struct, gc=False):
    """How far a try has come, for a caller that wants to stop it.

    ``connected``: it has a connection.
    ``content_sent``: the content of the present transaction has gone out, or is going out.
    ``finishing``: its result is being written, so it must not be cancelled.
    """

    connected: bool = False
    content_sent: bool = False
    finishing: bool = False
    claimed_at: float = field(default_factory=time.monotonic)


class Delivery:
    """Sends e-mails to the destinations of their queues."""

    def __init__(self, settings: Settings, routes: Routes) -> None:
        self._routes = routes
        self._classifier = Classifier.load(settings.reply_rules)
        hostname = settings.smtp_hostname or socket.getfqdn()
        workarounds = WorkaroundsByServer()

        def make_pool(destination: Destination) -> SmtpPool:
            return SmtpPool(
                destination,
                hostname=hostname,
                connect_timeout=settings.smtp_connect_timeout,
                timeout=settings.smtp_timeout,
                data_timeout=settings.smtp_data_timeout,
                idle=settings.smtp_idle,
                workarounds=workarounds.of(destination.endpoint),
            )

        self.pools = Pools(make_pool, unused=max(_POOL_UNUSED, settings.smtp_idle))

    async def close(self) -> None:
        await self.pools.close()

    async def deliver(self, claim: Claim, may_send: Callable[[], bool], progress: Progress) -> Sent:
        """Sends to each recipient of the queue that is not final yet. Returns a result for each.

        Recipients that the server wants in another transaction go into one at once. So do those
        that are to be repeated on a fresh connection. Neither uses up a try.

        ``may_send`` may say no, the task may be cancelled, or the destination may have too many
        connections. Then it raises NotSent, CancelledError or Crowded, if certainly no server has
        taken anything. If one may have, it returns what is known by then: without a result the try
        would be made again for all recipients.
        """
        email, queue = claim.email, claim.ref.queue
        todo = [recipient.email for recipient in queue_recipients(email, queue)]
        if claim.content is None:
            log.error("content missing", email_id=email.id, queue=queue)
            reason = "the e-mail's content is gone from etcd, or can't be read"
            fault = RecipientResult("fail", "internal", reason=reason)
            return Sent(dict.fromkeys(todo, fault))
        try:
            destination = await self._routes.destination(queue)
        except NoDestination as error:
            log.error("destination unknown", queue=queue, email_id=email.id)
            fault = RecipientResult("hold", "configuration", reason=str(error))
            return Sent(dict.fromkeys(todo, fault), SessionFault(fault, holds=True, at_mail=False))
        message, utf8 = _message(claim, todo, progress)
        sent = Sent({})
        repeated: set[str] = set()
        groups = [tuple(todo)]
        while groups:
            group = groups.pop(0)
            envelope = Envelope(email.sender, group, message, utf8)
            try:
                outcome = await self._send(destination, envelope, may_send, progress)
                if not sent.results:
                    self._raise_crowded(destination, outcome)
            except (NotSent, asyncio.CancelledError):
                if not sent.results and not progress.content_sent:
                    raise
                interrupted = _UNCERTAIN if progress.content_sent else _INTERRUPTED
                left = [address for each in (group, *groups) for address in each]
                sent.results |= dict.fromkeys(left, interrupted)
                return sent
            if again := self._classify(claim, destination, outcome, repeated, sent):
                groups.insert(0, again)
            groups[:0] = outcome.parts
        return sent

    def _raise_crowded(self, destination: Destination, outcome: Outcome) -> None:
        """Raises Crowded where the server says so, before RCPT and so of all recipients."""
        for reply in outcome.replies.values():
            if reply.phase in SESSION_PHASES:
                if self._classifier.classify(reply).about_connections:
                    self.pools.get(destination).crowded(reply)
                    raise Crowded(reply)
                return

    def _classify(
        self,
        claim: Claim,
        destination: Destination,
        outcome: Outcome,
        repeated: set[str],
        sent: Sent,
    ) -> tuple[str, ...]:
        """Adds to ``sent``. Returns the recipients that go into another transaction.

        ``repeated``: those that were sent to on a fresh connection already; it adds to them too.
        """
        again: list[str] = []
        fresh = False
        replies = outcome.replies
        for address, reply in replies.items():
            found = self._classifier.classify(reply, repeated=address in repeated)
            if found.alarm and not found.about_session:  # for that, the hold calls once
                _call_for_operator(claim, destination, reply, found)
            if found.fresh_connection:
                repeated.add(address)
                fresh = True
                again.append(address)
            elif found.action == "split" and len(replies) > 1:
                again.append(address)
            else:
                sent.add(address, reply, found, outcome.note)
        if len(again) == len(replies) and not fresh:
            # The server says that they are too many, and took not one of them.
            sent.results.update(
                {address: result_of(replies[address], _TOO_MANY) for address in again}
            )
            return ()
        return tuple(again)

    async def _send(
        self,
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
        pool = self.pools.get(destination)
        with tracing.child("smtp transaction", "client") as span:
            outcome = await pool.deliver(envelope, may_send=may_send_now)
            if span.recording:
                self._describe(span, destination, outcome.replies)
        progress.content_sent = False
        if any(r.phase == "message" and r.code is not None for r in outcome.replies.values()):
            CLAIM_TO_REPLY[destination.name].observe(time.monotonic() - progress.claimed_at)
        return outcome

    def _describe(
        self, span: tracing.Span, destination: Destination, replies: dict[str, Reply]
    ) -> None:
        found = [self._classifier.classify(reply) for reply in replies.values()]
        codes = {reply.code for reply in replies.values() if reply.code is not None}
        classes = sorted({each.reply_class for each in found})
        if destination.server:
            span.set("server.address", destination.server.host)
            span.set("server.port", destination.server.port)
        span.set("babygun.recipients", len(found))
        span.set("babygun.reply_codes", sorted(codes))
        span.set("babygun.reply_classes", classes)
        if found and all(each.action != "deliver" for each in found):
            span.fail(classes[0])


def _message(
    claim: Claim, recipients: list[str], progress: Progress
) -> tuple[Callable[[bool, bool], bytes], bool]:
    """What renders the message, and whether some address of it needs SMTPUTF8."""
    email, content = claim.email, claim.content
    assert content is not None
    identity = message_id(email)

    def message(eight_bit: bool, smtputf8: bool) -> bytes:
        progress.connected = True  # what the server offers is known
        return render(
            content,
            message_id=identity,
            date=email.created_at,
            smtputf8=smtputf8,
            eight_bit=eight_bit,
        )

    addresses = (email.sender, *recipients)
    return message, content_needs_smtputf8(content) or any(map(needs_smtputf8, addresses))


def _call_for_operator(
    claim: Claim, destination: Destination, reply: Reply, found: Classification
) -> None:
    log.warning(
        "reply needs operator",
        queue=claim.ref.queue,
        relay=destination.endpoint,
        user=destination.username,
        email_id=claim.ref.email_id,
        reply_class=found.reply_class,
        code=reply.code,
        text=reply.text[:200],
    )


_INTERRUPTED = RecipientResult(
    "retry", "interrupted", reason="the worker was stopped between two transactions of this try"
)
_UNCERTAIN = RecipientResult(
    "retry",
    "uncertain",
    reason="the worker was stopped while the server had the message: it may have been delivered",
)
_TOO_MANY = Classification("too_many_recipients", "retry")
