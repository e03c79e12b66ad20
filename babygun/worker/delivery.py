"""One try of one queue of one email: the SMTP transactions it takes, and what they mean for each recipient."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from msgspec import Struct, field

from babygun.email.addresses import needs_smtputf8
from babygun.email.lifecycle import RecipientResult
from babygun.email.model import queue_recipients
from babygun.mime import message_id, render
from babygun.mime import needs_smtputf8 as content_needs_smtputf8
from babygun.routing.routes import Routes
from babygun.runtime import tracing
from babygun.runtime.logs import get_logger
from babygun.runtime.metrics import CLAIM_TO_REPLY
from babygun.runtime.settings import Settings
from babygun.smtp import Envelope, NotSent, Outcome, SmtpPool
from babygun.smtp.replies import Classifier, Reply, Verdict
from babygun.store.emails.claims import Claim

log = get_logger("worker")


class Progress(Struct, gc=False):
    """How far a try has come, for one who wants to stop it."""

    on_wire: bool = False  # it has a connection
    content_sent: bool = (
        False  # the content of the transaction under way has gone out, or is going out
    )
    finishing: bool = False  # its result is being written: it is not to be cancelled any more
    claimed: float = field(default_factory=time.monotonic)


class Delivery:
    """The relays' connection pools and the reply rules."""

    def __init__(self, settings: Settings, routes: Routes, hostname: str) -> None:
        self._classifier = Classifier.load(settings.reply_rules)
        self.pools = {
            queue: SmtpPool(
                destination,
                hostname=hostname,
                connect_timeout=settings.smtp_connect_timeout,
                timeout=settings.smtp_timeout,
                data_timeout=settings.smtp_data_timeout,
                idle=settings.smtp_idle,
            )
            for queue, destination in routes.destinations.items()
        }

    async def close(self) -> None:
        for pool in self.pools.values():
            await pool.close()

    async def deliver(
        self, claim: Claim, may_send: Callable[[], bool], progress: Progress | None = None
    ) -> dict[str, RecipientResult]:
        """Sends to every recipient of the queue that is not over.

        Recipients that the server wants in another transaction go in one at once, as do those that it wants to see on a
        fresh connection; neither uses up a try.

        Where ``may_send`` says no, or the task is cancelled: raises NotSent or CancelledError if no server can have taken
        anything; else returns what is known by then, since a try that is given back unsaid is made again for all.
        """
        email, content = claim.email, claim.content
        progress = progress or Progress()
        pool = self.pools.get(claim.ref.queue)
        todo = [r.email for r in queue_recipients(email, claim.ref.queue)]
        if content is None:
            log.error("content missing", email_id=email.id, queue=claim.ref.queue)
            return dict.fromkeys(
                todo,
                RecipientResult(
                    "fail",
                    "internal",
                    reason="the e-mail's content is gone from etcd, or can't be read",
                ),
            )
        if pool is None:
            gone = RecipientResult(
                "retry",
                "configuration",
                reason=f"no relay called {claim.ref.queue} is configured here",
            )
            log.error("relay unknown", queue=claim.ref.queue, email_id=email.id)
            return dict.fromkeys(todo, gone)
        identity = message_id(email)

        def message(eight_bit: bool, smtputf8: bool) -> bytes:
            progress.on_wire = True
            return render(
                content,
                message_id=identity,
                date=email.created_at,
                smtputf8=smtputf8,
                eight_bit=eight_bit,
            )

        utf8 = content_needs_smtputf8(content) or any(map(needs_smtputf8, (email.sender, *todo)))
        results: dict[str, RecipientResult] = {}
        repeated: set[str] = set()
        while todo:
            envelope = Envelope(email.sender, tuple(todo), message, utf8)
            try:
                outcome = await self._transaction(
                    claim.ref.queue, pool, envelope, may_send, progress
                )
            except (NotSent, asyncio.CancelledError):
                if not results and not progress.content_sent:
                    raise
                interrupted = _UNCERTAIN if progress.content_sent else _INTERRUPTED
                return results | dict.fromkeys(todo, interrupted)
            again: list[str] = []
            fresh = False
            for address in todo:
                reply = outcome.replies[address]
                verdict = self._classifier.classify(reply, repeated=address in repeated)
                if verdict.alarm:
                    log.warning(
                        "reply needs operator",
                        queue=claim.ref.queue,
                        email_id=email.id,
                        reply_class=verdict.reply_class,
                        code=reply.code,
                        text=reply.text[:200],
                    )
                if verdict.action == "split" and len(todo) > 1:
                    again.append(address)
                elif verdict.fresh_connection and address not in repeated:
                    repeated.add(address)
                    fresh = True
                    again.append(address)
                else:
                    results[address] = _result(reply, verdict)
            if len(again) == len(todo) and not fresh:
                results |= _unsplittable(again, outcome.replies)
                break
            todo = again
        return results

    async def _transaction(
        self,
        queue: str,
        pool: SmtpPool,
        envelope: Envelope,
        may_send: Callable[[], bool],
        progress: Progress,
    ) -> Outcome:
        def may_send_now() -> bool:
            progress.content_sent = may_send()
            return progress.content_sent

        progress.content_sent = False
        span = tracing.child("smtp transaction", "client")
        if span.recording:
            with span:
                outcome = await pool.deliver(envelope, may_send=may_send_now)
                self._describe(span, pool, outcome)
        else:
            outcome = await pool.deliver(envelope, may_send=may_send_now)
        progress.content_sent = False
        if any(
            reply.phase == "message" and reply.code is not None
            for reply in outcome.replies.values()
        ):
            CLAIM_TO_REPLY[queue].observe(time.monotonic() - progress.claimed)
        return outcome

    def _describe(self, span: tracing.Span, pool: SmtpPool, outcome: Outcome) -> None:
        verdicts = [self._classifier.classify(reply) for reply in outcome.replies.values()]
        classes = sorted({verdict.reply_class for verdict in verdicts})
        span.set("server.address", pool.destination.host)
        span.set("server.port", pool.destination.port)
        span.set("babygun.recipients", len(verdicts))
        span.set(
            "babygun.reply_codes",
            sorted({reply.code for reply in outcome.replies.values() if reply.code is not None}),
        )
        span.set("babygun.reply_classes", classes)
        if all(verdict.action != "deliver" for verdict in verdicts):
            span.fail(classes[0])


_INTERRUPTED = RecipientResult(
    "retry", "interrupted", reason="the worker was stopped between two transactions of this try"
)
_UNCERTAIN = RecipientResult(
    "retry",
    "uncertain",
    reason="the worker was stopped while the server had the message: it may have been delivered",
)


def _result(reply: Reply, verdict: Verdict) -> RecipientResult:
    action = "retry" if verdict.action == "split" else verdict.action
    return RecipientResult(
        action,
        verdict.reply_class,
        reply.code,
        reply.enhanced,
        reply.text or None,
        verdict.retry_after,
    )


def _unsplittable(
    addresses: Iterable[str], replies: dict[str, Reply]
) -> dict[str, RecipientResult]:
    """The server took not one of them, though it says that they are too many: later, then."""
    return {
        a: RecipientResult(
            "retry",
            "too_many_recipients",
            replies[a].code,
            replies[a].enhanced,
            replies[a].text or None,
        )
        for a in addresses
    }
