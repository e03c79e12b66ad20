"""The commands of docs/operations.md, as they stand there, on the cluster of these tests.

Those of its backups are in test_backup.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.containers import MEMBERS, until
from tests.cluster.flow import Flow
from tests.cluster.operator import PAGE, Operator

REPLACED = (*MEMBERS, "api", "worker", "bounced", "balancer")


@pytest.fixture
def operator(cluster: Cluster, tmp_path: Path) -> Operator:
    return Operator(cluster, tmp_path)


def containers(cluster: Cluster) -> dict[str, set[str]]:
    """The ids of all containers that an update may replace, by their service."""
    return {service: set(cluster.containers(service)) for service in REPLACED}


def test_cluster_starts_and_takes_its_first_email_by_the_page(
    cluster: Cluster, operator: Operator
) -> None:
    """The cluster of these tests was started by the page, too."""
    _, first, client, look = PAGE["By Compose"]
    assert "20 accepted, 20 complete, 20 in the mailbox" in cluster.said
    assert "BAD" not in cluster.said and "WARN" not in cluster.said
    assert '"id"' in operator.sh(first)
    assert "client_secret" in operator.sh(client)
    assert "live worker" in operator.sh(look)


def test_member_is_replaced_by_the_page(operator: Operator, cluster: Cluster) -> None:
    with Flow(cluster) as flow:
        assert "etcd3 has its vote" in operator.sh(PAGE["Replace a member"][0])
        flow.reach(30)
    assert flow.settled().doubled == 0


def test_certificates_are_renewed_by_the_page_and_served_without_a_restart(
    operator: Operator, cluster: Cluster
) -> None:
    before = cluster.served()
    with Flow(cluster) as flow:
        said = operator.sh(PAGE["Renewal"][0])
        assert "api/https.pem: renewed" in said and "etcd/server.pem: renewed" in said
        until(lambda: cluster.served() != before, "the API serves the new one")
        flow.reach(30)
    assert flow.settled().doubled == 0


def test_room_is_made_and_the_quota_raised_by_the_page(operator: Operator) -> None:
    """The next test's rolling update lowers it again."""
    [make_room] = PAGE["Disk and quota"]
    [raise_quota] = PAGE["Raise the quota"]
    assert "etcd takes writes" in operator.sh(make_room)
    larger = "    environment: {ETCD_QUOTA_BACKEND_BYTES: '12884901888'}\n"
    operator.add_file("services:\n" + "".join(f"  {name}:\n{larger}" for name in MEMBERS))
    assert "etcd takes writes" in operator.sh(raise_quota)
    assert "of a quota of 12288.0 MiB" in operator.sh(make_room)


def test_sealing_key_is_changed_by_the_page_and_all_replaced_without_a_lost_email(
    operator: Operator, cluster: Cluster
) -> None:
    [change] = PAGE["The key that seals secrets"]
    assert "scripts/rolling-update --restart\n" in change
    before = containers(cluster)
    # What an update that broke off has left is in nobody's way.
    cluster.compose("create", "--no-recreate", "--scale", "worker=4", "worker")
    with Flow(cluster) as flow:
        assert "sealed again" in operator.sh(change)
        flow.reach(30)
    for service, now in containers(cluster).items():
        assert len(now) == len(before[service]) and not now & before[service], service
    assert flow.settled().doubled == 0


def test_update_by_the_page_without_a_change_or_the_new_rights_replaces_nothing(
    operator: Operator, cluster: Cluster
) -> None:
    [update] = PAGE["Upgrade, restart, change a setting"]
    before, served = containers(cluster), cluster.served()
    operator.sh(update)
    assert containers(cluster) == before
    assert "all certificates exist" in cluster.logs("certificates")
    assert "users, roles and permissions are as they should be" in cluster.logs("bootstrap")
    assert cluster.served() == served
    cluster.sign_in()  # the first client stays
    operator.add_file("services: {bootstrap: {command: [sh, -c, 'exit 1']}}\n")
    assert "bootstrap failed" in operator.sh(f"! {update}")
    assert containers(cluster) == before


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
