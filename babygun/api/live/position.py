"""Where a stream is, and what it tells."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

_text = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,18}))?").fullmatch


class Position(NamedTuple):
    """Told of: changes of records up to one revision of etcd, changes of owners up to another. They come by two watches, and one may be ahead."""

    records: int
    owners: int

    def __str__(self) -> str:
        """An event's id: ``4711.4708``, or ``4711`` where both are the same."""
        return f"{self.records}" if self.records == self.owners else f"{self.records}.{self.owners}"

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """The inverse; None for what is none."""
        found = _text(text)
        return cls(int(found[1]), int(found[2] or found[1])) if found else None

    def covers(self, other: Position) -> bool:
        """Whether all that ``other`` has told of is told of here."""
        return self.records >= other.records and self.owners >= other.owners

    def past(self, other: Position) -> Position:
        """What both together have told of."""
        return Position(max(self.records, other.records), max(self.owners, other.owners))


BEGINNING = Position(0, 0)


@dataclass(slots=True)
class Change:
    """An e-mail's newest changes, by revision; 0: none. ``gone``: its record was removed; ``client_id``: then, whose it was (None: not known).

    ``held``: it has waited for its turn before.
    """

    records: int = 0
    owners: int = 0
    gone: bool = False
    client_id: str | None = None
    held: bool = False

    @property
    def latest(self) -> int:
        return max(self.records, self.owners)


class Frame(NamedTuple):
    """An e-mail's state as an event without its id, and the changes that it tells of."""

    email_id: str
    client_id: str | None
    records: int
    owners: int
    body: bytes

    @property
    def latest(self) -> int:
        return max(self.records, self.owners)

    def is_news_to(self, told: Position) -> bool:
        return self.records > told.records or self.owners > told.owners
