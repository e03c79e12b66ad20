"""A backup of the whole cluster, and what a restore refuses and brings back."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from tests.cluster.cluster import PREFIX, Cluster
from tests.cluster.containers import MEMBERS
from tests.cluster.operator import PAGE, Operator

DAMAGE = {
    "cut": "head -c -100",
    "empty": "head -c 0",
    "shifted": "tail -c +2",
    "altered": "sed s/babygun/bobygun/",
}
LOOK = ("sh", "-c", "cd /data; ls -d */*")  # at the members' data


class Restored(NamedTuple):
    """Ids of e-mails.

    ``done``: delivered before the backup. ``open``: accepted before, delivered after it.
    ``later``: not to be sent before tomorrow. ``lost``: accepted after the backup.

    ``said``: what the restore and the check after it printed. ``forget``: the page's last command.
    """

    cluster: Cluster
    operator: Operator
    done: str
    open: str
    later: str
    lost: str
    said: str
    forget: str


def backup(cluster: Cluster, *words: str) -> str:
    """The new backup's name."""
    return cluster.run("admin", "backup-etcd", *words).split()[0]


def restore(cluster: Cluster, *words: str) -> str:
    """Its standard output. A failure is an AssertionError with all its output."""
    return cluster.run("restore", "restore-etcd", *words)


@pytest.fixture(scope="module")
def restored(
    running_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Restored]:
    """The cluster after a backup and a restore by docs/operations.md, and the e-mails of before.

    The backup is copied out, lost here, and copied in again, as to a new machine.
    """
    cluster = running_cluster
    cluster.until_well()
    cluster.sign_in()
    operator = Operator(cluster, tmp_path_factory.mktemp("restored"))
    backup, certificates = PAGE["Backup"]
    commands, new_machine = PAGE["Restore"]
    make, copy = backup.split("\n", 1)
    stop, replace, start, check, forget = commands.splitlines()
    mark = f"backup-{time.time_ns()}"
    done = cluster.send(subject=f"{mark} done")
    cluster.ended(done)
    cluster.stop("worker")
    later = cluster.send(
        subject=f"{mark} later", send_at=(datetime.now(UTC) + timedelta(days=1)).isoformat()
    )
    unsent = cluster.send(subject=f"{mark} open")
    [name] = re.findall(r"/backups/(etcd-\S+\.db)$", operator.sh(make), re.MULTILINE)
    operator.sh(copy.replace("NAME", name))
    operator.sh(certificates)
    assert (operator.folder / name).stat().st_mode & 0o777 == 0o600
    lost = cluster.send(subject=f"{mark} lost")
    cluster.start("worker")
    assert {cluster.ended(unsent)["status"], cluster.ended(lost)["status"]} == {"complete"}

    operator.sh(stop)
    cluster.run("admin", "rm", f"/backups/{name}")
    operator.sh(new_machine.replace("NAME", name))
    said = operator.sh(f"{replace}\n{start}\n{check}")
    assert f"restored from /backups/{name}" in said and "20 in the mailbox" in said
    yield Restored(cluster, operator, done, unsent, later, lost, said, forget)
    restore(cluster, "--forget")


def test_backup_is_whole_and_pruned_to_the_newest(cluster: Cluster) -> None:
    names = [backup(cluster)]
    for _ in range(2):
        time.sleep(1.1)  # they are named by the second
        names.append(backup(cluster, "--keep", "2"))
    there = cluster.run("admin", "ls", "-A", "/backups").split()
    assert [f"/backups/{name}" for name in there] == names[1:]
    status = json.loads(
        cluster.run("admin", "etcdutl", "snapshot", "status", names[-1], "--write-out=json")
    )
    assert status["totalKey"] > 0


def test_backup_without_roots_rights_is_refused_and_leaves_nothing(cluster: Cluster) -> None:
    as_inspector = {
        f"ETCDCTL_{name}": f"/certificates/operator/inspector{suffix}.pem"
        for name, suffix in (("CERT", ""), ("KEY", "-key"))
    }
    before = cluster.run("admin", "ls", "-A", "/backups")
    with pytest.raises(
        AssertionError, match="no member gave a snapshot; nothing was changed"
    ) as refused:
        cluster.run("admin", "backup-etcd", variables=as_inspector)
    assert "permission denied" in str(refused.value)
    assert cluster.run("admin", "ls", "-A", "/backups") == before


