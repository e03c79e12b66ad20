"""Ends the supervisor's children where it can't do so itself, because it was killed.

The supervisor starts one guard and tells it of each child through a pipe: ``+ <rank> <pid>`` and ``- <pid>``, a line each.
The pipe's end, with children still on the list, means that the supervisor is gone. The guard then ends them, lowest rank
first (etcd has the highest: the others want to give back what they hold), each within a few seconds. It works with any
program and on any POSIX system, where Linux's "parent death signal" is for Linux and may be lost. It imports the standard library alone.
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
        time.sleep(0.05)  # they are not our children: nothing to wait on
    for pid in pids:
        signal_group(pid, signal.SIGKILL)


def _lives(pid: int) -> bool:
    """Whether the process group is there; a leader that has ended and that nobody collects (a container without an init) isn't."""
    if not signal_group(pid, 0):
        return False
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:  # no /proc on this system, or only the leader is gone
        return True


def signal_group(pid: int, number: int) -> bool:
    """Sends it to the process group; whether there was one."""
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    main()
