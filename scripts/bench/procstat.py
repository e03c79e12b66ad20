"""CPU time and memory of processes and all that they started, from /proc."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_TICK = os.sysconf("SC_CLK_TCK")
_KILO = 1024


@dataclass(frozen=True)
class Memory:
    """Bytes.

    ``pss`` divides a shared page among its processes, so it can be added up. ``peak_rss`` is the
    sum of each process's highest RSS. ``anonymous`` is the part of ``rss`` that is no file's page.
    """

    pss: int
    rss: int
    peak_rss: int
    anonymous: int


def tree(roots: Sequence[int]) -> list[int]:
    """These processes and all their living descendants."""
    found, waiting = [], list(roots)
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        with suppress(OSError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
    return found


def cpu_seconds(roots: Sequence[int]) -> float:
    """CPU time so far of the processes and their descendants, ended ones included."""
    total = 0
    for pid in tree(roots):
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))  # utime, stime, and the same of ended children
    return total / _TICK


def busy_seconds() -> float:
    """CPU time that this machine has used so far, of all cores, without what a hypervisor took."""
    user, nice, system, _idle, _iowait, irq, softirq = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:8]
    )
    return (user + nice + system + irq + softirq) / _TICK


def memory(roots: Sequence[int], *, alone: bool = False) -> Memory:
    """Memory now: of the processes and, unless ``alone``, of their descendants."""
    pss = rss = peak = anonymous = 0
    for pid in roots if alone else tree(roots):
        with suppress(OSError, ValueError):
            pss += _line(f"/proc/{pid}/smaps_rollup", "Pss:")
            rss += _line(f"/proc/{pid}/status", "VmRSS:")
            peak += _line(f"/proc/{pid}/status", "VmHWM:")
            anonymous += _line(f"/proc/{pid}/status", "RssAnon:")
    return Memory(pss, rss, peak, anonymous)


def largest_peak(roots: Sequence[int]) -> int:
    """The highest RSS of any single process or descendant so far, in bytes."""
    return max(memory([pid], alone=True).peak_rss for pid in tree(roots))


def _line(file: str, name: str) -> int:
    for line in Path(file).read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * _KILO
    raise ValueError(f"{file} has no {name}")


@dataclass(frozen=True)
class Cost:
    """What one role used during a measurement.

    ``cpu`` in seconds; ``peak``, the highest sampled sum of PSS, and ``peak_rss``, which the kernel
    counts from the process's start, in bytes.
    """

    cpu: float
    peak: int
    peak_rss: int


class Meter:
    """Measures roles while the block runs; then ``costs`` has the result.

    ``roles``: the pids of each role's root processes. Memory is sampled twice a second, so only
    ``peak_rss`` shows a shorter peak.
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

    def __exit__(self, *_: object) -> None:
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
