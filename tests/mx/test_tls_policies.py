"""TLS policies with real mail servers: DANE by a zone that Knot signs, MTA-STS by the settings."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from babygun.email.model import Email, TlsResult
from tests.mx.conftest import MailServers, NewWorld, World

pytestmark = pytest.mark.asyncio(loop_scope="session")


def key_of(path: Path) -> str:
    """The SHA-256 of a certificate's key, as in a TLSA record ``x 1 1``."""
    key = x509.load_pem_x509_certificate(path.read_bytes()).public_key()
    public = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(public).hexdigest()


async def tried(world: World, address: str) -> Email:
    """An e-mail after its first try."""
    email_id = await world.rig.send(address)
    await world.rig.seen(
        world.rig.store.keys.email(email_id),
        lambda value: re.search(rb'"status":"(deferred|delivered|bounced)"', value),
    )
    return await world.rig.get(email_id)


def got(email: Email) -> TlsResult:
    [state] = email.queues.values()
    assert state.tls is not None
    return state.tls


async def test_tlsa_records_of_real_servers_are_heeded(
    new_world: NewWorld, mail_servers: MailServers
) -> None:
    own, authority = key_of(mail_servers.cert), key_of(mail_servers.ca)
    place = f"_{mail_servers.port}._tcp.mx"
    tlsa = (
        f"{place}.postfix TLSA 3 1 1 {own}\n"
        f"{place}.exim TLSA 2 1 1 {authority}\n"
        f"{place}.postfix-few-messages TLSA 3 1 1 {authority}\n"  # of another key
        f"{place}.opensmtpd TLSA 3 1 1 {own}\n"  # Debian 12's offers TLS that fails
    )
    async with new_world(tlsa=tlsa) as world, world.rig.worker_process():
        by_server = await tried(world, "ann@postfix.example")
        by_authority = await tried(world, "ann@exim.example")
        wrong = await tried(world, "ann@postfix-few-messages.example")
        broken = await tried(world, "ann@opensmtpd.example")
        without = await tried(world, "ann@postfix-few-connections.example")
        taken = await world.sink.wait_for(3)
    assert {message.recipients[0].partition("@")[2] for message in taken} == {
        "postfix.example",
        "exim.example",
        "postfix-few-connections.example",
    }
    assert (got(by_server).policy, got(by_server).verified) == ("dane", "dane_ee")
    assert (got(by_authority).policy, got(by_authority).verified) == ("dane", "dane_ta")
    assert (got(without).policy, got(without).verified) == ("none", None)
    assert got(wrong) == TlsResult("dane", failure="certificate-not-trusted", connected=False)
    assert got(broken) == TlsResult("dane", failure="validation-failure", connected=False)
    for email in (wrong, broken):
        [recipient] = email.recipients
        assert (recipient.status, recipient.reply_class) == ("deferred", "tls_policy")
        assert "The domain's DANE policy is violated" in (recipient.status_reason or "")


async def test_certificates_of_real_servers_are_checked_where_mta_sts_demands_it(
    new_world: NewWorld, mail_servers: MailServers
) -> None:
    policies = {
        "postfix.example": ["mx.postfix.example"],
        "exim.example": ["*.exim.example"],
        "second.example": ["mx.exim.example"],  # the first of its hosts is not named
        "opensmtpd.example": ["mx.opensmtpd.example"],
    }
    async with (
        new_world(tls_policies=policies, sts_ca=str(mail_servers.ca)) as world,
        world.rig.worker_process(),
    ):
        for name in ("postfix", "exim", "second"):
            email = await tried(world, f"ann@{name}.example")
            assert email.status == "complete", email
            assert (got(email).policy, got(email).verified) == ("sts", "pkix")
        broken = await tried(world, "ann@opensmtpd.example")
    assert got(broken) == TlsResult("sts", failure="validation-failure", connected=False)
    [recipient] = broken.recipients
    assert (recipient.status, recipient.reply_class) == ("deferred", "tls_policy")
