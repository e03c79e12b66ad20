"""How many connections all pools of a process have: there are only so many files to open."""

from __future__ import annotations

from dataclasses import dataclass

MOST = 10_000  # open connections beyond which none is kept idle, where the system allows so many


@dataclass
class ConnectionCount:
    """``open``: those that are there. ``most``: with so many, none is kept without a message."""

    most: int = MOST
    open: int = 0

    @property
    def is_full(self) -> bool:
        return self.open >= self.most
