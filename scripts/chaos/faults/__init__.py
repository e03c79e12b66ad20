"""The faults. Each module has one, or a tight family, in a variable: ``KILLS = (Kill("api"), …)``.

The folder is the registry: a new module is a new fault.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

from scripts.chaos import registry
from scripts.chaos.stage import Stage


@dataclass(frozen=True)
class Broken:
    """What is broken now. ``heal`` repairs it, and returns when all is as before.

    ``what``: which part, and how: "worker 2 for 12 s".
    """

    what: str
    heal: Callable[[], Awaitable[None]]


class Fault(ABC):
    """Something that fails.

    ``name``: plain words with dashes. ``sentence``: what it does. ``seconds``: the shortest and the
    longest time that it lasts. ``touches``: the parts it breaks ("etcd", "api", "worker",
    "bounced", "relay", "site", "dns", "policy", "domain", "webhook"): faults overlap only if they
    touch different parts.
    ``alone``: it never overlaps.
    """

    name: str
    sentence: str
    seconds: tuple[float, float] = (2.0, 5.0)
    touches: frozenset[str] = frozenset()
    alone: bool = False

    def possible(self, stage: Stage) -> str:
        """Why it can't be done here, or empty. Asked before the stage starts."""
        return ""

    def prepare(self, stage: Stage) -> None:  # noqa: B027 (nothing to prepare for most)
        """Changes the stage before it starts: a setting, an environment, a flag of etcd."""

    @abstractmethod
    async def inject(self, stage: Stage, random: Random) -> Broken:
        """Breaks something; returns how to heal it. All choices come from ``random``."""


def all_faults() -> list[Fault]:
    """Every fault of this folder."""
    return registry.members(sys.modules[__name__], Fault)  # type: ignore[type-abstract]
