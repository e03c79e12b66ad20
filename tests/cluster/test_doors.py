"""Who may connect where, and with which certificate."""

from __future__ import annotations

import json
import smtplib
import ssl
import urllib.error
import urllib.request

import pytest

from tests.cluster.cluster import PREFIX, Cluster
from tests.cluster.containers import until

READ_KEY = """
import asyncio
from babygun.runtime import settings
from babygun.store import Store

async def main():
    async with Store(settings.load()) as store:
        prefix = getattr(store.keys, {name!r}, b"/other/")
        try:
            print(await store.client.get(prefix + b"x"))
        except Exception as error:
            print(type(error).__name__)

asyncio.run(main())
"""
CURL_ETCD = """
import ssl, sys, urllib.request
context = ssl.create_default_context(cafile='/certificates/{folder}/etcd-ca.pem')
{load}
try:
    print(urllib.request.urlopen('https://etcd1:2379/version', timeout=30, context=context).status)
except Exception as error:
    print('refused', error)
"""


def test_api_is_https_only_and_its_authority_must_be_known(cluster: Cluster) -> None:
    with pytest.raises(OSError):
        urllib.request.urlopen(f"http://localhost:{cluster.port}/healthz", timeout=30)
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.urlopen(
            f"{cluster.url}/healthz", timeout=30, context=ssl.create_default_context()
        )
    assert cluster.call("GET", "/healthz").status == 200


def test_etcd_lets_nobody_in_without_a_certificate_of_its_own_authority(cluster: Cluster) -> None:
    folder = "/certificates/worker"
    own = f"context.load_cert_chain('{folder}/etcd.pem', '{folder}/etcd-key.pem')"
    for load, answer in (("", "refused"), (own, "200")):
        code = CURL_ETCD.format(folder="worker", load=load)
        output = cluster.exec("worker", "python3", "-c", code)
        assert output.startswith(answer)


@pytest.mark.parametrize(
    ("user", "words", "allowed"),
    [
        ("inspector", ["get", "--prefix", "--keys-only", f"{PREFIX}jobs/"], True),
        ("inspector", ["get", "--prefix", f"{PREFIX}signing-keys/"], False),
        ("inspector", ["get", "--prefix", f"{PREFIX}contents/"], False),
        ("inspector", ["put", f"{PREFIX}emails/x", "y"], False),
        ("inspector", ["user", "list"], False),
        ("root", ["get", "--prefix", "--keys-only", PREFIX], True),
    ],
)
def test_role_may_do_what_its_duty_needs_and_no_more(
    cluster: Cluster, user: str, words: list[str], allowed: bool
) -> None:
    if allowed:
        cluster.etcdctl(*words, service="admin" if user == "root" else "tools")
    else:
        with pytest.raises(AssertionError, match="permission denied"):
            cluster.etcdctl(*words)


def test_tools_have_no_keys_but_their_own(cluster: Cluster) -> None:
    look = ("find", "/certificates", "/backups", "-type", "f")
    found = cluster.run("tools", *look).split()
    assert {path.split("/")[2] for path in found} == {"inspector"}
    assert not [path for path in found if "root" in path]
    ask = 'babygun token --check "$(babygun token)"'
    said = cluster.run("tools", "sh", "-c", ask)
    assert "emails:send emails:read workers:read" in said and "admin" not in said
    email_id = cluster.send(subject="not the tools' own")
    with pytest.raises(AssertionError, match="no e-mail"):
        cluster.run("tools", "babygun", "emails", "show", email_id)


def test_bounces_are_taken_with_tls_and_mail_for_others_is_not(cluster: Cluster) -> None:
    untrusted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    untrusted.check_hostname, untrusted.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP("localhost", cluster.bounce_port, timeout=30) as server:
        server.starttls(context=untrusted)
        server.ehlo("mail.example.org")
        assert server.mail("")[0] == 250
        assert server.rcpt("ann@example.org") == (550, b"5.1.1 No such address here")
        assert server.rcpt("complaints@bounces.example")[0] == 250


def test_metrics_are_closed_through_the_balancer(cluster: Cluster) -> None:
    answer = cluster.call("GET", "/metrics")
    assert answer.status == 404 and "metrics_token" in answer.json["detail"]


def test_api_knows_the_callers_address_behind_the_balancer(cluster: Cluster) -> None:
    email_id = cluster.send(subject="from here")
    lines = until(
        lambda: [
            json.loads(line)
            for line in cluster.logs("api").splitlines()
            if email_id in line and '"request"' in line
        ],
        "the call is logged",
    )
    [balancer] = cluster.containers("balancer")
    networks = json.loads(cluster.docker("inspect", balancer))[0]["NetworkSettings"]["Networks"]
    [network] = networks.values()
    assert {line["address"] for line in lines} == {network["Gateway"]}
    assert network["IPAddress"] != network["Gateway"]
    assert "proxy header missing" not in cluster.logs("api")


@pytest.mark.parametrize(
    ("service", "forbidden"),
    [
        ("worker", "clients"),
        ("worker", "signing_keys"),
        ("worker", "idempotencies"),
        ("bounced", "jobs"),
        ("bounced", "signing_keys"),
        ("bounced", "dkim_keys"),
        ("api", "other"),
    ],
)
def test_process_can_not_reach_beyond_its_role(
    cluster: Cluster, service: str, forbidden: str
) -> None:
    code = READ_KEY.format(name=forbidden)
    output = cluster.exec(service, "python3", "-c", code)
    assert output.strip() == "PermissionDenied"


def test_worker_whose_certificate_is_missing_says_so_in_one_sentence(cluster: Cluster) -> None:
    variable = "BABYGUN_ETCD_CERT=/certificates/worker/none.pem"
    said = cluster.failing("run", "--rm", "--no-TTY", "--no-deps", "--env", variable, "worker")
    assert "/certificates/worker/none.pem" in said and "Traceback" not in said


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("clients list", "CERTIFICATE_VERIFY_FAILED"),
        ("doctor", "its certificate is signed by an authority that is not in etcd_ca"),
    ],
)
def test_certificate_that_nobody_signed_is_refused_and_the_reason_is_said(
    cluster: Cluster, command: str, reason: str
) -> None:
    others = {"BABYGUN_ETCD_CA": "/etc/ssl/certs/ca-certificates.crt"}
    with pytest.raises(AssertionError, match=reason):
        cluster.run("tools", "babygun", *command.split(), variables=others)
