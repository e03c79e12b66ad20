"""Private certificate authorities, and the certificates of a cluster: made, renewed, and rotated without downtime.

There are three authorities, so that what one of them signed opens no other door: ``etcd`` for etcd's clients and servers, ``peers`` for
etcd's members among themselves, ``api`` for https. Everything is files in one folder, a folder per duty, which is mounted where it is
needed and nowhere else; ``authority/`` with the keys that sign belongs to the operator alone. In each folder ``<name>.pem`` is a
certificate, ``<name>-key.pem`` its key, ``<authority>-ca.pem`` what to trust.

An authority is replaced in three steps, with a rolling restart after each (docs/operations.md): ``begin`` makes the next one, which
everybody learns to trust; ``switch`` signs everything with it; ``finish`` forgets the old one.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from babygun.errors import SettingsError

AUTHORITY_LIFE = timedelta(days=3650)
LIFE = timedelta(days=365)
RENEW_BEFORE = timedelta(days=120)  # of its end: three runs a year renew everything in time
_EARLY = timedelta(minutes=5)  # before now, for clocks that are a little behind

Step = Literal["begin", "switch", "finish"]


@dataclass(frozen=True, slots=True)
class Spec:
    """One certificate: ``path`` is ``<folder>/<name>``; ``common_name`` is the etcd user that its bearer is; ``names``: of a server."""

    path: str
    authority: str
    common_name: str = ""
    server: bool = False
    client: bool = False
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be there: certificates, and in each folder the authorities to trust."""

    specs: tuple[Spec, ...]
    trust: dict[str, tuple[str, ...]]


LOOPBACK = ("localhost", "127.0.0.1", "::1")


def cluster(etcd_names: Sequence[str], api_names: Sequence[str]) -> Plan:
    """What a cluster needs, for servers that are called by these host names and addresses (and on loopback)."""
    etcd = (*dict.fromkeys((*etcd_names, *LOOPBACK)),)
    specs = (
        Spec(
            "etcd/server", "etcd", server=True, client=True, names=etcd
        ),  # a client too: etcd calls itself; no name, so no rights
        Spec("etcd/peer", "peers", "etcd-peer", server=True, client=True, names=etcd),
        Spec("etcd/inspector", "etcd", "babygun-inspector", client=True),  # for health checks
        *https_only(api_names).specs,
        Spec("api/etcd", "etcd", "babygun-api", client=True),
        Spec("worker/etcd", "etcd", "babygun-worker", client=True),
        Spec("operator/root", "etcd", "root", client=True),
        Spec("operator/inspector", "etcd", "babygun-inspector", client=True),
    )
    return Plan(
        specs,
        {
            "etcd": ("etcd", "peers"),
            "api": ("etcd", "api"),
            "worker": ("etcd",),
            "balancer": ("api",),
            "operator": ("etcd", "api"),
        },
    )


def https_only(names: Sequence[str]) -> Plan:
    """What one API on one machine needs."""
    return Plan(
        (Spec("api/https", "api", server=True, names=(*dict.fromkeys((*names, *LOOPBACK)),)),),
        {"api": ("api",)},
    )


def issue(
    folder: Path, plan: Plan, *, now: datetime | None = None, renew: bool = False
) -> Iterator[str]:
    """Makes what is missing, renews what ends soon or whose names or authority changed (``renew``: everything). Yields what it does, a line each.

    Run it again at any time: what is fit stays as it is. Raises SettingsError where the folder can't be written or holds something else.
    """
    now = now or datetime.now(UTC)
    try:
        authorities = {
            name: Authority(folder / "authority" / name, name)
            for name in dict.fromkeys(spec.authority for spec in plan.specs)
        }
        for authority in authorities.values():
            yield from authority.ensure(now)
        for part, names in plan.trust.items():
            for name in names:
                _write(folder / part / f"{name}-ca.pem", authorities[name].bundle(), secret=False)
        for spec in plan.specs:
            why = _unfit(folder / f"{spec.path}.pem", spec, authorities[spec.authority], now)
            if why or renew:
                authorities[spec.authority].sign(folder, spec, now)
                yield f"{spec.path}.pem: {'made' if why == 'missing' else f'renewed, {why}' if why else 'renewed'}"
    except OSError as error:
        raise SettingsError(
            f"{error.filename or folder} can't be used: {error.strerror or error}"
        ) from None


def rotate(folder: Path, step: Step, *, now: datetime | None = None) -> Iterator[str]:
    """Takes all authorities in ``folder`` one step on; :func:`issue` then carries it out. Raises SettingsError where it isn't that step's turn."""
    now = now or datetime.now(UTC)
    names = sorted(
        path.name for path in (folder / "authority").glob("*") if (path / "ca.pem").exists()
    )
    if not names:
        raise SettingsError(
            f"there is no authority in {folder} to rotate: make the certificates first"
        )
    authorities = [Authority(folder / "authority" / name, name) for name in names]
    for authority in authorities:
        authority.check(step)
    for authority in authorities:
        yield authority.rotate(step, now)


