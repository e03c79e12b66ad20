"""How a webhook's endpoint answers, from the results of its tries. Pure."""

from __future__ import annotations

from datetime import datetime

from babygun.store.webhooks.records import WebhookHealth

_WRITE_EVERY = 5.0  # s, while only the counts change


class Health:
    """``only_fails``: the last tries all failed; ``threshold``: how many that takes.

    ``failing_since``: no try has been a success since then; None: the last one was, or there was
    none.
    """

    def __init__(self, record: WebhookHealth, threshold: int) -> None:
        self._threshold = threshold
        self._last_success_at, self._last_error = record.last_success_at, record.last_error
        self._sent, self._failed = record.sent, record.failed
        self.failing_since = record.failing_since
        self._failures = threshold if record.failing_since else 0  # in a row
        self._changed = self._urgent = False
        self._written_at = 0.0

    @property
    def only_fails(self) -> bool:
        return self._failures >= self._threshold

    @property
    def failures(self) -> int:
        """How many tries in a row have failed, beyond the first few."""
        return max(0, self._failures - self._threshold)

    def success(self, now: datetime) -> None:
        self._urgent |= self.failing_since is not None or self._last_success_at is None
        self._last_success_at, self.failing_since, self._failures = now, None, 0
        self._sent += 1
        self._changed = True

    def failure(self, now: datetime, error: str) -> None:
        self._urgent |= self.failing_since is None
        self.failing_since = self.failing_since or now
        self._last_error = error
        self._failures += 1
        self._failed += 1
        self._changed = True

    def is_due(self, now: float, at_last: bool = False) -> bool:
        """Whether it is time to write it. ``now``: monotonic, in seconds.

        ``at_last``: there will be no later time.
        """
        return self._changed and (self._urgent or at_last or now >= self._written_at + _WRITE_EVERY)

    def to_write(self, now: float, at_last: bool = False) -> WebhookHealth | None:
        """The record, if it is time to write it."""
        if not self.is_due(now, at_last):
            return None
        self._changed = self._urgent = False
        self._written_at = now
        return WebhookHealth(
            self._last_success_at, self.failing_since, self._last_error, self._sent, self._failed
        )
