"""The plan of a run: which fault begins and heals when. Pure: the same seed makes the same plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

FIRST = 1.0  # s, until the first fault: mail flows by then
LAST = 1.0  # s, from the last healing to the end of the load
PAUSES = (1.5, 4.0)  # s, between a healing and the next fault


class Shape(Protocol):
    """What the plan knows of a fault. ``scripts.chaos.faults.Fault`` is one."""

    @property
    def name(self) -> str: ...

    @property
    def seconds(self) -> tuple[float, float]: ...

    @property
    def touches(self) -> frozenset[str]: ...

    @property
    def alone(self) -> bool: ...


@dataclass(frozen=True)
class Turn:
    """A fault begins at ``at`` and heals at ``heal_at``, in seconds since the start of the load.

    ``seed``: for what the fault chooses by chance, such as which worker.
    """

    at: float
    heal_at: float
    fault: str
    seed: int


class TooShort(ValueError):
    """The run is too short for every fault. The message says how long it has to be."""


def plan(
    seed: int, seconds: float, faults: Sequence[Shape], pauses: tuple[float, float] = PAUSES
) -> list[Turn]:
    """Every fault at least once, in an order by chance, then again while there is time.

    Raises TooShort. Some faults overlap, if they touch different parts and neither wants to be
    alone. The shorter the run, the more of them overlap.

    ``pauses``: s between a healing and the next fault, at least and at most. With longer ones than
    PAUSES the plan has the faults that there is time for, and never raises.
    """
    if not faults:
        return []
    for share, pace in ((0.3, 1.0), (0.6, 0.6), (1.0, 0.3), (1.0, 0.0)):
        random = Random(f"{seed} {share}")
        turns = list(_turns(random, seconds - LAST, faults, share, pace, pauses))
        if pauses > PAUSES:
            return turns
        if len({turn.fault for turn in turns}) == len(faults):
            return turns
    raise TooShort(
        f"{seconds:g} s are too short for {len(faults)} faults."
        f" {_enough(faults):.0f} s are enough. Or name fewer with --only"
    )


def _enough(faults: Sequence[Shape]) -> float:
    """Seconds that are enough for each fault once, in the shortest plan."""
    return FIRST + LAST + sum(fault.seconds[0] + PAUSES[0] for fault in faults)


def _turns(
    random: Random,
    end: float,
    faults: Sequence[Shape],
    share: float,
    pace: float,
    pauses: tuple[float, float],
) -> Iterator[Turn]:
    """``share`` of the faults overlap with another one, where that is possible.

    ``pace`` from 0 to 1: where between their shortest and their longest time faults may last.
    """
    at, left = FIRST, list[Shape]()
    while True:
        left = left or random.sample(faults, len(faults))
        first = left.pop(0)
        turns = [_turn(random, first, at, pace)]
        if random.random() < share and (second := _beside(first, left)):
            left.remove(second)
            begin = at + random.uniform(0.2, 0.8) * (turns[0].heal_at - at)
            turns.append(_turn(random, second, begin, pace))
        healed = max(turn.heal_at for turn in turns)
        if healed > end:
            return
        yield from turns
        shortest, longest = pauses
        at = healed + shortest + random.random() * pace * (longest - shortest)


def _turn(random: Random, fault: Shape, at: float, pace: float) -> Turn:
    shortest, longest = fault.seconds
    lasts = shortest + random.random() * pace * (longest - shortest)
    return Turn(round(at, 2), round(at + lasts, 2), fault.name, random.getrandbits(32))


def _beside(first: Shape, others: Sequence[Shape]) -> Shape | None:
    """The next fault that may overlap with the first one."""
    if first.alone:
        return None
    return next(
        (each for each in others if not each.alone and not each.touches & first.touches), None
    )
