"""What a worker has done since it started. Its record in etcd holds these counts."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from babygun.email.events import OUTCOMES
from babygun.email.model import Email
from babygun.runtime import metrics


@dataclass(slots=True)
class RecipientCounts:
    """Recipients by what a try did. A recipient is deferred once for each such try.

    ``label``: how metrics call a queue.
    """

    label: Callable[[str], str]
    delivered: int = 0
    deferred: int = 0
    failed: int = 0
    suppressed: int = 0

    def add(self, queue: str, addresses: Collection[str], email: Email | None) -> None:
        """Counts a try, or an e-mail's own end, here and in the metrics.

        ``addresses``: the recipients that it was for. ``email``: the record after it, which says
        what became of each. None: nothing was written.
        """
        if email is None:
            return
        label = self.label(queue)
        counts: dict[tuple[str, str, str], int] = {}
        for recipient in email.recipients:
            if recipient.queue != queue or recipient.email not in addresses:
                continue
            if outcome := OUTCOMES.get(recipient.status):
                labels = (label, outcome, recipient.reply_class or "")
                counts[labels] = counts.get(labels, 0) + 1
        for labels, count in counts.items():
            metrics.RECIPIENTS[labels].inc(count)
            setattr(self, labels[1], getattr(self, labels[1]) + count)
