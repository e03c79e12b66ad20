"""Pools and deliveries with short time limits, and certificates made on the spot."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from babygun.routing.destination import Destination
from babygun.smtp import Envelope, SmtpPool
from babygun.smtp.replies import Reply

MESSAGE = b"From: a@example.org\r\nSubject: Hello\r\n\r\nHello.\r\n"
TIMES: dict[str, Any] = {"connect_timeout": 5.0, "timeout": 5.0, "data_timeout": 5.0, "idle": 30.0}


def yes() -> bool:
    return True


async def send(
    pool: SmtpPool,
    *recipients: str,
    message: bytes = MESSAGE,
    sender: str = "a@example.org",
    utf8: bool = False,
) -> dict[str, Reply]:
    """Delivers, and returns the replies."""
    outcome = await pool.deliver(
        Envelope(sender, recipients, lambda eight_bit, smtputf8: message, utf8), may_send=yes
    )
    assert set(outcome.replies) == set(recipients)
    return outcome.replies


@pytest.fixture
async def new_pool() -> AsyncIterator[Callable[..., SmtpPool]]:
    """``new_pool(port, …)``: fields of Destination and times of SmtpPool, by name.

    The pools are closed at the end.
    """
    pools: list[SmtpPool] = []

    def make(port: int, **given: Any) -> SmtpPool:
        times = {name: given.pop(name, value) for name, value in TIMES.items()}
        destination = Destination("default", given.pop("host", "127.0.0.1"), port, **given)
        pools.append(SmtpPool(destination, hostname="sender.example", **times))
        return pools[-1]

    yield make
    for pool in pools:
        await pool.close()


@dataclass(frozen=True)
class Certificates:
    server: ssl.SSLContext  # for localhost and 127.0.0.1
    other_server: ssl.SSLContext  # for other.example
    ca: str  # path of the PEM file that vouches for both


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    now = datetime.datetime.now(datetime.UTC)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])

    def certificate(
        subject: x509.Name, public_key: Any, extensions: list[tuple[x509.ExtensionType, bool]]
    ) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
        )
        builder = builder.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(
            now + datetime.timedelta(days=1)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    ski = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    aki = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ski)
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    ca = folder / "ca.pem"
    ca.write_bytes(
        certificate(
            ca_name,
            ca_key.public_key(),
            [(x509.BasicConstraints(ca=True, path_length=None), True), (ski, False), (usage, True)],
        )
    )

    def server_for(*names: x509.GeneralName) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        pem = certificate(
            x509.Name([]),
            key.public_key(),
            [(x509.SubjectAlternativeName(names), True), (aki, False)],
        )
        both = folder / "server.pem"
        both.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + pem
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(both)
        return context

    here = server_for(x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    return Certificates(here, server_for(x509.DNSName("other.example")), str(ca))
