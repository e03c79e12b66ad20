"""Checks the certificates of the settings: whether their files can be used, and until when.

A wrong file is named in one sentence before the start. gRPC and OpenSSL would report it when a
connection fails, if at all.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import NameOID

from babygun.errors import SettingsError
from babygun.runtime.settings import Settings

SOON = timedelta(days=14)  # before its end, when the warnings begin

# What a process uses certificates for: as a client of etcd, and as a server of https or SMTP.
Use = Literal["etcd_ca", "etcd_cert", "api_cert", "bounce_cert"]
ETCD: tuple[Use, ...] = ("etcd_ca", "etcd_cert")
API: tuple[Use, ...] = (*ETCD, "api_cert")
BOUNCED: tuple[Use, ...] = (*ETCD, "bounce_cert")


class Certificate(NamedTuple):
    """``subject``: the common name, or empty. ``names``: host names and addresses."""

    subject: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime


class Problems(NamedTuple):
    """Sentences. With ``errors`` the process can't work, with ``warnings`` it can."""

    errors: list[str]
    warnings: list[str]


def read_certificate(path: str | Path) -> Certificate:
    """The first certificate of a PEM file. Raises SettingsError."""
    return _certificate(_load(path)[0])


def read_certificates(path: str | Path) -> list[Certificate]:
    """All certificates of a PEM file, one at least. Raises SettingsError."""
    return [_certificate(found) for found in _load(path)]


def check_pair(cert_path: str | Path, key_path: str | Path, *, now: datetime) -> list[str]:
    """Why a certificate and its private key can't be used; empty if they can.

    They may be unreadable, no PEM, no pair, expired or not valid yet.
    """
    try:
        certificate = _load(cert_path)[0]
        key = _load_key(key_path)
    except SettingsError as error:
        return [str(error)]
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        return [f"{key_path} is not the private key of the certificate {cert_path}"]
    return _times(cert_path, _certificate(certificate), now)


def check(settings: Settings, uses: Sequence[Use], *, now: datetime | None = None) -> Problems:
    """Checks the files of the settings for these uses.

    An expired certificate that a server of ours shows is only a warning: those who check it can't
    call it, but all others can.
    """
    now = now or datetime.now(UTC)
    by_use: dict[Use, Problems] = {}
    if "etcd_ca" in uses and settings.etcd_ca:
        by_use["etcd_ca"] = _check_ca(settings.etcd_ca, now)
    if "etcd_cert" in uses and settings.etcd_cert:
        by_use["etcd_cert"] = _check_pair(settings.etcd_cert, settings.etcd_key, now)
    if "api_cert" in uses and settings.api_cert:
        by_use["api_cert"] = _check_served(settings.api_cert, settings.api_key, now)
    if "bounce_cert" in uses and settings.bounce_cert:
        by_use["bounce_cert"] = _check_served(settings.bounce_cert, settings.bounce_key, now)
    return Problems(
        [f"{use}: {sentence}" for use, found in by_use.items() for sentence in found.errors],
        [f"{use}: {sentence}" for use, found in by_use.items() for sentence in found.warnings],
    )


def require(settings: Settings, uses: Sequence[Use]) -> list[str]:
    """The warnings. Raises SettingsError if a file can't be used."""
    errors, warnings = check(settings, uses)
    if errors:
        raise SettingsError("; ".join(errors))
    return warnings


def expiries(settings: Settings, uses: Sequence[Use]) -> dict[Use, datetime]:
    """When each certificate ends; for a file of several authorities, when the last one ends.

    Files that can't be read are left out.
    """
    found: dict[Use, datetime] = {}
    for use in uses:
        if path := getattr(settings, use):
            try:
                found[use] = (
                    max(each.not_after for each in read_certificates(path))
                    if use == "etcd_ca"
                    else read_certificate(path).not_after
                )
            except SettingsError:
                continue
    return found


def _check_ca(path: str, now: datetime) -> Problems:
    """While the authorities are replaced the file holds two. One that is valid is enough."""
    try:
        found = read_certificates(path)
    except SettingsError as error:
        return Problems([str(error)], [])
    wrong = [_times(path, each, now) for each in found]
    if all(wrong):
        return Problems(wrong[0], [])
    return Problems([], _soon(path, max(each.not_after for each in found), now))


def _check_pair(cert_path: str, key_path: str, now: datetime) -> Problems:
    errors = check_pair(cert_path, key_path, now=now)
    if errors:
        return Problems(errors, [])
    return Problems([], _soon(cert_path, read_certificate(cert_path).not_after, now))


def _check_served(cert_path: str, key_path: str, now: datetime) -> Problems:
    errors, warnings = _check_pair(cert_path, key_path, now)
    if not errors:
        warnings += _lacking(cert_path)
    return (
        Problems([], errors + warnings)
        if _can_serve(cert_path, key_path)
        else Problems(errors, warnings)
    )


def _lacking(path: str) -> list[str]:
    """What some clients of the API miss in its certificates, though most do not ask for it.

    Python verifies so since 3.13: it asks for what RFC 5280, 4.2.1 says that authorities add.
    """
    lacking = dict.fromkeys(name for found in _load(path) for name in _not_in(found))
    return [
        f"the certificate {path} lacks {name}: clients on Python 3.13 and newer refuse it"
        for name in lacking
    ]


def _not_in(certificate: x509.Certificate) -> Iterator[str]:
    extensions = certificate.extensions
    present = {type(extension.value) for extension in extensions}
    by_itself = certificate.issuer == certificate.subject
    if x509.AuthorityKeyIdentifier not in present and not by_itself:
        yield "an Authority Key Identifier"
    if x509.BasicConstraints not in present:
        return
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    if constraints.value.ca:
        if x509.SubjectKeyIdentifier not in present:
            yield "a Subject Key Identifier"
        if x509.KeyUsage not in present:
            yield "a Key Usage"
        if not constraints.critical:
            yield "Basic Constraints that are critical"


def _read(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SettingsError(f"{path} can't be read: {error.strerror}") from None


def _load(path: str | Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except ValueError:
        raise SettingsError(f"{path} holds no certificate in PEM") from None


def _load_key(path: str | Path) -> PrivateKeyTypes:
    data = _read(path)
    try:
        return serialization.load_pem_private_key(data, password=None)
    except TypeError:
        raise SettingsError(
            f"{path} is encrypted with a passphrase; it must be a private key without one"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise SettingsError(f"{path} holds no private key in PEM") from None


def _certificate(found: x509.Certificate) -> Certificate:
    common = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    try:
        names = tuple(
            str(name.value)
            for name in found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        )
    except (x509.ExtensionNotFound, ValueError):
        names = ()
    return Certificate(
        str(common[0].value) if common else "",
        names,
        found.not_valid_before_utc,
        found.not_valid_after_utc,
    )


def _times(path: str | Path, certificate: Certificate, now: datetime) -> list[str]:
    if now >= certificate.not_after:
        return [f"the certificate {path} has expired on {_day(certificate.not_after)}"]
    if now < certificate.not_before:
        return [
            f"the certificate {path} is not valid before {_day(certificate.not_before)},"
            f" and this machine's clock says {_day(now)}"
        ]
    return []


def _soon(path: str | Path, end: datetime, now: datetime) -> list[str]:
    return [f"the certificate {path} expires on {_day(end)}"] if end - now < SOON else []


def _can_serve(cert_path: str, key_path: str) -> bool:
    """Whether a server starts with this certificate, expired or not."""
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert_path, key_path)
    except OSError:  # ssl.SSLError is one
        return False
    return True


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
