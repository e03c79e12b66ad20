"""The systems that are measured. Each module starts one as its users would, and sends it mail.

Each has a :class:`Kind`, the system as installed on this machine, and a :class:`Running`, one that
was started.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from scripts.bench.loadgen import Mail, Sent
from scripts.bench.processes import Stage


class Running(Protocol):
    """A system that accepts mail, and delivers it if it was started so."""

    @property
    def roles(self) -> Mapping[str, Sequence[int]]:
        """The pids of its root processes, by role: api, worker, etcd, …"""

    def send(self, mail: Mail, *, rate: float = 0, times: Path | None = None) -> Sent:
        """Sends the e-mails; returns when all are acknowledged.

        ``rate``: e-mails per second, 0 for as fast as possible. ``times``: a file for two int64
        per e-mail, when it was sent (with a rate: due) and when acknowledged, in nanoseconds of
        CLOCK_MONOTONIC.
        """

    def stop(self) -> None:
        """Ends its processes in order. It may be called again."""


class Kind(Protocol):
    """A system that may be installed on this machine."""

    name: str  # "Postfix"
    durable: str  # what brings acknowledged mail to the disk

    def prepare(self, say: Callable[[str], None]) -> None:
        """Installs what needs no root. Raises Unavailable if something else is missing."""

    def versions(self) -> Mapping[str, str]:
        """The versions of its programs."""

    def start(self, stage: Stage, relay_port: int, *, deliver: bool) -> Running:
        """Starts it empty; returns when it is ready.

        ``deliver``: it delivers to 127.0.0.1:``relay_port``; else the mail stays in it.
        """
