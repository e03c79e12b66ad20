"""A process gets no more memory: by a cgroup, where the kernel kills it, or by a limit of its own.

Both count from what the process holds already. A process that dies starts again at the healing.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path
from random import Random

from scripts.chaos.faults import Broken, Fault
from scripts.chaos.faults.targets import Target
from scripts.chaos.parts import Part
from scripts.chaos.stage import Stage

_MORE = 256 << 10  # bytes that the process may still take
# Where a memory controller may be, and its limit's file: cgroup v2, and v1 in its two usual places.
_CONTROLLERS = (
    ("/sys/fs/cgroup", "memory.max"),
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
)


class MemoryCgroup(Fault):
    """A cgroup that holds new pages of the process up to a limit; then the kernel kills it."""

    seconds = (3.0, 6.0)

    def __init__(self, target: Target) -> None:
        self.target = target
        self.name = f"memory-pressure-on-{target.name}"
        self.sentence = (
            f"A cgroup gives {target.words} {_MORE >> 10} KiB more, and no swap. Beyond that the"
            " kernel kills it."
        )
        self.touches = frozenset({target.role})

    def possible(self, stage: Stage) -> str:
        found = _controller()
        if found is None:
            return "it needs root, and a cgroup with the memory controller"
        return self.target.possible(stage)

    async def inject(self, stage: Stage, random: Random) -> Broken:
        (part,) = await self.target.pick(stage, random)
        found = _controller()
        assert found is not None
        parent, limit = found
        group = parent / f"babygun-chaos-{part.pid}"
        group.mkdir()
        (group / limit).write_text(str(_MORE))
        (group / "cgroup.procs").write_text(str(part.pid))

        async def heal() -> None:
            (group / limit).write_text("max" if limit == "memory.max" else "-1")
            if part.alive:
                (parent / "cgroup.procs").write_text(str(part.pid))
            group.rmdir()
            await part.start()

        return Broken(part.name, heal)


class MemoryLimit(Fault):
    """RLIMIT_AS: allocations fail in the process itself, at any place."""

    seconds = (2.0, 5.0)

    def __init__(self, target: Target) -> None:
        self.target = target
        self.name = f"allocations-fail-in-{target.name}"
        self.sentence = (
            f"RLIMIT_AS gives {target.words} {_MORE >> 10} KiB more. Beyond that allocations fail."
        )
        self.touches = frozenset({target.role})

    def possible(self, stage: Stage) -> str:
        if not hasattr(resource, "prlimit"):
            return "it needs Linux's prlimit"
        return self.target.possible(stage)

    async def inject(self, stage: Stage, random: Random) -> Broken:
        (part,) = await self.target.pick(stage, random)
        undo = part.limit(resource.RLIMIT_AS, _address_space(part) + _MORE)

        async def heal() -> None:
            undo()
            await part.start()

        return Broken(part.name, heal)


def _address_space(part: Part) -> int:
    pages = int(Path(f"/proc/{part.pid}/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def _controller() -> tuple[Path, str] | None:
    """A cgroup in which groups with a limit can be made, and the name of the limit's file."""
    for place, limit in _CONTROLLERS:
        group = Path(place) / f"babygun-chaos-try-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            if (group / limit).exists():
                return group.parent, limit
        finally:
            group.rmdir()
    return None


MEMORY = tuple(
    kind(target)
    for kind in (MemoryCgroup, MemoryLimit)
    for target in (Target("worker", "worker"), Target("api", "api"))
)
