"""The command line of an embedded etcd member, which listens on the loopback address."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from babygun.dev.etcd.access import EtcdAccess
from babygun.dev.etcd.binary import EtcdBinary

HOST = "127.0.0.1"
# Of TLS 1.2: those that every version knows, with forward secrecy and a seal. etcd's list has more.
_CIPHER_SUITES = ",".join(
    f"TLS_ECDHE_{key}_WITH_AES_{bits}_SHA{sha}"
    for key in ("ECDSA", "RSA")
    for bits, sha in (("128_GCM", 256), ("256_GCM", 384))
)
# The names of the same flags in different versions. The binary is asked which of them it knows:
# some names came with a late patch release.
# Without checkpoints, a start and a change of leader begin the time of every lease again.
_CHECKPOINT_FLAGS = (
    ("--feature-gates=LeaseCheckpoint=true,LeaseCheckpointPersist=true",),
    (
        "--experimental-enable-lease-checkpoint",
        "--experimental-enable-lease-checkpoint-persist",
    ),
    ("--experimental-enable-lease-checkpoint",),
)
_CATCHUP_FLAGS = (
    ("--snapshot-catchup-entries=100",),
    ("--experimental-snapshot-catchup-entries=100",),
)


@dataclass(frozen=True)
class EmbeddedEtcd:
    """One etcd member. Its ports must be free when it starts.

    ``cluster``: the peer ports of all members by name, its own included; empty for one member.
    ``token``: identifies the cluster. ``access``: None for an etcd that asks nobody who it is, by
    plain HTTP. ``open_peers``: the members talk to each other by plain HTTP all the same.
    """

    binary: EtcdBinary
    data_dir: Path
    client_port: int
    peer_port: int  # etcd requires it even of a single member
    quota: int = 8 << 30  # bytes
    name: str = "babygun"
    cluster: Mapping[str, int] = field(default_factory=dict)
    token: str = ""
    access: EtcdAccess | None = None
    open_peers: bool = False

    @property
    def endpoint(self) -> str:
        return f"{'https' if self.access else 'http'}://{HOST}:{self.client_port}"

    def command(self) -> list[str]:
        """The command. etcd/README.md says why these values."""
        access = self.access
        peers = None if self.open_peers else access
        peer_url = f"{'https' if peers else 'http'}://{HOST}"
        peer = f"{peer_url}:{self.peer_port}"
        ports = self.cluster or {self.name: self.peer_port}
        cluster = ",".join(f"{name}={peer_url}:{port}" for name, port in ports.items())
        return [
            str(self.binary.path),
            f"--name={self.name}",
            f"--data-dir={self.data_dir}",
            f"--listen-client-urls={self.endpoint}",
            f"--advertise-client-urls={self.endpoint}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster={cluster}",
            *([f"--initial-cluster-token={self.token}"] if self.token else []),
            *(access.for_clients() if access else []),
            *(peers.for_peers() if peers else []),
            *([f"--cipher-suites={_CIPHER_SUITES}"] if access else []),
            # A web page could write by the gateway, with any name of this machine as its host.
            "--enable-grpc-gateway=false",
            f"--host-whitelist={HOST},localhost",
            "--auto-compaction-mode=periodic",
            "--auto-compaction-retention=5m",
            f"--quota-backend-bytes={self.quota}",
            "--snapshot-count=300",
            *self._supported(_CATCHUP_FLAGS),
            *self._supported(_CHECKPOINT_FLAGS),
            "--logger=zap",
            "--log-outputs=stderr",
        ]

    def environment(self, environ: Mapping[str, str] | None = None) -> dict[str, str]:
        """``environ`` without etcd's own variables, which would contradict the flags.

        Go's garbage collector runs rarely (GOGC) until the members together use a quarter of the
        machine's memory (GOMEMLIMIT).
        """
        environ = os.environ if environ is None else environ
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        limit = memory // 4 // max(1, len(self.cluster))
        others = ("ETCD_", "ETCDCTL_", "BABYGUN_")
        kept = {name: value for name, value in environ.items() if not name.startswith(others)}
        return {"GOGC": "400", "GOMEMLIMIT": str(limit), **kept}

    def _supported(self, alternatives: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
        """The first of the alternatives that this binary knows, if any."""
        for flags in alternatives:
            try:
                asked = subprocess.run(
                    [self.binary.path, *flags, "--version"],
                    capture_output=True,
                    timeout=10,
                    stdin=subprocess.DEVNULL,
                )
            except (OSError, subprocess.TimeoutExpired):
                continue
            if asked.returncode == 0:
                return flags
        return ()

    async def healthy(self, session: aiohttp.ClientSession) -> bool:
        """Whether it has a leader and answers reads."""
        tls = self.access.context if self.access else True
        async with session.get(f"{self.endpoint}/health", ssl=tls) as answer:
            return answer.status == 200 and '"true"' in await answer.text()


def readable(line: str) -> str:
    """The text of a line of etcd's log if it is a warning or worse, else empty.

    A line that is not JSON (a panic) is returned as it is.
    """
    try:
        entry = json.loads(line)
        if entry["level"] in ("debug", "info"):
            return ""
        error = f": {entry['error']}" if entry.get("error") else ""
        return f"{entry['level']}: {entry['msg']}{error}"
    except (ValueError, KeyError, TypeError):
        return line