class Authority:
    """One authority's files: ``ca`` signs now; ``next`` is trusted already, ``previous`` still."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name

    def ensure(self, now: datetime) -> Iterator[str]:
        if not (self._folder / "ca.pem").exists():
            self._make("ca", now)
            yield f"authority/{self._name}/ca.pem: made"

    def bundle(self) -> bytes:
        """What to trust: all that signs, signed or will sign."""
        return b"".join(
            path.read_bytes()
            for path in (self._folder / f"{which}.pem" for which in ("ca", "next", "previous"))
            if path.exists()
        )

    def check(self, step: Step) -> None:
        has_next, has_previous = (
            (self._folder / "next.pem").exists(),
            (self._folder / "previous.pem").exists(),
        )
        due: Step = "switch" if has_next else "finish" if has_previous else "begin"
        if step != due:
            raise SettingsError(
                f"the rotation of the authorities is at another step: {due!r} comes next, not {step!r}"
            )

    def rotate(self, step: Step, now: datetime) -> str:
        if step == "begin":
            self._make("next", now)
            return f"authority/{self._name}: the next one is made; restart everything, one after the other, so that all trust it"
        if step == "switch":
            self._move("ca", "previous")
            self._move("next", "ca")
            (self._folder / "previous-key.pem").unlink(missing_ok=True)
            return f"authority/{self._name}: the new one signs from now on; restart everything, one after the other"
        (self._folder / "previous.pem").unlink()
        return f"authority/{self._name}: the old one is forgotten; restart everything, one after the other"

    def sign(self, folder: Path, spec: Spec, now: datetime) -> None:
        """Writes a new key and certificate for ``spec``."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer, issuer_key = self._load()
        names = [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Babygun"),
            *(
                [x509.NameAttribute(NameOID.COMMON_NAME, spec.common_name)]
                if spec.common_name
                else []
            ),
        ]
        usages = [
            oid
            for oid, wanted in (
                (ExtendedKeyUsageOID.SERVER_AUTH, spec.server),
                (ExtendedKeyUsageOID.CLIENT_AUTH, spec.client),
            )
            if wanted
        ]
        until = min(now + LIFE, issuer.not_valid_after_utc)
        builder = (
            x509.CertificateBuilder(
                subject_name=x509.Name(names),
                issuer_name=issuer.subject,
                public_key=key.public_key(),
                serial_number=x509.random_serial_number(),
            )
            .not_valid_before(now - _EARLY)
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
                critical=False,
            )
        )
        if spec.names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(name) for name in spec.names]),
                critical=False,
            )
        _write_pair(folder, spec.path, builder.sign(issuer_key, hashes.SHA256()), key)

    def signed(self, certificate: x509.Certificate) -> bool:
        """Whether the authority that signs now has signed this one."""
        try:
            certificate.verify_directly_issued_by(self._load()[0])
        except (
            InvalidSignature,
            ValueError,
            TypeError,
        ):  # not its signature, not its name, not its kind of key
            return False
        return True

    def _load(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        path = self._folder / "ca.pem"
        try:
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
            key = serialization.load_pem_private_key(
                (self._folder / "ca-key.pem").read_bytes(), password=None
            )
        except (ValueError, TypeError) as error:
            raise SettingsError(
                f"{path} or its key is not what this program wrote: {error}"
            ) from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise SettingsError(f"the key of {path} is of another kind than this program writes")
        return certificate, key

    def _make(self, which: str, now: datetime) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Babygun"),
                x509.NameAttribute(
                    NameOID.COMMON_NAME, f"Babygun {self._name} authority, {now:%Y-%m-%d %H:%M:%S}"
                ),
            ]
        )
        builder = (
            x509.CertificateBuilder(
                subject_name=name,
                issuer_name=name,
                public_key=key.public_key(),
                serial_number=x509.random_serial_number(),
            )
            .not_valid_before(now - _EARLY)
            .not_valid_after(now + AUTHORITY_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.KeyUsage(
                    digital_signature=False,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    key_cert_sign=True,
                    crl_sign=True,
                    encipher_only=False,
                    decipher_only=False,
                ),
                critical=True,
            )
        )
        _write_pair(self._folder, which, builder.sign(key, hashes.SHA256()), key)

    def _move(self, old: str, new: str) -> None:
        for suffix in ("-key.pem", ".pem"):
            (self._folder / f"{old}{suffix}").replace(self._folder / f"{new}{suffix}")


def _unfit(path: Path, spec: Spec, authority: Authority, now: datetime) -> str:
    """Why the certificate at ``path`` must be made anew; empty: it need not."""
    if not path.exists() or not path.with_name(f"{path.stem}-key.pem").exists():
        return "missing"
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError:
        return "it could not be read"
    if certificate.not_valid_after_utc - now < RENEW_BEFORE:
        return f"it would have ended on {certificate.not_valid_after_utc:%Y-%m-%d}"
    if not authority.signed(certificate):
        return "another authority had signed it"
    try:
        alternatives = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value
        found = {str(name.value) for name in alternatives}
    except x509.ExtensionNotFound:
        found = set()
    return "" if found == set(spec.names) else "its names changed"


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    if not re.fullmatch(r"(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?", name):
        raise SettingsError(f"{name!r} is neither a host name in ASCII nor an address")
    return x509.DNSName(name)


def _write_pair(
    folder: Path, path: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(folder / f"{path}-key.pem", pem, secret=True)
    _write(
        folder / f"{path}.pem", certificate.public_bytes(serialization.Encoding.PEM), secret=False
    )


def _write(path: Path, content: bytes, *, secret: bool) -> None:
    """Whole or not at all; what has that content already is left alone."""
    if not secret and path.exists() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o644
    )
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
