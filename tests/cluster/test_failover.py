"""Mail flows while parts of the cluster stop, die, hang and come back.

Nothing is lost. Nothing is doubled, unless a worker died.
"""

from __future__ import annotations

import subprocess

import pytest

from tests.cluster.cluster import Cluster
from tests.cluster.containers import MEMBERS, until
from tests.cluster.flow import Flow


def workers(cluster: Cluster) -> int:
    """The number of workers in the API."""
    return len(cluster.read("/workers")["workers"])


def test_workers_come_and_go_and_no_email_is_lost_or_doubled(cluster: Cluster) -> None:
    with Flow(cluster) as flow:
        for count in (4, 1, 2):
            cluster.compose("up", "--detach", "--no-recreate", "--scale", f"worker={count}")
            until(lambda count=count: workers(cluster) == count, f"{count} workers")  # type: ignore[misc]
            flow.reach(50)
    assert flow.settled().doubled == 0


def test_killed_worker_loses_nothing(cluster: Cluster) -> None:
    with Flow(cluster) as flow:
        flow.reach(50)
        [victim, *_] = cluster.containers("worker")
        cluster.docker("kill", "--signal", "KILL", victim)
        flow.reach(50)
        cluster.docker("start", victim)
        flow.reach(50)
    outcome = flow.settled()
    assert outcome.doubled <= 50  # at most what was between its 250 and its commit


def test_worker_that_hangs_is_replaced_and_comes_back_under_another_name(cluster: Cluster) -> None:
    [victim, *_] = cluster.containers("worker")
    with Flow(cluster) as flow:
        cluster.hang(victim)
        try:
            until(lambda: workers(cluster) == 1, "the others see it go")
            flow.reach(50)
        finally:
            cluster.resume(victim)
        until(lambda: workers(cluster) == 2, "it is back")
        flow.reach(50)
    flow.settled()


def test_stopped_member_is_not_missed(cluster: Cluster) -> None:
    with Flow(cluster) as flow:
        cluster.stop(MEMBERS[0])
        flow.reach(100)
        cluster.until_served()
        cluster.start(MEMBERS[0])
        flow.reach(50)
    assert flow.settled().doubled == 0


def test_killed_leader_is_replaced_and_no_email_is_lost_or_doubled(cluster: Cluster) -> None:
    leader = cluster.leader()
    with Flow(cluster) as flow:
        flow.reach(50)
        cluster.docker("kill", "--signal", "KILL", *cluster.containers(leader))
        flow.reach(100)
        cluster.leader([member for member in MEMBERS if member != leader])  # there is another
        cluster.start(leader)
        flow.reach(50)
    flow.settled()


@pytest.mark.parametrize("who", ["leader", "follower"])
def test_member_whose_disk_hangs_does_not_stop_the_mail(cluster: Cluster, who: str) -> None:
    leader = cluster.leader()
    member = leader if who == "leader" else next(name for name in MEMBERS if name != leader)
    [container] = cluster.containers(member)
    with Flow(cluster) as flow:
        flow.reach(30)
        cluster.hang(container)
        try:
            flow.reach(50)
        finally:
            cluster.resume(container)
        flow.reach(50)
    flow.settled()


def test_api_killed_in_the_middle_of_requests_makes_no_second_email(cluster: Cluster) -> None:
    with Flow(cluster) as flow:
        for container in cluster.containers("api"):
            flow.reach(30)
            cluster.docker("kill", "--signal", "KILL", container)
            flow.reach(50)
            cluster.docker("start", container)
            cluster.until_ready("api", container)
    assert flow.settled().doubled == 0


def test_rolling_restart_of_everything_while_mail_flows(cluster: Cluster) -> None:
    with Flow(cluster) as flow:
        for service in (*MEMBERS, "api", "worker", "balancer"):
            cluster.restart(service)
            flow.reach(20)
    assert flow.settled().doubled == 0


def test_two_members_gone_stop_the_mail_with_a_reason_and_lose_nothing(cluster: Cluster) -> None:
    with Flow(cluster) as flow:
        flow.reach(30)
        cluster.stop(*MEMBERS[:2])
        try:
            until(lambda: "etcd" in _readyz(cluster), "the API says that etcd is away")
        finally:
            cluster.start(*MEMBERS[:2])
        flow.reach(50)
    flow.settled()


def _readyz(cluster: Cluster) -> str:
    """The answer of an API process that is not ready, asked directly: the balancer skips it."""
    ask = ["docker", "exec", cluster.containers("api")[0], "babygun", "health", "api"]
    done = subprocess.run(ask, capture_output=True, text=True, timeout=120, check=False)
    return done.stderr if done.returncode else ""
