"""What processes cost, with all that they started, read from /proc: CPU time and memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_TICK = os.sysconf("SC_CLK_TCK")
_KILO = 1024


@dataclass(frozen=True)
class Memory:
    """Bytes. ``pss`` counts a page that n processes share as an nth each, so it can be added up; ``peak_rss`` is the sum of each process's highest;
    ``anonymous`` is what of ``rss`` is no page of a file."""

    pss: int
    rss: int
    peak_rss: int
    anonymous: int


def tree(roots: Sequence[int]) -> list[int]:
    """These processes and all their descendants that live."""
    found, waiting = [], list(roots)
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        with suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
    return found


def cpu_seconds(roots: Sequence[int]) -> float:
    """CPU time so far: of the processes, their living descendants, and those of them that have ended and were waited for."""
    total = 0
    for pid in tree(roots):
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))  # utime, stime, and the same of ended children
    return total / _TICK


def busy_seconds() -> float:
    """CPU time that anything on this machine has used so far, all cores together; what a hypervisor took away does not count."""
    user, nice, system, _idle, _iowait, irq, softirq = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]
    )
    return (user + nice + system + irq + softirq) / _TICK


def memory(roots: Sequence[int], *, alone: bool = False) -> Memory:
    """Memory of the processes and, unless ``alone``, their descendants now."""
    pss = rss = peak = anonymous = 0
    for pid in roots if alone else tree(roots):
        with suppress(OSError, ValueError):
            pss += _line(f"/proc/{pid}/smaps_rollup", "Pss:")
            rss += _line(f"/proc/{pid}/status", "VmRSS:")
            peak += _line(f"/proc/{pid}/status", "VmHWM:")
            anonymous += _line(f"/proc/{pid}/status", "RssAnon:")
    return Memory(pss, rss, peak, anonymous)


def largest_peak(roots: Sequence[int]) -> int:
    """The highest resident size that any single one of the processes and their descendants had so far, in bytes."""
    return max(memory([pid], alone=True).peak_rss for pid in tree(roots))


def _line(file: str, name: str) -> int:
    for line in Path(file).read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * _KILO
    raise ValueError(f"{file} has no {name}")


@dataclass(frozen=True)
class Cost:
    """What one role cost over a measurement. ``cpu`` in seconds; ``peak`` the highest of the sampled sums of PSS, ``peak_rss`` as the kernel saw it since the start; bytes."""

    cpu: float
    peak: int
    peak_rss: int


class Meter:
    """Measures roles (a name and the pids of its root processes each) while the block runs; ``costs`` has the result afterwards.

    The memory is looked at twice a second: what is higher for a shorter time shows in ``peak_rss`` alone.
    """

    def __init__(self, roles: Mapping[str, Sequence[int]], interval: float = 0.5) -> None:
        self._roles, self._interval = roles, interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="meter", daemon=True)
        self._peaks = dict.fromkeys(roles, 0)
        self.costs: dict[str, Cost] = {}

    def __enter__(self) -> Self:
        self._before = {role: cpu_seconds(pids) for role, pids in self._roles.items()}
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        after = {role: cpu_seconds(pids) for role, pids in self._roles.items()}
        self._stop.set()
        self._thread.join()
        for role, pids in self._roles.items():
            now = memory(pids)
            self.costs[role] = Cost(
                after[role] - self._before[role], max(self._peaks[role], now.pss), now.peak_rss
            )

    def _sample(self) -> None:
        while not self._stop.wait(self._interval):
            for role, pids in self._roles.items():
                self._peaks[role] = max(self._peaks[role], memory(pids).pss)
