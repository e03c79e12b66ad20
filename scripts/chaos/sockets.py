"""Who holds a socket, by /proc."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def owner_of(port: int, pids: Iterable[int]) -> int | None:
    """Which of these processes has a TCP connection from this port of its own; None for none."""
    inode = _inode(port)
    for pid in pids:
        with suppress(OSError):
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    if inode and str(link.readlink()) == f"socket:[{inode}]":
                        return pid
    return None


def _inode(port: int) -> str:
    """Of the connected IPv4 socket with this local port; empty if there is none."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{port:04X}") and fields[3] == "01":
            return fields[9]
    return ""
