"""The messages that the mailbox received, in memory and within bounds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from babygun.runtime.clock import utc_now

MOST_MESSAGES = 1000
MOST_BYTES = 64 << 20  # of all messages together


@dataclass(frozen=True)
class Received:
    """One message, as it came."""

    number: int  # from 1, in the order of arrival
    received_at: datetime
    sender: str
    recipients: tuple[str, ...]  # of the envelope, so Bcc too
    raw: bytes


class Mailbox:
    """Keeps the newest messages, within both bounds. The newest one is always kept."""

    def __init__(self, most_messages: int = MOST_MESSAGES, most_bytes: int = MOST_BYTES) -> None:
        self._messages: deque[Received] = deque()
        self._most_messages, self._most_bytes = most_messages, most_bytes
        self._bytes = 0
        self.total = 0  # received since the start

    def add(self, sender: str, recipients: tuple[str, ...], raw: bytes) -> Received:
        self.total += 1
        message = Received(self.total, utc_now(), sender, recipients, raw)
        self._messages.append(message)
        self._bytes += len(raw)
        while len(self._messages) > 1 and (
            len(self._messages) > self._most_messages or self._bytes > self._most_bytes
        ):
            self._bytes -= len(self._messages.popleft().raw)
        return message

    def newest_first(self) -> Iterator[Received]:
        return reversed(self._messages)

    def get(self, number: int) -> Received | None:
        first = self._messages[0].number if self._messages else 0
        index = number - first
        return self._messages[index] if 0 <= index < len(self._messages) else None

    def clear(self) -> None:
        self._messages.clear()
        self._bytes = 0
