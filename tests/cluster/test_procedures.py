"""The commands of docs/operations.md, as they stand there, on the cluster of these tests."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.cluster import MEMBERS, Cluster
from tests.cluster.flow import Flow
from tests.support.paths import ROOT
from tests.support.procedures import sections

PAGE = sections(ROOT / "docs/operations.md")
LONG = 1000  # s, for what restarts every container, three times


class Operator:
    """Somebody with a shell. ``folder``: where the commands leave their files."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._cluster, self.folder = cluster, folder
        self._files = [str(ROOT / "deploy/compose.yml")]

    def add_file(self, text: str) -> None:
        """Adds a Compose file of their own."""
        path = self.folder / "my.yml"
        path.write_text(text)
        self._files.append(str(path))

    def leave(self) -> None:
        """Starts all again without files of their own: the next test would wait for that."""
        if len(self._files) > 1:
            del self._files[1:]
            self.sh("docker compose up --detach --wait")

    def sh(self, script: str) -> str:
        """What a script prints. An AssertionError with that where a command fails."""
        for theirs, ours in (
            ("export COMPOSE_FILE=deploy/compose.yml\n", ""),
            ("scripts/", f"{ROOT}/scripts/"),
            ("https://localhost:8443", self._cluster.url),
            (" --follow", ""),
            ("tools bash ", "tools true "),
            ("run --rm ", "run --rm --no-TTY "),
        ):
            script = script.replace(theirs, ours)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=self._cluster._environment | {"COMPOSE_FILE": ":".join(self._files)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONG,
            check=False,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}"
        return done.stdout


@pytest.fixture
def operator(cluster: Cluster, tmp_path: Path) -> Iterator[Operator]:
    operator = Operator(cluster, tmp_path)
    yield operator
    operator.leave()


def test_cluster_starts_and_takes_its_first_email_by_the_page(operator: Operator) -> None:
    start, first, client, look = PAGE["By Compose"]
    assert "20 accepted, 20 complete, 20 in the mailbox" in operator.sh(start)
    assert '"id"' in operator.sh(first)
    assert "client_secret" in operator.sh(client)
    assert "live worker" in operator.sh(look)


def test_room_is_made_and_the_quota_raised_by_the_page(operator: Operator) -> None:
    [make_room] = PAGE["Disk and quota"]
    [raise_quota] = PAGE["Raise the quota"]
    assert "etcd takes writes" in operator.sh(make_room)
    larger = "    environment: {ETCD_QUOTA_BACKEND_BYTES: '12884901888'}\n"
    operator.add_file("services:\n" + "".join(f"  {name}:\n{larger}" for name in MEMBERS))
    assert "etcd takes writes" in operator.sh(raise_quota)
    assert "of a quota of 12288.0 MiB" in operator.sh(make_room)


def test_member_is_replaced_by_the_page(operator: Operator, cluster: Cluster) -> None:
    with Flow(cluster) as flow:
        assert "etcd3 has its vote" in operator.sh(PAGE["Replace a member"][0])
        flow.reach(30)
    assert flow.settled().doubled == 0


def test_backup_is_copied_out_and_in_and_restored_by_the_page(operator: Operator) -> None:
    backup, certificates = PAGE["Backup"]
    restore, new_machine = PAGE["Restore"]
    make, copy = backup.split("\n", 1)
    name = re.findall(r"/backups/(etcd-\S+\.db)$", operator.sh(make), re.MULTILINE)[0]
    operator.sh(copy.replace("NAME", name))
    operator.sh(certificates)
    assert (operator.folder / name).stat().st_mode & 0o777 == 0o600
    operator.sh(new_machine.replace("NAME", name))
    said = operator.sh(restore)
    assert "restored from" in said and "20 in the mailbox" in said


def test_certificates_are_renewed_and_the_sealing_key_changed_by_the_page(
    operator: Operator,
) -> None:
    assert "renewed" in operator.sh(PAGE["Renewal"][0])
    assert "sealed again" in operator.sh(PAGE["The key that seals secrets"][0])


def test_authorities_are_rotated_by_the_page_while_mail_flows(
    operator: Operator, cluster: Cluster
) -> None:
    """Users get the new CA after the first step, and trust both until the last."""
    old = cluster.served()
    steps = "begin switch finish"
    [rotate] = PAGE["Rotation of the CAs"]
    assert f"for step in {steps};" in rotate
    with Flow(cluster) as flow:
        for step in steps.split():
            operator.sh(rotate.replace(steps, step))
            cluster.sign_in()
            flow.reach(20)
    assert flow.settled().doubled == 0
    assert cluster.served() != old


def test_rolling_update_of_the_page_is_the_one_that_the_tests_run() -> None:
    [update] = PAGE["Upgrade, restart, change a setting"]
    assert update.startswith("scripts/rolling-update ")
