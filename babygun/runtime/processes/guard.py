"""The guard: a process that ends the programs of a supervisor that was killed.

The supervisor writes a line to the guard for each program: ``+ <rank> <pid>`` when it starts, and
``- <pid>`` when it has ended. If the pipe ends while programs are left, the supervisor is gone.
The guard then ends the programs, the lowest rank first, each rank within a few seconds. etcd has
the highest rank: the others want to give back what they hold.

It works with every program and on every POSIX system. Linux's "parent death signal" does neither.
It imports the standard library only.
"""

from __future__ import annotations

import os
import signal
import sys
import time

GRACE = 5.0  # seconds from SIGTERM to SIGKILL, per rank


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends when the pipe does
    grace = float(sys.argv[1]) if len(sys.argv) > 1 else GRACE
    children: dict[int, int] = {}
    for line in sys.stdin:
        match line.split():
            case ["+", rank, pid]:
                children[int(pid)] = int(rank)
            case ["-", pid]:
                children.pop(int(pid), None)
    for rank in sorted(set(children.values())):
        end_groups([pid for pid, its in children.items() if its == rank], grace)


def end_groups(pids: list[int], grace: float) -> None:
    """Ends process groups: SIGTERM, then SIGKILL to what is left after ``grace`` seconds."""
    for pid in pids:
        signal_group(pid, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while any(_lives(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)  # they are not our children, so we can't wait for them
    for pid in pids:
        signal_group(pid, signal.SIGKILL)


def _lives(pid: int) -> bool:
    """Whether the process group exists.

    A leader that has ended but was not collected (a container without an init) does not count.
    """
    if not signal_group(pid, 0):
        return False
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:  # no /proc on this system, or only the leader is gone
        return True


def signal_group(pid: int, number: int) -> bool:
    """Sends a signal to a process group. False if there is none."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    main()
