"""The sources of load. Each module has one, in a variable. The folder is the registry."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from random import Random

from scripts.chaos import registry
from scripts.chaos.clients import Clients


class Source(ABC):
    """One kind of traffic. ``share``: its part of all e-mails, relative to the other sources."""

    name: str
    sentence: str
    share: float = 1.0

    @abstractmethod
    async def run(self, clients: Clients, random: Random, rate: float) -> None:
        """Sends about ``rate`` e-mails a second until it is cancelled."""


def all_sources() -> list[Source]:
    """Every source of this folder."""
    return registry.members(sys.modules[__name__], Source)  # type: ignore[type-abstract]
