"""What the servers' replies to a transaction mean for its recipients, and for the job."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from babygun.email.reasons import quoted_to_others
from babygun.routing.destination import Destination
from babygun.routing.sites import Site
from babygun.runtime import tracing
from babygun.runtime.logs import get_logger
from babygun.smtp import NotSent, Outcome, SmtpPool
from babygun.smtp.classifier import Classification, Classifier
from babygun.smtp.replies import SESSION_PHASES, Reply
from babygun.smtp.reply_rules import Route
from babygun.store.emails.claims import Claim
from babygun.worker.domain_alarms import is_unauthenticated
from babygun.worker.results import Sent, result_of

log = get_logger("worker")

IPV6_REFUSED = "ipv6_refused"  # the class of a reply that IPv4 may change

_TOO_MANY = Classification("too_many_recipients", "retry")

Replied = Callable[[Site, Reply, Classification, str], None]
Unauthenticated = Callable[[Claim, Site, Reply], None]


class Crowded(NotSent):
    """There is no connection to be had. The job goes back, and no try is used up.

    The destination has too many, as its reply says. Or this machine lacks what one takes; then
    ``reply`` has no code.
    """

    def __init__(self, reply: Reply) -> None:
        super().__init__(f"no connection is to be had: {reply.text}")
        self.reply = reply


class Replies:
    """Classifies replies. The others: as :class:`babygun.worker.delivery.Delivery` takes them."""

    def __init__(
        self, classifier: Classifier, replied: Replied, unauthenticated: Unauthenticated
    ) -> None:
        self._classifier, self._replied = classifier, replied
        self._unauthenticated = unauthenticated

    def refuse_ipv6(self, reply: Reply) -> bool:
        return self._classifier.classify(reply, route="mx").reply_class == IPV6_REFUSED

    def raise_crowded(self, pool: SmtpPool, outcome: Outcome, sender: str) -> None:
        """Raises Crowded where the server says so, before RCPT and so of all recipients."""
        for reply in outcome.replies.values():
            if reply.phase in SESSION_PHASES:
                destination = pool.destination
                found = self._classifier.classify(reply, route=_route(destination))
                if found.about == "connections":
                    if destination.site.limits is not None:
                        self._replied(destination.site, reply, found, _domain(sender))
                    pool.crowded(reply)
                    raise Crowded(reply)
                return

    def add_results(
        self,
        claim: Claim,
        destination: Destination,
        outcome: Outcome,
        sent: Sent,
        repeated: set[str],
    ) -> tuple[str, ...]:
        """Adds the results. Returns the recipients that go into another transaction.

        ``repeated``: those that were sent to on a fresh connection already. It grows here.
        """
        again: list[str] = []
        fresh = False
        if outcome.server is not None:
            sent.server = outcome.server.endpoint
        if outcome.tls is not None:
            sent.tls = outcome.tls
        replies = outcome.replies
        site, route = destination.site, _route(destination)
        before: Reply | None = None
        reports = site.limits is not None
        for address, reply in replies.items():
            found = self._classifier.classify(reply, route=route, repeated=address in repeated)
            if reports and reply is not before:
                self._replied(site, reply, found, _domain(claim.email.sender))
                before = reply
            if is_unauthenticated(found):
                self._unauthenticated(claim, site, reply)
            # Where the session holds the relay, the hold calls once.
            elif found.alarm and not (route == "relay" and found.about == "session"):
                _call_for_operator(claim, destination, outcome, reply, found)
            if found.fresh_connection:
                repeated.add(address)
                fresh = True
                again.append(address)
            elif found.action == "split" and len(replies) > 1:
                again.append(address)
            else:
                if found.suppress and reply.phase != "rcpt" and _is_of_several(replies):
                    found = replace(found, suppress=False)
                sent.add(address, reply, found, outcome.note, holds=route == "relay")
        if len(again) == len(replies) and not fresh:
            # The server says that they are too many, and took not one of them.
            sent.results.update(
                {address: result_of(replies[address], _TOO_MANY) for address in again}
            )
            return ()
        return tuple(again)

    def describe(self, span: tracing.Span, destination: Destination, outcome: Outcome) -> None:
        """Says in a trace what became of a transaction."""
        route, server = _route(destination), outcome.server or destination.server
        replies = outcome.replies.values()
        found = [self._classifier.classify(reply, route=route) for reply in replies]
        codes = {reply.code for reply in replies if reply.code is not None}
        classes = sorted({each.reply_class for each in found})
        if server is not None:
            span.set("server.address", server.host)
            span.set("server.port", server.port)
            if server.address:
                span.set("network.peer.address", server.address)
        span.set("babygun.recipients", len(found))
        span.set("babygun.reply_codes", sorted(codes))
        span.set("babygun.reply_classes", classes)
        if found and all(each.action != "deliver" for each in found):
            span.fail(classes[0])


def _is_of_several(replies: Mapping[str, Reply]) -> bool:
    """Whether the message was answered for several recipients: then of none that it is dead."""
    return sum(reply.phase in ("data", "message") for reply in replies.values()) > 1


def _domain(address: str) -> str:
    return address.rpartition("@")[2].lower()


def _route(destination: Destination) -> Route:
    return "relay" if destination.server else "mx"


def _call_for_operator(
    claim: Claim,
    destination: Destination,
    outcome: Outcome,
    reply: Reply,
    found: Classification,
) -> None:
    log.warning(
        "reply needs operator",
        queue=claim.ref.queue,
        relay=outcome.server.endpoint if outcome.server else destination.endpoint,
        user=destination.username,
        email_id=claim.ref.email_id,
        reply_class=found.reply_class,
        code=reply.code,
        text=quoted_to_others(reply.text, 200),
    )
