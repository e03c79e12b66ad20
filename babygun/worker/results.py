"""What a try did for each recipient: the server's replies, as results."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from babygun.email.model import Recipient, TlsResult
from babygun.email.retry import Schedule
from babygun.email.tries import RecipientResult
from babygun.routing.mx import LookupFailed, NoMailHost
from babygun.smtp.classifier import Classification
from babygun.smtp.replies import SESSION_PHASES, Phase, Reply

NO_HOST = "bad_domain"  # the class of reply, as if a server had said it
# Until a domain without a host in DNS is looked up once more: so many times the route's first wait.
_FIRST_WAITS = 3
LOOK_AGAIN = 15 * 60.0  # s, at most until then
_ABOUT_ALL = ("session", "connections", "site", "sender", "message")
_NETWORK = RecipientResult(
    "retry", "network", reason="the connection was lost while another recipient's copy was sent"
)
BEFORE_MAIL: tuple[Phase, ...] = ("connect", "greeting", "ehlo", "tls", "auth")


class SessionFault(Struct, frozen=True, gc=False):
    """No word of the server about the e-mail: the session failed before.

    ``holds``: it refused the session or the login, or the settings do not have the destination any
    more. So the site is to be held. ``at_mail``: it refused at MAIL, where the sender may be the
    reason.
    """

    result: RecipientResult
    holds: bool
    at_mail: bool


class Sent(Struct, gc=False):
    """What a try did: a result for each recipient.

    ``fault``: of its last transaction. ``answered``: the server said something about the e-mail.
    ``server``: the mail host that the last transaction went to, as logs name it; empty for a relay.
    ``tls``: of its last connection. ``for_all``: a result that would be that of any other
    recipient, too. ``in_rounds``: recipients without a result have their turn in another round of
    the try.
    """

    results: dict[str, RecipientResult]
    fault: SessionFault | None = None
    answered: bool = False
    server: str = ""
    tls: TlsResult | None = None
    for_all: RecipientResult | None = None
    in_rounds: bool = False

    def add(
        self, address: str, reply: Reply, found: Classification, note: str, *, holds: bool
    ) -> None:
        """Adds a recipient's result. ``note``: of the transaction, for people.

        ``holds``: a refused session holds the site. It does so for a relay. A site of mail hosts
        is held for other reasons.
        """
        result = self.results[address] = result_of(reply, found, note, holds=holds)
        if found.action == "deliver":
            self.answered = True
            return
        if _is_about_all(reply, found):
            self.for_all = _NETWORK if reply.uncertain else result
        if found.about == "domain" and reply.code is not None:  # the host is there and answers
            self.answered = True
        elif found.about == "session" or reply.phase in BEFORE_MAIL:
            at_mail = reply.phase == "mail"
            fault = SessionFault(result, found.about == "session" and holds, at_mail)
            self.fault = self.fault or fault
        elif found.about != "connections" and (reply.code is not None or reply.uncertain):
            self.answered = True


def _is_about_all(reply: Reply, found: Classification) -> bool:
    """Whether a refusal of one recipient's copy would meet the copy of any other, too.

    So it is with a refusal of the session, the sender or the message, and without a connection.
    """
    return reply.code is None or reply.phase in SESSION_PHASES or found.about in _ABOUT_ALL


def result_of(
    reply: Reply, found: Classification, note: str = "", *, holds: bool = True
) -> RecipientResult:
    """The result of one recipient. Arguments as :meth:`Sent.add` has them."""
    action = "retry" if found.action == "split" else found.action
    return RecipientResult(
        "hold" if found.about == "session" and holds else action,
        found.reply_class,
        reply.code,
        reply.enhanced,
        (f"{reply.text} ({note})" if note else reply.text) or None,
        found.retry_after,
        found.suppress,
    )


def without_host(
    error: NoMailHost | LookupFailed, recipients: Iterable[Recipient], schedule: Schedule
) -> dict[str, RecipientResult]:
    """The results where DNS names no server for a domain. ``schedule``: the queue's.

    Hosts that are not in DNS may be there again soon, so that is a bounce only at the second look.
    """
    reason = str(error)
    if isinstance(error, LookupFailed):
        nobody_knows = RecipientResult("retry", "dns", reason=reason)
        return {recipient.email: nobody_knows for recipient in recipients}
    code, enhanced = error.code, error.enhanced
    final = RecipientResult("fail", NO_HOST, code, enhanced, reason)
    wait = min(_FIRST_WAITS * next(iter(schedule.intervals), LOOK_AGAIN), LOOK_AGAIN)
    first = RecipientResult("retry", NO_HOST, code, enhanced, reason, wait)
    return {
        recipient.email: final if error.for_sure or recipient.reply_class == NO_HOST else first
        for recipient in recipients
    }
