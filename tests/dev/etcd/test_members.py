import json
import socket
from pathlib import Path

import pytest

from babygun.dev.data_folder import DataFolder
from babygun.dev.etcd.access import EtcdAccess
from babygun.dev.etcd.binary import EtcdBinary
from babygun.dev.etcd.members import EtcdCluster
from babygun.dev.ports import Ports
from babygun.errors import BabygunError, SettingsError
from tests.support.etcd_server import free_row

ACCESS = EtcdAccess(Path("/no/certificates"))
BINARY = EtcdBinary(Path("/no/etcd"), "3.6.16", "cache")


def silent(line: str) -> None:
    pass


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path)


def started(folder: DataFolder, size: int) -> EtcdCluster:
    """A cluster whose members have been up once, as far as the folder shows it."""
    cluster = EtcdCluster.of(folder, size)
    for member in cluster.members(cluster.choose_ports(Ports(silent), 0), BINARY, 8 << 30, ACCESS):
        (member.data_dir / "member").mkdir(parents=True)
    cluster.formed()
    return EtcdCluster.of(folder, None)


def test_new_folder_has_one_member_where_no_number_is_asked_for(folder: DataFolder) -> None:
    assert EtcdCluster.of(folder, None).size == 1
    assert EtcdCluster.of(folder, 3).size == 3


def test_members_know_each_other_and_have_folders_and_ports_of_their_own(
    folder: DataFolder,
) -> None:
    cluster = EtcdCluster.of(folder, 3)
    members = cluster.members(cluster.choose_ports(Ports(silent), 0), BINARY, 8 << 30, ACCESS)
    assert [member.data_dir.name for member in members] == ["etcd-1", "etcd-2", "etcd-3"]
    assert len({port for member in members for port in (member.client_port, member.peer_port)}) == 6
    assert members[0].cluster == {
        "babygun-1": members[0].peer_port,
        "babygun-2": members[1].peer_port,
        "babygun-3": members[2].peer_port,
    }
    assert (
        members[0].token
        and len({(member.token, *member.cluster.values()) for member in members}) == 1
    )


def test_peer_ports_and_number_of_members_stay_over_restarts(folder: DataFolder) -> None:
    first = started(folder, 3)
    again = EtcdCluster.of(folder, 3)
    assert (again.size, again.peer_ports, again.token) == (3, first.peer_ports, first.token)
    assert again.choose_ports(Ports(silent), 0).peers == first.peer_ports


def test_clients_ports_follow_the_asked_one_and_all_must_be_free(folder: DataFolder) -> None:
    base = free_row(3)
    chosen = EtcdCluster.of(folder, 3).choose_ports(Ports(silent), base)
    assert chosen.clients == (base, base + 1, base + 2)
    with (
        socket.create_server(("127.0.0.1", base + 2)),
        pytest.raises(
            SettingsError,
            match=rf"etcd's member 3 can't have port {base + 2}: something else .*--etcd-port",
        ),
    ):
        EtcdCluster.of(folder, 3).choose_ports(Ports(silent), base)


def test_peer_port_that_is_busy_at_a_restart_ends_it_with_a_sentence(folder: DataFolder) -> None:
    cluster = started(folder, 3)
    busy = cluster.peer_ports[1]
    with (
        socket.create_server(("127.0.0.1", busy)),
        pytest.raises(
            SettingsError,
            match=rf"etcd's member 2 needs port {busy} again.*something else listens there already",
        ),
    ):
        cluster.choose_ports(Ports(silent), 0)


@pytest.mark.parametrize(
    ("had", "asked", "words"),
    [(1, 3, "has 1 member, not 3"), (3, 1, "has 3 members, not 1"), (3, 5, "has 3 members, not 5")],
)
def test_other_number_of_members_is_refused_and_changes_nothing(
    folder: DataFolder, had: int, asked: int, words: str
) -> None:
    started(folder, had)
    before = sorted(folder.path.rglob("*"))
    with pytest.raises(
        SettingsError,
        match=rf"{words}: leave --etcd-members out, or choose another folder with --data-dir",
    ):
        EtcdCluster.of(folder, asked)
    assert sorted(folder.path.rglob("*")) == before
    assert EtcdCluster.of(folder, None).size == had


def test_start_that_failed_before_there_were_data_binds_nobody(folder: DataFolder) -> None:
    cluster = EtcdCluster.of(folder, 3)
    cluster.members(cluster.choose_ports(Ports(silent), 0), BINARY, 8 << 30, ACCESS)
    assert EtcdCluster.of(folder, 1).size == 1


def test_start_that_was_cut_off_goes_on_with_the_same_ports(folder: DataFolder) -> None:
    cluster = EtcdCluster.of(folder, 3)
    ports = cluster.choose_ports(Ports(silent), 0)
    (cluster.members(ports, BINARY, 8 << 30, ACCESS)[0].data_dir / "member").mkdir(parents=True)
    assert EtcdCluster.of(folder, None).peer_ports == ports.peers


def test_member_whose_data_are_missing_is_not_begun_with_nothing(folder: DataFolder) -> None:
    started(folder, 3)
    (folder.path / "etcd-2" / "member").rmdir()
    with pytest.raises(BabygunError, match=r"lacks etcd-2/, .*put them back"):
        EtcdCluster.of(folder, None)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "[]",
        "{",
        "{}",
        json.dumps({"peer_ports": [1, 2]}),
        json.dumps({"peer_ports": ["a", "b", "c"]}),
    ],
)
def test_cluster_file_that_is_lost_or_broken_is_reported_with_the_way_out(
    folder: DataFolder, text: str | None
) -> None:
    started(folder, 3)
    file = folder.path / "etcd-cluster.json"
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    with pytest.raises(BabygunError, match=r"etcd-cluster\.json.* put (it|that file) back"):
        EtcdCluster.of(folder, None)
