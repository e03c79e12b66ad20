"""What the caller of ``babygun dev`` asks for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class RelayAddress(NamedTuple):
    """A mail server of the settings, to which mail goes for real."""

    name: str
    host: str
    port: int


@dataclass(frozen=True)
class Options:
    """A port of 0 asks for any free one, None for the default one or the next free one."""

    api_port: int | None
    smtp_port: int | None
    etcd_port: int | None  # the first member's, for clients
    etcd_members: int | None  # None: what the data folder has, else 1
    data_dir: Path
    tls: bool | None  # None: only where other machines can reach the API
    workers: int
