"""What a worker has done since it started. Its record in etcd holds these counts."""

from __future__ import annotations

from dataclasses import dataclass

from babygun.email.events import OUTCOMES
from babygun.email.lifecycle import QueueResult
from babygun.email.model import Email
from babygun.runtime import metrics


@dataclass(slots=True)
class RecipientCounts:
    """Recipients by what a try did. A recipient is deferred once for each such try."""

    delivered: int = 0
    deferred: int = 0
    failed: int = 0

    def add(self, result: QueueResult, email: Email | None) -> None:
        """Counts a try, here and in the metrics.

        ``email``: the record after the try. It says what became of each recipient, which depends
        on the number of its tries too.
        """
        if email is None:
            return
        counts: dict[tuple[str, str, str], int] = {}
        for recipient in email.recipients:
            if recipient.queue != result.queue or recipient.email not in result.results:
                continue
            if outcome := OUTCOMES.get(recipient.status):
                labels = (recipient.queue, outcome, recipient.reply_class or "")
                counts[labels] = counts.get(labels, 0) + 1
        for labels, count in counts.items():
            metrics.RECIPIENTS[labels].inc(count)
            setattr(self, labels[1], getattr(self, labels[1]) + count)
