"""Makes, renews and rotates the certificates of an installation, without downtime.

In each folder ``<name>.pem`` is a certificate, ``<name>-key.pem`` its private key, and
``<authority>-ca.pem`` what to trust. An authority is replaced in three steps, with a rolling
restart after each (docs/operations.md).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from babygun.errors import SettingsError
from babygun.pki.authority import Authority, Step
from babygun.pki.files import write_public
from babygun.pki.layout import Layout, WantedCertificate

RENEW_BEFORE = timedelta(days=120)  # of the end: three runs a year renew everything in time


def issue(
    folder: Path, layout: Layout, *, now: datetime | None = None, renew: bool = False
) -> Iterator[str]:
    """Makes what is missing, and renews what ends soon or has another authority or other names.

    ``renew``: renews everything. Yields a line for each file that it writes. It may be run at any
    time. Raises SettingsError if the folder can't be written or holds something else.
    """
    now = now or datetime.now(UTC)
    names = dict.fromkeys(wanted.authority for wanted in layout.certificates)
    authorities = {name: Authority(folder / "authority" / name, name) for name in names}
    try:
        for authority in authorities.values():
            yield from authority.ensure(now)
        for part, trusted in layout.trust.items():
            for name in trusted:
                write_public(folder / part / f"{name}-ca.pem", authorities[name].bundle())
        for wanted in layout.certificates:
            authority = authorities[wanted.authority]
            reason = _why_renew(folder / f"{wanted.path}.pem", wanted, authority, now)
            if reason or renew:
                authority.sign(folder, wanted, now)
                done = "made" if reason == "missing" else "renewed"
                because = f", {reason}" if reason and reason != "missing" else ""
                yield f"{wanted.path}.pem: {done}{because}"
    except OSError as error:
        raise SettingsError(
            f"{error.filename or folder} can't be used: {error.strerror or error}"
        ) from None


def rotate(folder: Path, step: Step, *, now: datetime | None = None) -> Iterator[str]:
    """Takes the next step of replacing all authorities; :func:`issue` must follow.

    Yields a line for each authority. Raises SettingsError if another step comes next.
    """
    now = now or datetime.now(UTC)
    found = (path for path in (folder / "authority").glob("*") if (path / "ca.pem").exists())
    authorities = [Authority(path, path.name) for path in sorted(found)]
    if not authorities:
        raise SettingsError(f"{folder} has no authority to rotate: make the certificates first")
    for authority in authorities:
        authority.check(step)
    for authority in authorities:
        yield authority.rotate(step, now)


def _why_renew(path: Path, wanted: WantedCertificate, authority: Authority, now: datetime) -> str:
    """Why the certificate must be made again; empty if it need not."""
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
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = {str(name.value) for name in names}
    except x509.ExtensionNotFound:
        found = set()
    return "" if found == set(wanted.names) else "its names changed"
