"""Mail to domains that demand TLS: Knot signs, Unbound checks, a policy host has the policy."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from babygun.email.model import TlsResult
from babygun.runtime.settings import Settings
from tests.support.certificates import Authority, Pem
from tests.support.dns_servers import failing, scripted, serving
from tests.support.etcd_server import free_ports
from tests.support.policy_host import PolicyHost, policy_host
from tests.support.rig import Rig, quick, rig_for
from tests.support.smtp_server import MisbehavingServer

HOSTS = ("mx.sts.example", "mx.dane.example")
ZONE = """\
mta-sts.sts A 127.0.0.1
_mta-sts.sts TXT "v=STSv1; id=a1;"
sts MX 10 mx.sts
mx.sts A 127.0.0.91
dane MX 10 mx.dane
mx.dane A 127.0.0.91
_{port}._tcp.mx.dane TLSA 3 1 1 {key}
wrong MX 10 mx.wrong
mx.wrong A 127.0.0.91
_{port}._tcp.mx.wrong TLSA 3 1 1 {other}
lost MX 10 mx.lost
mx.lost A 127.0.0.91
_tcp.mx.lost NS ns
free MX 10 mx.free
mx.free A 127.0.0.91
"""
POLICY = "version: STSv1\nmode: enforce\nmx: mx.sts.example\nmax_age: 86400\n"


class World(NamedTuple):
    rig: Rig
    mail: MisbehavingServer  # of all domains
    policies: PolicyHost

    async def sent(self, domain: str) -> tuple[str, str, TlsResult | None]:
        """What became of an e-mail in one try, why, and what its connection got."""
        email_id = await self.rig.send(f"ann@{domain}")
        key = self.rig.store.keys.email(email_id)
        await self.rig.seen(
            key, lambda value: b"deferred" in value or b"delivered" in value or None
        )
        email = await self.rig.get(email_id)
        [recipient] = email.recipients
        tls = email.queues[f"mx:{domain}"].tls
        return recipient.status, recipient.status_reason or "", tls


def _tried(value: bytes) -> bool:
    return b"deferred" in value or b"delivered" in value


@pytest.fixture
async def world(settings: Settings, tmp_path: Path) -> AsyncIterator[World]:
    (port,) = free_ports(1)

    def sign(authority: Authority) -> Pem:
        return authority.sign("policy", hosts=("mta-sts.sts.example",))

    async with AsyncExitStack() as stack:
        policies = await stack.enter_async_context(
            policy_host(settings, tmp_path, certificate=sign)
        )
        policies.policy = POLICY
        pem = policies.authority.sign("mx", hosts=HOSTS)
        zone = ZONE.format(port=port, key=_digest_of_key(pem), other="ab" * 32)
        broken = await stack.enter_async_context(scripted(failing))
        resolver = await stack.enter_async_context(
            serving({"example": zone}, {"_tcp.mx.lost.example": broken}, signed=["example"])
        )
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(*pem)
        mail = MisbehavingServer(port=port, starttls=tls)
        mail.host = "127.0.0.91"
        await stack.enter_async_context(mail)
        by_mx = replace(policies.settings, resolvers=(), dane_resolver=resolver, mx_port=port)
        rig = await stack.enter_async_context(rig_for(quick(by_mx, {})))
        yield World(rig, mail, policies)


def _digest_of_key(pem: Pem) -> str:
    key = x509.load_pem_x509_certificate(pem.cert.read_bytes()).public_key()
    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


async def test_mail_goes_where_the_host_shows_what_its_domain_demands(world: World) -> None:
    async with world.rig.worker():
        for domain, policy, verified in (
            ("sts.example", "sts", "pkix"),
            ("dane.example", "dane", "dane_ee"),
            ("free.example", "none", None),
        ):
            status, _, tls = await world.sent(domain)
            assert status == "delivered"
            assert tls is not None and (tls.policy, tls.verified) == (policy, verified)
    assert world.policies.asked == 1


@pytest.mark.parametrize(
    ("domain", "why"),
    [
        ("wrong.example", "TLSA"),
        ("lost.example", "the TLSA records of mx.lost.example can't be had"),
    ],
)
async def test_host_that_does_not_match_its_tlsa_records_gets_no_mail(
    world: World, domain: str, why: str
) -> None:
    async with world.rig.worker():
        status, reason, tls = await world.sent(domain)
    assert status == "deferred" and why in reason
    assert tls is not None and (tls.policy, tls.connected) == ("dane", False)
    assert world.mail.messages == []


async def test_policy_of_the_last_worker_holds_when_policy_host_and_starttls_are_gone(
    world: World,
) -> None:
    """Somebody on the way takes both away: mail must not go in plain text."""
    async with world.rig.worker():
        assert (await world.sent("sts.example"))[0] == "delivered"
    world.mail.starttls = None
    world.policies.policy = "gone"
    async with world.rig.worker():
        status, reason, tls = await world.sent("sts.example")
    assert status == "deferred" and "MTA-STS" in reason
    assert tls is not None and tls.failure == "starttls-not-supported"
    assert world.policies.asked == 1


async def test_domain_that_demands_nothing_gets_its_mail_in_plain_text_too(world: World) -> None:
    world.mail.starttls = None
    async with world.rig.worker():
        status, _, tls = await world.sent("free.example")
    assert status == "delivered" and tls == TlsResult()


async def test_operators_word_replaces_what_a_domain_demands(world: World) -> None:
    world.mail.starttls = None
    async with world.rig.worker(
        tls_policies={"wrong.example": "none", "free.example": "encrypted"}
    ):
        assert (await world.sent("wrong.example"))[0] == "delivered"
        assert (await world.sent("free.example"))[0] == "deferred"
