"""Certificates that are renewed while a cluster runs."""

from __future__ import annotations

from tests.cluster.cluster import Cluster, until
from tests.cluster.flow import Flow


def test_renewed_certificates_are_served_without_a_restart(cluster: Cluster) -> None:
    before = cluster.served()
    with Flow(cluster) as flow:
        said = cluster.compose(
            "run", "--rm", "--no-TTY", "certificates", "bootstrap", "certificates", "--renew"
        )
        assert "api/https.pem: renewed" in said and "etcd/server.pem: renewed" in said
        until(lambda: cluster.served() != before, "the API serves the new one")
        flow.reach(30)
    assert flow.settled().doubled == 0
