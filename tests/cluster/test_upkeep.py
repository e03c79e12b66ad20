"""What an operator does with a running cluster: renews and rotates its certificates."""

from __future__ import annotations

import ssl

from tests.cluster.cluster import MEMBERS, Cluster, until
from tests.cluster.flow import Flow


def served(cluster: Cluster) -> str:
    return ssl.get_server_certificate(("localhost", cluster.port))


def test_renewed_certificates_are_served_without_a_restart(cluster: Cluster) -> None:
    before = served(cluster)
    with Flow(cluster) as flow:
        said = cluster.compose(
            "run", "--rm", "--no-TTY", "certificates", "bootstrap", "certificates", "--renew"
        )
        assert "api/https.pem: renewed" in said and "etcd/server.pem: renewed" in said
        until(lambda: served(cluster) != before, "the API serves the new one")
        flow.reach(30)
    assert flow.settled().doubled == 0


def test_authorities_are_rotated_while_mail_flows(cluster: Cluster) -> None:
    old = served(cluster)
    with Flow(cluster) as flow:
        for step in ("begin", "switch", "finish"):
            cluster.compose(
                "run",
                "--rm",
                "--no-TTY",
                "certificates",
                "bootstrap",
                "certificates",
                "--rotate",
                step,
            )
            for service in (*MEMBERS, "balancer", "api", "worker"):
                cluster.restart(service)
            flow.reach(20)
            # Users get the new authority's certificate after the first step, and trust both until
            # the last.
            cluster.compose("run", "--rm", "--no-TTY", "bootstrap")
            cluster.sign_in()
    assert flow.settled().doubled == 0
    assert served(cluster) != old
