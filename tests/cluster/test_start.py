"""What a person sees after the start of the cluster."""

from __future__ import annotations

import json
import signal

from tests.cluster.cluster import PREFIX, Cluster
from tests.cluster.containers import MEMBERS, until

SERVICES = ("api", "balancer", "bounced", "mailpit", "worker", *MEMBERS)


def test_email_reaches_to_cc_and_bcc_and_its_life_can_be_read_with_etcdctl(
    cluster: Cluster,
) -> None:
    email_id = cluster.send(
        to=["ann@example.org"],
        cc=["bob@example.org"],
        bcc=["eve@example.net"],
        subject="three of them",
    )
    email = cluster.ended(email_id)
    assert email["status"] == "complete"
    assert {(r["email"], r["status_code"]) for r in email["recipients"]} == {
        ("ann@example.org", 250),
        ("bob@example.org", 250),
        ("eve@example.net", 250),
    }

    [message] = cluster.mailpit('/api/v1/search?query=subject:"three%20of%20them"')["messages"]
    assert {kind: [one["Address"] for one in message[kind]] for kind in ("To", "Cc", "Bcc")} == {
        "To": ["ann@example.org"],
        "Cc": ["bob@example.org"],
        "Bcc": [
            "eve@example.net"
        ],  # Mailpit's own deduction: of the envelope's recipients, the one that no header names
    }

    record = json.loads(cluster.etcdctl("get", "--print-value-only", f"{PREFIX}emails/{email_id}"))
    assert record["status"] == "complete"
    for kind in ("jobs/", "not-before/", "owners/"):
        assert email_id not in cluster.etcdctl("get", "--prefix", "--keys-only", f"{PREFIX}{kind}")
    assert list(record["claimed_at"]) == list(record["queues"]), (
        "the record shows its acceptance, and of an end by the first try"
    )
    assert not cluster.etcdctl("get", "--prefix", "--keys-only", f"{PREFIX}log/{email_id}/").strip()


def test_relay_that_defers_makes_a_wait_that_etcdctl_shows_and_the_next_try_delivers(
    cluster: Cluster,
) -> None:
    fails = {
        "Sender": {"ErrorCode": 451, "Probability": 0},
        "Recipient": {"ErrorCode": 451, "Probability": 100},
        "Authentication": {"ErrorCode": 535, "Probability": 0},
    }
    cluster.mailpit("/api/v1/chaos", method="PUT", body=fails)
    try:
        email_id = cluster.send(subject="deferred")
        waiting = until(
            lambda: [
                key
                for key in cluster.etcdctl(
                    "get", "--prefix", "--keys-only", f"{PREFIX}not-before/"
                ).split()
                if email_id in key
            ],
            "it waits",
        )
        assert len(waiting) == 1 and waiting[0].endswith(f"/{email_id}/default")
        [recipient] = cluster.read(f"/emails/{email_id}")["recipients"]
        assert recipient["status_code"] == 451
    finally:
        fails["Recipient"]["Probability"] = 0
        cluster.mailpit("/api/v1/chaos", method="PUT", body=fails)
    email = cluster.ended(email_id)
    assert (email["status"], email["tries"] >= 2) == ("complete", True)


def test_containers_have_no_rights_that_they_do_not_need(cluster: Cluster) -> None:
    for service in SERVICES:
        for row in json.loads(cluster.docker("inspect", *cluster.containers(service))):
            assert row["HostConfig"]["ReadonlyRootfs"], service
            assert row["HostConfig"]["CapDrop"] == ["ALL"], service
            assert "no-new-privileges:true" in row["HostConfig"]["SecurityOpt"], service
            assert row["Config"]["User"] not in ("", "0", "root"), service
            assert 0 < row["HostConfig"]["Memory"] <= 4 << 30, service
            assert 0 < row["HostConfig"]["PidsLimit"] <= 256, service
            for bindings in (row["HostConfig"]["PortBindings"] or {}).values():
                assert {binding["HostIp"] for binding in bindings} == {"127.0.0.1"}, service


