"""One try of one queue of one email: the SMTP transactions it takes, and what they mean for each recipient."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from babygun.addresses import needs_smtputf8, to_ascii_domain
from babygun.lifecycle import RecipientResult
from babygun.logs import get_logger
from babygun.mime import needs_smtputf8 as content_needs_smtputf8
from babygun.mime import render
from babygun.model import queue_recipients
from babygun.replies import Classifier, Reply, Verdict
from babygun.routing import Routes
from babygun.settings import Settings
from babygun.smtp import Envelope, SmtpPool
from babygun.store.transitions import Claim

log = get_logger("worker")


class Delivery:
    """The relays' connection pools and the reply rules."""

    def __init__(self, settings: Settings, routes: Routes, hostname: str) -> None:
        self._classifier = Classifier.load(settings.reply_rules)
        self.pools = {
            relay.name: SmtpPool(
                relay,
                hostname=hostname,
                connect_timeout=settings.smtp_connect_timeout,
                timeout=settings.smtp_timeout,
                data_timeout=settings.smtp_data_timeout,
                idle=settings.smtp_idle,
            )
            for relay in routes.relays.values()
        }

    async def close(self) -> None:
        for pool in self.pools.values():
            await pool.close()

    async def deliver(self, claim: Claim, may_send: Callable[[], bool]) -> dict[str, RecipientResult]:
        """Sends to every recipient of the queue that is not over. Raises NotSent where ``may_send`` says no.

        Recipients that the server wants in another transaction go in one at once, as do those that it wants to see on a
        fresh connection; neither uses up a try.
        """
        email, content = claim.email, claim.content
        pool = self.pools.get(claim.ref.queue)
        todo = [r.email for r in queue_recipients(email, claim.ref.queue)]
        if pool is None:
            gone = RecipientResult("retry", "configuration", reason=f"no relay called {claim.ref.queue} is configured here")
            log.error("no such relay", queue=claim.ref.queue, email_id=email.id)
            return dict.fromkeys(todo, gone)
        message_id = f"<{email.id}@{to_ascii_domain(email.sender).rpartition('@')[2] or 'babygun.invalid'}>"

        def message(eight_bit: bool, smtputf8: bool) -> bytes:
            return render(content, message_id=message_id, date=email.created_at, smtputf8=smtputf8, eight_bit=eight_bit)

        utf8 = content_needs_smtputf8(content) or any(map(needs_smtputf8, (email.sender, *todo)))
        results: dict[str, RecipientResult] = {}
        repeated: set[str] = set()
        while todo:
            envelope = Envelope(email.sender, tuple(todo), message, utf8)
            outcome = await pool.deliver(envelope, may_send=may_send)
            again: list[str] = []
            fresh = False
            for address in todo:
                reply = outcome.replies[address]
                verdict = self._classifier.classify(reply, repeated=address in repeated)
                if verdict.alarm:
                    log.warning("reply needs an operator", queue=claim.ref.queue, email_id=email.id, reply_class=verdict.reply_class, code=reply.code, text=reply.text[:200])
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


def _result(reply: Reply, verdict: Verdict) -> RecipientResult:
    action = "retry" if verdict.action == "split" else verdict.action
    return RecipientResult(action, verdict.reply_class, reply.code, reply.enhanced, reply.text or None, verdict.retry_after)


def _unsplittable(addresses: Iterable[str], replies: dict[str, Reply]) -> dict[str, RecipientResult]:
    """The server took not one of them, though it says that they are too many: later, then."""
    return {a: RecipientResult("retry", "too_many_recipients", replies[a].code, replies[a].enhanced, replies[a].text or None) for a in addresses}
