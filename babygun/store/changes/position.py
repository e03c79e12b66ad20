"""How far a stream of changes has come, and the changes of one e-mail."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

_text = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,18}))?").fullmatch


class Position(NamedTuple):
    """All changes of records and of owners up to these two revisions of etcd have been seen.

    Records and owners come by two watches, and one may be ahead of the other.
    """

    records: int
    owners: int

    def __str__(self) -> str:
        """An event's id: ``4711.4708``, or ``4711`` where both are the same."""
        return f"{self.records}" if self.records == self.owners else f"{self.records}.{self.owners}"

    @classmethod
    def parse(cls, text: str) -> Position | None:
        """The position that ``str`` wrote; None for any other text."""
        found = _text(text)
        return cls(int(found[1]), int(found[2] or found[1])) if found else None

    def covers(self, other: Position) -> bool:
        """Whether everything up to ``other`` has been seen at this position."""
        return self.records >= other.records and self.owners >= other.owners

    def joined(self, other: Position) -> Position:
        """Where both positions together lead."""
        return Position(max(self.records, other.records), max(self.owners, other.owners))


BEGINNING = Position(0, 0)


@dataclass(slots=True)
class Change:
    """An e-mail's newest changes: the revision of its record's and of its owners'; 0 for none."""

    records: int = 0
    owners: int = 0
    gone: bool = False  # the record was removed
    client_id: str | None = None  # of a record that was removed: its client, where that is known
    postponed: bool = False  # once already, by ChangeFeed.take()

    @property
    def latest(self) -> int:
        """The newer of the two revisions."""
        return max(self.records, self.owners)
