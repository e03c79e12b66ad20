"""Who may come in, where, and with what."""

from __future__ import annotations

import ssl
import subprocess
import urllib.error
import urllib.request

import pytest

from tests.cluster.cluster import PREFIX, Cluster

CURL_ETCD = """
import ssl, sys, urllib.request
context = ssl.create_default_context(cafile='/certificates/{folder}/etcd-ca.pem')
{load}
try:
    print(urllib.request.urlopen('https://etcd1:2379/version', timeout=5, context=context).status)
except Exception as error:
    print('refused', error)
"""


def test_api_is_https_only_and_its_authority_must_be_known(cluster: Cluster) -> None:
    with pytest.raises(OSError):
        urllib.request.urlopen(f"http://localhost:{cluster.port}/healthz", timeout=5)
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        urllib.request.urlopen(
            f"{cluster.url}/healthz", timeout=5, context=ssl.create_default_context()
        )
    assert cluster.call("GET", "/healthz").status == 200


def test_etcd_lets_nobody_in_without_a_certificate_of_its_own_authority(cluster: Cluster) -> None:
    for load, verdict in {
        "": "refused",
        "context.load_cert_chain('/certificates/worker/etcd.pem', '/certificates/worker/etcd-key.pem')": "200",
    }.items():
        code = CURL_ETCD.format(folder="worker", load=load)
        assert cluster.compose("exec", "--no-TTY", "worker", "python3", "-c", code).startswith(
            verdict
        )


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


@pytest.mark.parametrize(
    ("service", "forbidden"),
    [
        ("worker", "clients"),
        ("worker", "signing_keys"),
        ("worker", "idempotencies"),
        ("api", "other"),
    ],
)
def test_process_can_not_reach_beyond_its_role(
    cluster: Cluster, service: str, forbidden: str
) -> None:
    code = (
        "import asyncio\nfrom babygun import settings\nfrom babygun.store import Store\n"
        "async def main():\n    async with Store(settings.load()) as store:\n"
        f"        key = b'/other/' if {forbidden!r} == 'other' else getattr(store.keys, {forbidden!r})\n"
        "        try:\n            print(await store.client.get(key + b'x'))\n"
        "        except Exception as error:\n            print(type(error).__name__)\n"
        "asyncio.run(main())\n"
    )
    assert (
        cluster.compose("exec", "--no-TTY", service, "python3", "-c", code).strip()
        == "PermissionDenied"
    )


def test_worker_whose_certificate_is_missing_says_so_in_one_sentence(cluster: Cluster) -> None:
    with pytest.raises(AssertionError) as failed:
        cluster.compose(
            "run",
            "--rm",
            "--no-TTY",
            "--no-deps",
            "--env",
            "BABYGUN_ETCD_CERT=/certificates/worker/none.pem",
            "worker",
        )
    said = str(failed.value)
    assert "/certificates/worker/none.pem" in said and "Traceback" not in said


def test_certificate_that_nobody_signed_is_refused_and_the_reason_is_said(cluster: Cluster) -> None:
    with pytest.raises((AssertionError, subprocess.TimeoutExpired)) as failed:
        cluster.compose(
            "run",
            "--rm",
            "--no-TTY",
            "--no-deps",
            "--env",
            "BABYGUN_ETCD_CA=/etc/ssl/certs/ca-certificates.crt",
            "tools",
            "babygun",
            "workers",
            timeout=60,
        )
        cluster.compose(
            "run",
            "--rm",
            "--no-TTY",
            "--no-deps",
            "--env",
            "BABYGUN_ETCD_CA=/etc/ssl/certs/ca-certificates.crt",
            "tools",
            "babygun",
            "doctor",
            timeout=60,
        )
    assert "certificate" in str(failed.value).lower()
