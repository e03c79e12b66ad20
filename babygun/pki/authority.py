"""A private certificate authority, as files in a folder.

``ca.pem`` signs. ``next.pem`` will sign and is trusted already; ``previous.pem`` signed before and
is trusted still. Each has its private key beside it, ``ca-key.pem`` and so on.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from babygun.errors import SettingsError
from babygun.pki.files import write_pair
from babygun.pki.layout import WantedCertificate

AUTHORITY_LIFE = timedelta(days=3650)
LIFE = timedelta(days=365)
_EARLY = timedelta(minutes=5)  # a certificate begins before now, for clocks that are behind
_RESTART = "restart everything, one after the other"

# begin: make the next authority, which all then trust. switch: sign everything with it.
# finish: forget the previous one.
Step = Literal["begin", "switch", "finish"]


class Authority:
    """``name`` is in the subject of its certificate."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name

    def ensure(self, now: datetime) -> Iterator[str]:
        """Makes the authority if there is none; yields a line then."""
        if not (self._folder / "ca.pem").exists():
            self._make("ca", now)
            yield f"authority/{self._name}/ca.pem: made"

    def bundle(self) -> bytes:
        """The certificates to trust, in PEM."""
        paths = [self._folder / f"{which}.pem" for which in ("ca", "next", "previous")]
        return b"".join(path.read_bytes() for path in paths if path.exists())

    def check(self, step: Step) -> None:
        """Raises SettingsError if another step of the rotation comes next."""
        has_next = (self._folder / "next.pem").exists()
        has_previous = (self._folder / "previous.pem").exists()
        due: Step = "switch" if has_next else "finish" if has_previous else "begin"
        if step != due:
            raise SettingsError(
                f"the rotation of the authorities is at another step:"
                f" {due!r} comes next, not {step!r}"
            )

    def rotate(self, step: Step, now: datetime) -> str:
        """Takes a step of the rotation; returns what was done and what to do now."""
        what = f"authority/{self._name}"
        if step == "begin":
            self._make("next", now)
            return f"{what}: the next one is made; {_RESTART}, so that all trust it"
        if step == "switch":
            self._move("ca", "previous")
            self._move("next", "ca")
            (self._folder / "previous-key.pem").unlink(missing_ok=True)
            return f"{what}: the new one signs from now on; {_RESTART}"
        (self._folder / "previous.pem").unlink()
        return f"{what}: the old one is not trusted any more; {_RESTART}"

    def sign(self, folder: Path, wanted: WantedCertificate, now: datetime) -> None:
        """Writes a new key and certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer, issuer_key = self._load()
        usages = []
        if wanted.server:
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
        if wanted.client:
            usages.append(ExtendedKeyUsageOID.CLIENT_AUTH)
        end = min(now + LIFE, issuer.not_valid_after_utc)
        authority_key_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(
            issuer_key.public_key()
        )
        builder = (
            _builder(_name(wanted.common_name), issuer.subject, key, now, end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(authority_key_id, critical=False)
        )
        if wanted.names:
            names = x509.SubjectAlternativeName(map(_general_name, wanted.names))
            builder = builder.add_extension(names, critical=False)
        write_pair(folder, wanted.path, builder.sign(issuer_key, hashes.SHA256()), key)

    def signed(self, certificate: x509.Certificate) -> bool:
        """Whether the certificate is signed by what signs now."""
        try:
            certificate.verify_directly_issued_by(self._load()[0])
        except (InvalidSignature, ValueError, TypeError):  # another signature, name, kind of key
            return False
        return True

    def _load(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        path, key_path = self._folder / "ca.pem", self._folder / "ca-key.pem"
        try:
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
            key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
        except (ValueError, TypeError) as error:
            raise SettingsError(f"{path} or its key was not made by Babygun: {error}") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise SettingsError(f"the key of {path} was not made by Babygun: it is of another kind")
        return certificate, key

    def _make(self, which: str, now: datetime) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(f"Babygun {self._name} authority, {now:%Y-%m-%d %H:%M:%S}")
        signs_certificates = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = (
            _builder(name, name, key, now, now + AUTHORITY_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(key_id, critical=False)
            .add_extension(signs_certificates, critical=True)
        )
        write_pair(self._folder, which, builder.sign(key, hashes.SHA256()), key)

    def _move(self, old: str, new: str) -> None:
        for suffix in ("-key.pem", ".pem"):
            (self._folder / f"{old}{suffix}").replace(self._folder / f"{new}{suffix}")


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(
        subject_name=subject,
        issuer_name=issuer,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
    )
    return builder.not_valid_before(now - _EARLY).not_valid_after(end)


def _name(common_name: str) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Babygun")]
    if common_name:
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    return x509.Name(attributes)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    if not re.fullmatch(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?", name):
        raise SettingsError(f"{name!r} is neither a host name in ASCII nor an address")
    return x509.DNSName(name)
