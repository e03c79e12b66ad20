"""A backup of the whole cluster, and what a restore brings back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from tests.cluster.cluster import MEMBERS, PREFIX, Cluster


class Restored(NamedTuple):
    """Ids of e-mails.

    ``done``: delivered before the backup. ``open``: accepted before, delivered after it.
    ``later``: not to be sent before tomorrow. ``lost``: accepted after the backup.
    """

    cluster: Cluster
    done: str
    open: str
    later: str
    lost: str
    said: str


def backup(cluster: Cluster, *words: str) -> str:
    """The new backup's name."""
    return cluster.compose("run", "--rm", "--no-TTY", "admin", "backup-etcd", *words).split()[0]


def restore(cluster: Cluster, *words: str) -> str:
    """Its standard output. A failure is an AssertionError with all its output."""
    return cluster.compose("run", "--rm", "--no-TTY", "restore", "restore-etcd", *words)


@pytest.fixture(scope="module")
def restored(running_cluster: Cluster) -> Iterator[Restored]:
    """The cluster after a restore, and the e-mails of before."""
    cluster = running_cluster
    cluster.until_well()
    cluster.sign_in()
    mark = f"backup-{time.time_ns()}"
    done = cluster.send(subject=f"{mark} done")
    cluster.ended(done)
    cluster.compose("stop", "worker")
    later = cluster.send(
        subject=f"{mark} later", send_at=(datetime.now(UTC) + timedelta(days=1)).isoformat()
    )
    unsent = cluster.send(subject=f"{mark} open")
    name = backup(cluster)
    lost = cluster.send(subject=f"{mark} lost")
    cluster.compose("start", "worker")
    assert {cluster.ended(unsent)["status"], cluster.ended(lost)["status"]} == {"complete"}

    cluster.compose("stop", "api", "worker", *MEMBERS)
    said = restore(cluster, name)
    cluster.until_well()
    cluster.until_served()
    yield Restored(cluster, done, unsent, later, lost, said)
    restore(cluster, "--forget")


def test_backup_is_whole_and_pruned_to_the_newest(cluster: Cluster) -> None:
    names = [backup(cluster)]
    for _ in range(2):
        time.sleep(1.1)  # they are named by the second
        names.append(backup(cluster, "--keep", "2"))
    there = cluster.compose("run", "--rm", "--no-TTY", "admin", "ls", "-A", "/backups").split()
    assert [f"/backups/{name}" for name in there] == names[1:]
    status = json.loads(
        cluster.compose(
            "run",
            "--rm",
            "--no-TTY",
            "admin",
            "etcdutl",
            "snapshot",
            "status",
            names[-1],
            "--write-out=json",
        )
    )
    assert status["totalKey"] > 0


def test_backup_without_roots_rights_is_refused_and_leaves_nothing(cluster: Cluster) -> None:
    as_inspector = [
        f"--env=ETCDCTL_{name}=/certificates/operator/inspector{suffix}.pem"
        for name, suffix in (("CERT", ""), ("KEY", "-key"))
    ]
    before = cluster.compose("run", "--rm", "--no-TTY", "admin", "ls", "-A", "/backups")
    with pytest.raises(
        AssertionError, match="no member gave a snapshot; nothing was changed"
    ) as refused:
        cluster.compose("run", "--rm", "--no-TTY", *as_inspector, "admin", "backup-etcd")
    assert "permission denied" in str(refused.value)
    assert cluster.compose("run", "--rm", "--no-TTY", "admin", "ls", "-A", "/backups") == before


def test_backup_is_made_while_a_member_is_away(cluster: Cluster) -> None:
    cluster.compose("stop", MEMBERS[0])
    assert backup(cluster).startswith("/backups/etcd-")


def test_restore_while_a_member_runs_is_refused_and_changes_nothing(cluster: Cluster) -> None:
    name = backup(cluster)
    cluster.compose("stop", *MEMBERS[:2])
    with pytest.raises(
        AssertionError, match="etcd3 runs: stop all members first; nothing was changed"
    ):
        restore(cluster, name)
    cluster.compose("start", *MEMBERS[:2])
    cluster.until_well()
    assert "before-restore" not in cluster.compose(
        "run", "--rm", "--no-TTY", "restore", "sh", "-c", "ls /data/*"
    )


def test_restore_of_a_damaged_file_is_refused_and_changes_nothing(cluster: Cluster) -> None:
    name = backup(cluster)
    damage = {
        "cut": "head -c -100",
        "empty": "head -c 0",
        "shifted": "tail -c +2",
        "altered": "sed s/babygun/bobygun/",
    }
    script = "; ".join(f"{how} {name} >/backups/{what}.db" for what, how in damage.items())
    cluster.compose("run", "--rm", "--no-TTY", "admin", "sh", "-c", script)
    cluster.compose("stop", *MEMBERS)
    try:
        for what in damage:
            with pytest.raises(
                AssertionError, match=r"not a whole snapshot: .* nothing was changed"
            ):
                restore(cluster, f"/backups/{what}.db")
        assert cluster.compose(
            "run", "--rm", "--no-TTY", "restore", "sh", "-c", "cd /data; ls -d */*"
        ).split() == [f"{member}/member" for member in MEMBERS]
    finally:
        cluster.compose(
            "run", "--rm", "--no-TTY", "restore", "rm", *(f"/backups/{what}.db" for what in damage)
        )


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
    assert "users, roles and permissions are as they should be" in cluster.compose(
        "run", "--rm", "--no-TTY", "admin", "babygun", "access"
    )
    with pytest.raises(AssertionError, match="permission denied"):
        cluster.etcdctl("put", f"{PREFIX}emails/x", "x")


def test_revisions_never_repeat_and_all_three_are_one_new_cluster(restored: Restored) -> None:
    rows = json.loads(restored.cluster.etcdctl("endpoint", "status", "--write-out=json"))
    assert len(rows) == 3
    assert all(row["Status"]["header"]["revision"] > 1_000_000_000 for row in rows)
    assert len({row["Status"]["header"]["cluster_id"] for row in rows}) == 1
    assert [line.split(": ")[0] for line in restored.said.splitlines()[:3]] == list(MEMBERS)


def test_data_of_before_stay_until_forget(restored: Restored) -> None:
    cluster = restored.cluster
    look = ("run", "--rm", "--no-TTY", "restore", "sh", "-c", "cd /data; ls -d */*")
    assert cluster.compose(*look).count("member.before-restore-") == 3
    restore(cluster, "--forget")
    assert cluster.compose(*look).split() == [f"{member}/member" for member in MEMBERS]
