"""Writes files with certificates and keys: whole, and private keys for this user only."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec


def write_pair(
    folder: Path, path: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> None:
    """Writes ``<path>.pem`` and ``<path>-key.pem``, without a passphrase."""
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_private(folder / f"{path}-key.pem", pem)
    write_public(folder / f"{path}.pem", certificate.public_bytes(serialization.Encoding.PEM))


def write_private(path: Path, content: bytes) -> None:
    """Writes a file that this user alone may read."""
    _write(path, content, mode=0o600)


def write_public(path: Path, content: bytes) -> None:
    """Writes a file that all may read. A file with this content is left as it is."""
    if not path.exists() or path.read_bytes() != content:
        _write(path, content, mode=0o644)


def _write(path: Path, content: bytes, *, mode: int) -> None:
    """Replaces the file: a reader sees the old content or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
