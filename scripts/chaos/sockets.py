"""Who holds a socket, by /proc."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_READS = 3  # of /proc/net/tcp, which may miss a line while others come and go
_CONNECTED = "01"


def owner_of(port: int, to: int, pids: Iterable[int]) -> int | None:
    """Which of these processes has a connection of loopback from this port to that one, if any."""
    link = f"socket:[{_inode(port, to)}]"
    for pid in pids:
        with suppress(OSError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    if str(descriptor.readlink()) == link:
                        return pid
    return None


def _inode(port: int, to: int) -> str:
    """Of the caller's socket; empty if it is gone."""
    local, remote = f":{port:04X}", f":{to:04X}"
    for _ in range(_READS):
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1].endswith(local) and fields[2].endswith(remote):
                return fields[9] if fields[3] == _CONNECTED else ""
    return ""
