"""What a failure means: the class of the reply that a bounce message quotes."""

from __future__ import annotations

from babygun.bounces.reading import Failure
from babygun.email.bounces import Bounce
from babygun.smtp.classifier import Classifier
from babygun.smtp.replies import Reply

# Bytes of a quoted reply that go on. The store cuts it again, as it fits the record.
_LONGEST = 500


def bounce_of(failure: Failure, reporter: str, classifier: Classifier) -> Bounce:
    """The report of one recipient, classified as a server's reply to RCPT.

    A report without a reply quotes words and a status only. They are classified as if a server had
    refused with them. An address is dead only if the refusal was for good.
    """
    code, enhanced = failure.code, failure.enhanced or None
    asked = code or (450 if failure.enhanced.startswith("4.") else 550)
    found = classifier.classify(Reply("rcpt", asked, enhanced, failure.text), route="mx")
    return Bounce(
        addresses=failure.addresses,
        status_code=code,
        enhanced_code=enhanced,
        reason=failure.text[:_LONGEST] or None,
        reply_class=found.reply_class,
        suppress=found.suppress and asked >= 500,
        reporter=reporter[:255],
    )
