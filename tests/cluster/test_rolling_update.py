"""One command replaces every container while mail flows."""

from __future__ import annotations

import subprocess

from tests.cluster.cluster import MEMBERS, ROOT, Cluster
from tests.cluster.flow import Flow

REPLACED = (*MEMBERS, "api", "worker", "bounced", "balancer")


def update(cluster: Cluster, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["scripts/rolling-update", *words],
        cwd=ROOT,
        env=cluster._environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


def test_rolling_update_replaces_every_container_and_no_email_is_lost_or_doubled(
    cluster: Cluster,
) -> None:
    before = {service: cluster.containers(service) for service in REPLACED}
    with Flow(cluster) as flow:
        done = update(cluster, "--restart")
        assert done.returncode == 0, done.stdout + done.stderr
        flow.reach(30)
    for service, containers in before.items():
        now = cluster.containers(service)
        assert len(now) == len(containers) and not set(now) & set(containers), service
    assert flow.settled().doubled == 0


def test_rolling_update_without_a_change_replaces_nothing(cluster: Cluster) -> None:
    before = {service: cluster.containers(service) for service in REPLACED}
    done = update(cluster)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {service: cluster.containers(service) for service in REPLACED} == before