def test_members_stop_and_a_backup_needs_two_of_them_and_a_restore_none(cluster: Cluster) -> None:
    """What is refused changes nothing: a restore while a member runs, and of a damaged file."""
    before = cluster.run("restore", *LOOK)
    assert before.split() == [f"{member}/member" for member in MEMBERS]
    cluster.stop("etcd1")
    name = backup(cluster)
    assert name.startswith("/backups/etcd-")
    cluster.stop("etcd2")
    with pytest.raises(
        AssertionError, match="etcd3 runs: stop all members first; nothing was changed"
    ):
        restore(cluster, name)
    assert cluster.run("restore", *LOOK) == before
    cluster.stop("etcd3")
    script = "; ".join(f"{how} {name} >/backups/{what}.db" for what, how in DAMAGE.items())
    cluster.run("admin", "sh", "-c", script)
    try:
        for what in DAMAGE:
            with pytest.raises(
                AssertionError, match=r"not a whole snapshot: .* nothing was changed"
            ):
                restore(cluster, f"/backups/{what}.db")
        assert cluster.run("restore", *LOOK) == before
    finally:
        cluster.run("restore", "rm", *(f"/backups/{what}.db" for what in DAMAGE))


def test_what_the_backup_had_goes_on(restored: Restored) -> None:
    cluster = restored.cluster
    assert cluster.read(f"/emails/{restored.done}")["status"] == "complete"
    email = cluster.ended(restored.open)
    assert email["status"] == "complete"
    waiting = cluster.etcdctl("get", "--prefix", "--keys-only", f"{PREFIX}not-before/")
    assert restored.later in waiting
    assert cluster.read(f"/emails/{restored.later}")["status"] == "incomplete"


def test_what_was_delivered_after_the_backup_is_sent_again_under_the_same_message_id(
    restored: Restored,
) -> None:
    cluster = restored.cluster
    subject = cluster.ended(restored.open)["subject"]
    found = cluster.mailpit(f'/api/v1/search?query=subject:"{subject.replace(" ", "%20")}"')[
        "messages"
    ]
    assert len(found) == 2
    assert len({message["MessageID"] for message in found}) == 1


def test_what_was_accepted_after_the_backup_is_gone(restored: Restored) -> None:
    assert restored.cluster.call("GET", f"/emails/{restored.lost}").status == 404
    assert restored.lost not in restored.cluster.etcdctl(
        "get", "--prefix", "--keys-only", PREFIX + "emails/"
    )


def test_tokens_and_clients_of_before_still_work(restored: Restored) -> None:
    assert restored.cluster.call("GET", "/workers").status == 200  # by the token of before
    restored.cluster.sign_in()
    restored.cluster.ended(restored.cluster.send(subject="after the restore"))


def test_users_roles_and_authentication_are_back(restored: Restored) -> None:
    cluster = restored.cluster
    assert "Authentication Status: true" in cluster.etcdctl("auth", "status", service="admin")
    assert set(cluster.etcdctl("user", "list", service="admin").split()) == {
        "root",
        "babygun-api",
        "babygun-worker",
        "babygun-bounced",
        "babygun-inspector",
    }
    assert "users, roles and permissions are as they should be" in cluster.run(
        "admin", "babygun", "access"
    )
    with pytest.raises(AssertionError, match="permission denied"):
        cluster.etcdctl("put", f"{PREFIX}emails/x", "x")


def test_revisions_never_repeat_and_all_three_are_one_new_cluster(restored: Restored) -> None:
    rows = json.loads(restored.cluster.etcdctl("endpoint", "status", "--write-out=json"))
    assert len(rows) == 3
    assert all(row["Status"]["header"]["revision"] > 1_000_000_000 for row in rows)
    assert len({row["Status"]["header"]["cluster_id"] for row in rows}) == 1
    assert re.findall(r"^(\w+): restored from", restored.said, re.MULTILINE) == list(MEMBERS)


def test_data_of_before_stay_until_forget(restored: Restored) -> None:
    cluster = restored.cluster
    assert cluster.run("restore", *LOOK).count("member.before-restore-") == 3
    restored.operator.sh(restored.forget)
    assert cluster.run("restore", *LOOK).split() == [f"{member}/member" for member in MEMBERS]
