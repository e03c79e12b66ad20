"""Ends the supervisor's children if the supervisor was killed.

The supervisor starts one guard and writes a line to its standard input for each child that starts
(``+ <rank> <pid>``) or has ended (``- <pid>``). When the pipe is closed, the guard ends what is
left, lowest rank first. etcd has the highest rank, since the others give back what they hold.

This works on any POSIX system; Linux's "parent death signal" can be lost. The module imports the
standard library alone, so that it starts quickly.
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
    """Ends these process groups: SIGTERM, then SIGKILL to what is left."""
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
