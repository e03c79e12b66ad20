"""The wall clock of one process steps, by libfaketime. Its monotonic clock does not.

libfaketime is loaded into Babygun's processes, and reads the offset from a file of each process
once a second. etcd is one static program, which libfaketime can't reach.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from random import Random

from scripts.chaos.faults import Broken, Fault
from scripts.chaos.parts import Part, Role
from scripts.chaos.stage import Stage

_PLACES = ("/usr/lib/*/faketime", "/usr/local/lib/faketime", "/opt/*/lib/faketime")
_LIBRARY = "libfaketimeMT.so.1"  # for processes with threads
_READ = 1.5  # s, until a process has read its file again
HOUR, DAY = 3600, 86400


class ClockStep(Fault):
    """``seconds_ahead``: of the stepped clock; negative for behind."""

    seconds = (3.0, 7.0)

    def __init__(self, role: Role, seconds_ahead: int, words: str) -> None:
        self._role, self._ahead = role, seconds_ahead
        way = "ahead" if seconds_ahead > 0 else "back"
        self.name = f"clock-of-{role}-{way}-{words.replace(' ', '-')}"
        who = "an API process" if role == "api" else "a worker"
        self.sentence = f"The wall clock of {who} steps {way} by {words}, and later steps back."
        self.sentence = self.sentence.replace("steps back by", "is set back by")
        self.touches = frozenset({role})

    def possible(self, stage: Stage) -> str:
        return "" if library() else "libfaketime is missing: apt-get install libfaketime"

    def prepare(self, stage: Stage) -> None:
        for part in _parts(stage, self._role):
            _write(stage, part, 0)
            part.environment |= {
                "LD_PRELOAD": str(library()),
                "FAKETIME_TIMESTAMP_FILE": str(_file(stage, part)),
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "FAKETIME_CACHE_DURATION": "1",
            }

    async def inject(self, stage: Stage, random: Random) -> Broken:
        part = random.choice(_parts(stage, self._role))
        _write(stage, part, self._ahead)

        async def heal() -> None:
            _write(stage, part, 0)
            await asyncio.sleep(_READ)

        return Broken(f"{part.name} by {self._ahead} s", heal)


def library() -> Path | None:
    """Where libfaketime is."""
    found: Iterable[Path] = (
        path / _LIBRARY for place in _PLACES for path in Path("/").glob(place[1:])
    )
    return next((path for path in found if path.exists()), None)


def _parts(stage: Stage, role: Role) -> list[Part]:
    return stage.workers if role == "worker" else stage.apis


def _file(stage: Stage, part: Part) -> Path:
    return stage.folder / f"{part.role}-{part.number}.clock"


def _write(stage: Stage, part: Part, ahead: int) -> None:
    """In one step, since the process may read at any moment."""
    new = _file(stage, part).with_suffix(".new")
    new.write_text(f"{ahead:+d}\n")
    new.replace(_file(stage, part))


CLOCKS = tuple(
    ClockStep(role, ahead, words)
    for role in ("worker", "api")
    for ahead, words in ((-HOUR, "1 hour"), (HOUR, "1 hour"), (31 * DAY, "31 days"))
)