def test_images_carry_no_keys_and_no_build_tools(cluster: Cluster) -> None:
    names = ("pip", "pip3", "gcc", "make", "git")
    tools = f"import shutil; print([name for name in {names} if shutil.which(name)])"
    assert cluster.run("tools", "python3", "-c", tools).strip() == "[]"
    keys = "import pathlib; print([str(p) for p in pathlib.Path('/').rglob('*-key.pem')])"
    assert (
        cluster.docker(
            "run", "--rm", "--entrypoint", "python3", "babygun-tools:test", "-c", keys
        ).strip()
        == "[]"
    )


def test_command_that_is_the_first_process_of_a_container_ends_when_it_is_stopped(
    cluster: Cluster,
) -> None:
    """The kernel keeps from such a process each signal that it does not handle."""
    waits = ("--interactive", "babygun-tools:test", "babygun", "decode")  # for its input
    container = cluster.docker("run", "--detach", *waits).strip()
    try:
        caught = "print(next(line for line in open('/proc/1/status') if 'SigCgt' in line)[7:])"
        until(
            lambda: (
                int(cluster.docker("exec", container, "python3", "-c", caught), 16)
                & 1 << signal.SIGTERM - 1
            ),
            "it handles SIGTERM",
        )
        cluster.docker("stop", "--time", "60", container)
        status = cluster.docker("inspect", "--format", "{{.State.ExitCode}}", container)
        assert status.strip() == "143"  # by SIGTERM; 137: by SIGKILL
    finally:
        cluster.docker("rm", "--force", container)


def test_only_who_needs_it_sees_the_key_that_signs(cluster: Cluster) -> None:
    volume = f"{cluster.project}_authority"
    users = cluster.docker(
        "ps",
        "--all",
        "--filter",
        f"volume={volume}",
        "--format",
        '{{.Label "com.docker.compose.service"}}',
    ).split()
    assert users == ["certificates"]


def test_logs_are_json_and_carry_the_ids(cluster: Cluster) -> None:
    email_id = cluster.send(subject="logged")
    cluster.ended(email_id)
    for service, wanted in {
        "api": {"request_id", "email_id"},
        "worker": {"email_id", "queue", "worker_id"},
    }.items():
        until(
            lambda service=service, wanted=wanted: wanted <= _fields(cluster, service, email_id),
            f"{service} logs {', '.join(sorted(wanted))} of {email_id}",
        )  # type: ignore[misc]


def _fields(cluster: Cluster, service: str, email_id: str) -> set[str]:
    """The fields of all lines about an e-mail in a service's log."""
    lines = [line for line in cluster.logs(service).splitlines() if email_id in line]
    return set().union(*(json.loads(line).keys() for line in lines))


def test_metrics_of_api_and_worker_count_what_was_done(cluster: Cluster) -> None:
    cluster.ended(cluster.send(subject="counted"))
    until(lambda: _delivered(cluster) >= 1, "a worker has counted it")
    until(lambda: _members_up(cluster) == ["1.0"] * 3, "the API has seen all members")


def _delivered(cluster: Cluster) -> float:
    """The recipients that all workers have counted as delivered."""
    read = (
        "import urllib.request;"
        "print(urllib.request.urlopen('http://127.0.0.1:9090/metrics').read().decode())"
    )
    workers = "".join(
        cluster.docker("exec", container, "python3", "-c", read)
        for container in cluster.containers("worker")
    )
    return sum(
        float(line.split()[-1])
        for line in workers.splitlines()
        if line.startswith("babygun_recipients_total{") and 'outcome="delivered"' in line
    )


def _members_up(cluster: Cluster) -> list[str]:
    """What an API process shows of each member: 1.0 for one that is up."""
    read = (
        "import ssl, urllib.request;"
        "trust = ssl.create_default_context(cafile='/certificates/api/api-ca.pem');"
        "url = 'https://localhost:8081/metrics';"
        "print(urllib.request.urlopen(url, context=trust).read().decode())"
    )
    text = cluster.docker("exec", cluster.containers("api")[0], "python3", "-c", read)
    assert "babygun_emails_accepted_total" in text
    return [
        line.split()[-1] for line in text.splitlines() if line.startswith("babygun_etcd_member_up{")
    ]
