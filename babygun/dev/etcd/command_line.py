"""The command line of an embedded etcd member: on the loopback address, with the settings that Babygun needs of it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from babygun.dev.etcd.binary import EtcdBinary

HOST = "127.0.0.1"
# These flags moved out of the experimental ones in 3.6, and some came to 3.5 only late: asked of the binary, not guessed by version.
# Of several members: without checkpoints each change of leader begins the time of every lease anew.
_CHECKPOINT_FLAGS = (
    "--feature-gates=LeaseCheckpoint=true,LeaseCheckpointPersist=true",
    "--experimental-enable-lease-checkpoint",
)
_CATCHUP_FLAGS = ("--snapshot-catchup-entries=100", "--experimental-snapshot-catchup-entries=100")


@dataclass(frozen=True)
class EmbeddedEtcd:
    """One etcd member whose data are in ``data_dir``. The ports must be free when it starts.

    ``cluster``: the peer ports of all members by name, its own too; empty where it is the only one. ``token``: tells this cluster from others.
    """

    binary: EtcdBinary
    data_dir: Path
    client_port: int
    peer_port: int  # of an only member nobody connects to it; etcd wants one all the same
    quota: int = 8 << 30  # bytes
    name: str = "babygun"
    cluster: Mapping[str, int] = field(default_factory=dict)
    token: str = ""

    @property
    def endpoint(self) -> str:
        return f"http://{HOST}:{self.client_port}"

    def command(self) -> list[str]:
        """Why these values: etcd/README.md."""
        peer = _peer_url(self.peer_port)
        cluster = self.cluster or {self.name: self.peer_port}
        return [
            str(self.binary.path),
            f"--name={self.name}",
            f"--data-dir={self.data_dir}",
            f"--listen-client-urls={self.endpoint}",
            f"--advertise-client-urls={self.endpoint}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster={','.join(f'{name}={_peer_url(port)}' for name, port in cluster.items())}",
            *([f"--initial-cluster-token={self.token}"] if self.token else []),
            "--auto-compaction-mode=periodic",
            "--auto-compaction-retention=5m",
            f"--quota-backend-bytes={self.quota}",
            "--snapshot-count=300",
            *self._known_one(_CATCHUP_FLAGS),
            *(self._known_one(_CHECKPOINT_FLAGS) if self.cluster else ()),
            "--logger=zap",
            "--log-outputs=stderr",
        ]

    def environment(self, environ: Mapping[str, str] | None = None) -> dict[str, str]:
        """``environ`` without etcd's own variables, which would fight with the flags; with a garbage collector that is lazy while there is memory."""
        environ = os.environ if environ is None else environ
        limit = (
            os.sysconf("SC_PHYS_PAGES")
            * os.sysconf("SC_PAGE_SIZE")
            // 4
            // max(1, len(self.cluster))
        )
        return {
            "GOGC": "400",
            "GOMEMLIMIT": str(limit),
            **{
                name: value
                for name, value in environ.items()
                if not name.startswith(("ETCD_", "ETCDCTL_", "BABYGUN_"))
            },
        }

    def _known_one(self, flags: Sequence[str]) -> tuple[str, ...]:
        for flag in flags:
            try:
                asked = subprocess.run(
                    [self.binary.path, flag, "--version"],
                    capture_output=True,
                    timeout=10,
                    stdin=subprocess.DEVNULL,
                )
            except (OSError, subprocess.TimeoutExpired):
                continue
            if asked.returncode == 0:
                return (flag,)
        return ()

    async def healthy(self, session: aiohttp.ClientSession) -> bool:
        """Whether it has a leader and answers reads."""
        async with session.get(f"{self.endpoint}/health") as answer:
            return answer.status == 200 and '"true"' in await answer.text()


def _peer_url(port: int) -> str:
    return f"http://{HOST}:{port}"


def readable(line: str) -> str:
    """What a line of etcd's log says, if it is a warning or worse; lines that are no JSON (a panic) as they are."""
    try:
        entry = json.loads(line)
        if entry["level"] in ("debug", "info"):
            return ""
        return f"{entry['level']}: {entry['msg']}" + (
            f": {entry['error']}" if entry.get("error") else ""
        )
    except (ValueError, KeyError, TypeError):
        return line
