"""Certificates read and checked: whether the files that the settings name can be used, and until when. :mod:`babygun.pki.authority` makes some.

gRPC and OpenSSL tell of a wrong file when a connection fails, if at all, and in their own words; here it is one sentence, before the start.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
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

SOON = timedelta(days=14)  # before its end, from which on a certificate is worth a warning

# What a process uses certificates for: as etcd's client, and as a server of https.
Use = Literal["etcd_ca", "etcd_cert", "api_cert"]
ETCD: tuple[Use, ...] = ("etcd_ca", "etcd_cert")
API: tuple[Use, ...] = (*ETCD, "api_cert")


class Certificate(NamedTuple):
    """``subject``: its common name, empty where it has none; ``names``: the host names and addresses that it is for."""

    subject: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime


class Verdict(NamedTuple):
    """What is wrong, a sentence each. ``faults``: it can't work; ``warnings``: it works, or harms those alone who check it."""

    faults: list[str]
    warnings: list[str]


def read_certificate(path: str | Path) -> Certificate:
    """The first certificate of a PEM file. Raises SettingsError with a sentence."""
    return _certificate(_load(path)[0])


def read_certificates(path: str | Path) -> list[Certificate]:
    """All certificates of a PEM file, one at least. Raises SettingsError with a sentence."""
    return [_certificate(found) for found in _load(path)]


def check_pair(cert_path: str | Path, key_path: str | Path, *, now: datetime) -> list[str]:
    """What keeps a certificate and its private key from being used, a sentence each: unreadable, no PEM, not a pair, expired, not valid yet."""
    try:
        certificate = _load(cert_path)[0]
        key = _load_key(key_path)
    except SettingsError as error:
        return [str(error)]
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        return [f"{key_path} is not the private key of the certificate {cert_path}"]
    return _times(cert_path, _certificate(certificate), now)


def check(settings: Settings, uses: Sequence[Use], *, now: datetime | None = None) -> Verdict:
    """Checks the files of the settings for these uses.

    The API's own certificate is the one that may be used though it has expired, with a warning: who checks it can't call either way,
    and a process that doesn't start serves nobody else either.
    """
    now = now or datetime.now(UTC)
    faults: list[str] = []
    warnings: list[str] = []
    if "etcd_ca" in uses and settings.etcd_ca:
        try:
            found = read_certificates(settings.etcd_ca)
        except SettingsError as error:
            faults.append(f"etcd_ca: {error}")
        else:
            wrong = [_times(settings.etcd_ca, each, now) for each in found]
            if all(wrong):  # while authorities are replaced there are two
                faults += [f"etcd_ca: {sentence}" for sentence in wrong[0]]
            else:
                warnings += [
                    f"etcd_ca: {sentence}"
                    for sentence in _soon(
                        settings.etcd_ca, max(each.not_after for each in found), now
                    )
                ]
    for use, key in (("etcd_cert", "etcd_key"), ("api_cert", "api_key")):
        path = getattr(settings, use)
        if use not in uses or not path:
            continue
        problems = [
            f"{use}: {sentence}" for sentence in check_pair(path, getattr(settings, key), now=now)
        ]
        if use == "api_cert" and _usable(path, getattr(settings, key)):
            warnings += problems
        else:
            faults += problems
        if not problems:
            warnings += [
                f"{use}: {sentence}"
                for sentence in _soon(path, read_certificate(path).not_after, now)
            ]
    return Verdict(faults, warnings)


def require(settings: Settings, uses: Sequence[Use]) -> list[str]:
    """Raises SettingsError where a file can't be used; returns the warnings."""
    faults, warnings = check(settings, uses)
    if faults:
        raise SettingsError("; ".join(faults))
    return warnings


def expiries(settings: Settings, uses: Sequence[Use]) -> dict[Use, datetime]:
    """When each certificate in use ends; of a file with several authorities, the last. Those that can't be read are left out."""
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
            f"the certificate {path} is not valid before {_day(certificate.not_before)}, and this machine's clock says {_day(now)}"
        ]
    return []


def _soon(path: str | Path, end: datetime, now: datetime) -> list[str]:
    return [f"the certificate {path} expires on {_day(end)}"] if end - now < SOON else []


def _usable(cert_path: str, key_path: str) -> bool:
    """Whether a server can be started with it, expired or not."""
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(cert_path, key_path)
    except OSError:  # ssl.SSLError is one
        return False
    return True


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
