"""What a try did for each recipient: the server's replies, as results."""

from __future__ import annotations

from msgspec import Struct

from babygun.email.tries import RecipientResult
from babygun.smtp.classifier import Classification
from babygun.smtp.replies import Phase, Reply

_BEFORE_MAIL: tuple[Phase, ...] = ("connect", "greeting", "ehlo", "tls", "auth")


class SessionFault(Struct, frozen=True, gc=False):
    """No word of the server about the e-mail: the session failed before.

    ``holds``: it refused the session or the login, or the settings do not have the destination any
    more. So the queue is to be held. ``at_mail``: it refused at MAIL, where the sender may be the
    reason.
    """

    result: RecipientResult
    holds: bool
    at_mail: bool


class Sent(Struct, gc=False):
    """What a try did: a result for each recipient.

    ``fault``: of its last transaction. ``answered``: the server said something about the e-mail.
    """

    results: dict[str, RecipientResult]
    fault: SessionFault | None = None
    answered: bool = False

    def add(self, address: str, reply: Reply, found: Classification, note: str) -> None:
        """Adds a recipient's result. ``note``: of the transaction, for people."""
        result = self.results[address] = result_of(reply, found, note)
        if found.about_session or reply.phase in _BEFORE_MAIL:
            at_mail = reply.phase == "mail"
            self.fault = self.fault or SessionFault(result, found.about_session, at_mail)
        elif not found.about_connections and (reply.code is not None or reply.uncertain):
            self.answered = True


def result_of(reply: Reply, found: Classification, note: str = "") -> RecipientResult:
    action = "retry" if found.action == "split" else found.action
    return RecipientResult(
        "hold" if found.about_session else action,
        found.reply_class,
        reply.code,
        reply.enhanced,
        (f"{reply.text} ({note})" if note else reply.text) or None,
        found.retry_after,
    )
