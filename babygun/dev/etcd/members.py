"""The etcd members of a data folder: where their data are, and on which ports they listen.

A single member keeps its data in ``etcd/``, several members in ``etcd-1/`` and so on. Members
remember each other's peer addresses, so ``etcd-cluster.json`` keeps those ports. The ports for
clients may change at each start.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from babygun.dev.data_folder import DataFolder
from babygun.dev.etcd.access import EtcdAccess
from babygun.dev.etcd.binary import EtcdBinary
from babygun.dev.etcd.command_line import EmbeddedEtcd
from babygun.dev.ports import Ports
from babygun.errors import BabygunError, SettingsError
from babygun.runtime.identifiers import new_token

SIZES = (1, 3, 5)  # an even number survives no more failures than the odd one below it
CLIENT_PORT = 2379


@dataclass(frozen=True)
class EtcdCluster:
    """The members of one data folder.

    ``peer_ports`` and ``token`` are empty until the members have been started once.
    ``open_peers``: the members know each other by plain HTTP. That can't be changed in their data.
    """

    folder: DataFolder
    size: int
    peer_ports: tuple[int, ...] = ()
    token: str = ""
    open_peers: bool = False

    @classmethod
    def of(cls, folder: DataFolder, asked: int | None) -> EtcdCluster:
        """The cluster of the folder; for a new folder one of ``asked`` members, or of one.

        Raises SettingsError if the folder's cluster has another size, and BabygunError if a part
        of it is missing.
        """
        kept = _kept(folder)
        if kept and asked not in (None, kept.size):
            raise SettingsError(
                f"the etcd in {folder.path} has {_members(kept.size)}, not {asked}:"
                " leave --etcd-members out, or choose another folder with --data-dir;"
                " nothing was changed"
            )
        return kept or cls(folder, asked or 1)

    def choose_ports(self, ports: Ports, asked: int | None) -> MemberPorts:
        """``asked``: the first member's port for clients; the others get the ports after it.

        0 means any free ports, None the default port and up.
        """
        peers = self.peer_ports
        for number, port in enumerate(peers, 1):
            ports.again(f"etcd's member {number}", port)
        clients: list[int] = []
        default = CLIENT_PORT
        for number in range(self.size):
            what = "etcd" if self.size == 1 else f"etcd's member {number + 1}"
            wanted = asked + number if asked else asked
            port = ports.choose(what, asked=wanted, default=default, option="--etcd-port")
            clients.append(port)
            default = port + 1
        if not peers:
            peers = tuple(ports.any() for _ in range(self.size))
        return MemberPorts(tuple(clients), peers)

    def members(
        self, ports: MemberPorts, binary: EtcdBinary, quota: int, access: EtcdAccess
    ) -> list[EmbeddedEtcd]:
        """The members, ready to be started. Keeps the peer ports of a new cluster."""
        if self.size == 1:
            data, client, peer = self.folder.path / "etcd", ports.clients[0], ports.peers[0]
            return [EmbeddedEtcd(binary, data, client, peer, quota, access=access)]
        token = self.token or new_token(8)
        if not self.peer_ports:
            self.folder.write_etcd_cluster(
                {
                    "peer_ports": list(ports.peers),
                    "token": token,
                    "peer_tls": True,
                    "formed": False,
                }
            )
        cluster = {f"babygun-{number}": port for number, port in enumerate(ports.peers, 1)}
        return [
            EmbeddedEtcd(
                binary=binary,
                data_dir=_data(self.folder, number),
                client_port=client_port,
                peer_port=cluster[f"babygun-{number}"],
                quota=quota,
                name=f"babygun-{number}",
                cluster=cluster,
                token=token,
                access=access,
                open_peers=self.open_peers,
            )
            for number, client_port in enumerate(ports.clients, 1)
        ]

    def formed(self) -> None:
        """Notes that all members have answered, so from now on each must have data."""
        kept = self.folder.read_etcd_cluster() if self.size > 1 else None
        if kept and not kept.get("formed"):
            self.folder.write_etcd_cluster({**kept, "formed": True})


@dataclass(frozen=True)
class MemberPorts:
    """The ports of each member, in the members' order."""

    clients: tuple[int, ...]
    peers: tuple[int, ...]


def _kept(folder: DataFolder) -> EtcdCluster | None:
    """The cluster whose data are in the folder. None if there are no data yet.

    A start that failed may have left the file without data; then the file does not count.
    """
    numbers = range(1, max(SIZES) + 1)
    with_data = {number for number in numbers if (_data(folder, number) / "member").is_dir()}
    kept = folder.read_etcd_cluster()
    if not with_data and not (kept and kept.get("formed")):
        return EtcdCluster(folder, 1) if (folder.path / "etcd" / "member").is_dir() else None
    if kept is None:
        raise BabygunError(
            f"{folder.path} has an etcd cluster's data but no etcd-cluster.json:"
            " put that file back, it holds the ports by which the members find each other"
        )
    ports = _ports(folder, kept)
    missing = [
        f"{_data(folder, number).name}/"
        for number in range(1, len(ports) + 1)
        if number not in with_data
    ]
    if missing and kept.get("formed"):
        raise BabygunError(
            f"{folder.path} lacks {' and '.join(missing)}, data of its etcd cluster:"
            " put them back, or choose another folder with --data-dir."
            " A member that starts empty could make the cluster lose accepted mail"
        )
    open_peers = not kept.get("peer_tls")
    return EtcdCluster(folder, len(ports), ports, str(kept.get("token", "")), open_peers)


def _ports(folder: DataFolder, kept: dict[str, Any]) -> tuple[int, ...]:
    ports = kept.get("peer_ports")
    if (
        not isinstance(ports, list)
        or len(ports) not in SIZES
        or not all(isinstance(port, int) for port in ports)
    ):
        raise BabygunError(
            f"{folder.path / 'etcd-cluster.json'} has no peer_ports of 3 or 5 members:"
            " put it back as it was"
        )
    return tuple(ports)


def _data(folder: DataFolder, number: int) -> Path:
    return folder.path / f"etcd-{number}"


def _members(count: int) -> str:
    return f"{count} member{'' if count == 1 else 's'}"
