"""A CA and what it signed, for tests of TLS."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_SERVER_AND_CLIENT = x509.ExtendedKeyUsage(
    [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
)
_SIGNS_CERTIFICATES = x509.KeyUsage(True, False, False, False, False, True, True, False, False)


class Pem(NamedTuple):
    cert: Path
    key: Path


class Authority:
    """Signs certificates into ``folder``; its own is ``ca``.

    ``bare``: without the extensions that many authorities made by hand lack.
    """

    def __init__(self, folder: Path, *, bare: bool = False) -> None:
        self._folder, self._bare = folder, bare
        folder.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _common_name(f"CA in {folder.name}")
        self._key_id = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        days = timedelta(days=100)
        builder = self._builder(self._name, self._key, -days, days)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), not bare)
        if not bare:
            builder = builder.add_extension(self._key_id, False)
            builder = builder.add_extension(_SIGNS_CERTIFICATES, True)
        self.ca = self._write("ca", builder, self._key).cert

    def sign(
        self,
        name: str,
        *,
        hosts: tuple[str, ...] = ("127.0.0.1",),
        begins: timedelta = timedelta(hours=-1),
        ends: timedelta = timedelta(days=100),
    ) -> Pem:
        """A certificate for ``hosts`` (names or addresses), for a server and for a client.

        It is valid from ``begins`` until ``ends`` after now.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(_common_name(name), key, begins, ends)
        names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
        builder = builder.add_extension(names, False)
        builder = builder.add_extension(_SERVER_AND_CLIENT, False)
        if not self._bare:
            signer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._key_id)
            builder = builder.add_extension(signer, False)
        return self._write(name, builder, key)

    def _builder(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        begins: timedelta,
        ends: timedelta,
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return x509.CertificateBuilder(
            subject_name=subject,
            issuer_name=self._name,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now + begins,
            not_valid_after=now + ends,
        )

    def _write(
        self, name: str, builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey
    ) -> Pem:
        pem = Pem(self._folder / f"{name}.pem", self._folder / f"{name}-key.pem")
        pem.cert.write_bytes(
            builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )
        pem.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return pem


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
