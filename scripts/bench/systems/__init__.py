"""What is measured: each module starts one system as its users would, and says how mail gets into it.

A module's :class:`Kind` is the system as it is (or isn't) on this machine, its :class:`Running` one that has been started.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from scripts.bench.loadgen import Mail, Sent
from scripts.bench.processes import Stage


class Running(Protocol):
    """A system that takes mail, and delivers it where it was started so."""

    @property
    def roles(self) -> Mapping[str, Sequence[int]]:
        """The pids of its root processes by what they are: api, worker, etcd, …"""

    def send(self, mail: Mail, *, rate: float = 0, times: Path | None = None) -> Sent:
        """Hands it the e-mails and returns when all are acknowledged. ``rate``: e-mails a second, 0: as fast as it takes them.

        ``times``: a file for two int64 for each e-mail, when it was sent (or due) and when acknowledged, in nanoseconds of CLOCK_MONOTONIC.
        """

    def stop(self) -> None:
        """Ends its processes, each in its turn. Fine to repeat."""


class Kind(Protocol):
    """A system that may be on this machine."""

    name: str  # "Postfix"
    durable: str  # how it is made sure that what was acknowledged is on the disk

    def prepare(self, say: Callable[[str], None]) -> None:
        """Makes it ready to be started, and installs what needs no root. Raises Unavailable, which says what is missing and how to get it."""

    def versions(self) -> Mapping[str, str]:
        """Of the programs that it consists of."""

    def start(self, stage: Stage, relay_port: int, *, deliver: bool) -> Running:
        """Starts it with nothing in it; returns when it is ready. ``deliver``: to 127.0.0.1:``relay_port``, else what it takes stays where it is."""
