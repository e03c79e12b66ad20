"""The server's certificate: used, refused, renewed."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from babygun.api.app import serve_until
from babygun.errors import SettingsError
from babygun.pki import served
from babygun.runtime.settings import Settings
from babygun.store import Store
from tests.support.api import running
from tests.support.processes import PATIENCE
from tests.support.tls_offers import is_strong, taken


def certificate(folder: Path) -> tuple[str, str]:
    """The paths of a fresh certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_path, key_path = folder / "cert.pem", folder / "key.pem"
    cert_path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(cert_path), str(key_path)


async def test_certificate_makes_it_https(
    api_settings: Settings, store: Store, tmp_path: Path
) -> None:
    cert, key = certificate(tmp_path)
    async with running(
        replace(api_settings, api_host="localhost", api_cert=cert, api_key=key), store
    ) as api:
        assert api.url.startswith("https://localhost:")
        trust = ssl.create_default_context(cafile=cert)
        assert (await api.call("GET", "/healthz", ssl=trust)).status == 200


async def test_api_takes_no_old_version_of_tls_and_no_weak_cipher(
    api_settings: Settings, store: Store, tmp_path: Path
) -> None:
    cert, key = certificate(tmp_path)
    settings = replace(api_settings, api_host="localhost", api_cert=cert, api_key=key)
    async with running(settings, store) as api:
        sessions = await asyncio.to_thread(taken, int(api.url.rpartition(":")[2]))
    assert {version for version, _ in sessions} == {"TLSv1.2", "TLSv1.3"}
    assert not {session for session in sessions if not is_strong(*session)}


async def test_certificate_that_can_not_be_used_is_refused_in_one_sentence(
    api_settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=r"^api_cert: .*none can't be read: No such file"):
        await serve_until(
            replace(api_settings, api_cert=str(tmp_path / "none"), api_key=str(tmp_path / "none"))
        )


async def test_renewed_certificate_serves_new_connections_and_a_broken_one_does_not_replace_it(
    api_settings: Settings, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served, "INTERVAL", 0.02)
    cert, key = certificate(tmp_path)
    (tmp_path / "new").mkdir()
    new_cert, new_key = certificate(tmp_path / "new")
    async with running(
        replace(api_settings, api_host="localhost", api_cert=cert, api_key=key), store
    ) as api:
        port = int(api.url.rpartition(":")[2])
        before = await asyncio.to_thread(ssl.get_server_certificate, ("localhost", port))
        Path(key).write_bytes(b"rubbish")  # noqa: ASYNC240 (a test's own small files)
        await asyncio.sleep(0.2)
        assert await asyncio.to_thread(ssl.get_server_certificate, ("localhost", port)) == before
        shutil.move(new_cert, cert)
        shutil.move(new_key, key)
        async with asyncio.timeout(PATIENCE):
            while (  # noqa: ASYNC110
                await asyncio.to_thread(ssl.get_server_certificate, ("localhost", port)) == before
            ):
                await asyncio.sleep(0.02)
        trust = ssl.create_default_context(cafile=cert)
        assert (await api.call("GET", "/healthz", ssl=trust)).status == 200
