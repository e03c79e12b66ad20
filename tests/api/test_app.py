"""The process around the API: where it listens, and how it ends."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from babygun.api.access.authenticator import KNOWN_CLIENTS
from babygun.api.app import build_app, serve_until
from babygun.api.http import certificate as certificate_module
from babygun.errors import SettingsError
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.keys import range_end
from tests.api.conftest import running, until_ready
from tests.api.proxy import proxy_to


async def test_busy_port_is_told_in_one_sentence(api_settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            SettingsError, match=re.escape(f"something listens on 127.0.0.1:{port} already")
        ):
            await serve_until(replace(api_settings, api_port=port))


async def test_address_that_is_not_ours_is_told_in_one_sentence(api_settings: Settings) -> None:
    with pytest.raises(SettingsError, match=re.escape("can't listen on 192.0.2.1:0")):
        await serve_until(replace(api_settings, api_host="192.0.2.1"))


async def test_api_that_ends_while_its_known_clients_change_ends(api_settings: Settings) -> None:
    """Cancelling what waits for a change, in the very moment of one, still cancels it."""
    for ticks in range(10):
        app = build_app(api_settings)
        runner = web.AppRunner(app)
        await runner.setup()
        for changed in app[KNOWN_CLIENTS].on_change:
            changed()
        for _ in range(ticks):
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await runner.cleanup()


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


async def test_certificate_that_can_not_be_used_is_told_in_one_sentence(
    api_settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=r"^api_cert: .*none can't be read: No such file"):
        await serve_until(
            replace(api_settings, api_cert=str(tmp_path / "none"), api_key=str(tmp_path / "none"))
        )


async def test_renewed_certificate_serves_new_connections_and_a_broken_one_does_not_replace_it(
    api_settings: Settings, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificate_module, "INTERVAL", 0.02)
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
        async with asyncio.timeout(10):
            while (  # noqa: ASYNC110
                await asyncio.to_thread(ssl.get_server_certificate, ("localhost", port)) == before
            ):
                await asyncio.sleep(0.02)
        trust = ssl.create_default_context(cafile=cert)
        assert (await api.call("GET", "/healthz", ssl=trust)).status == 200


async def test_stop_finishes_what_is_in_flight(api_settings: Settings, store: Store) -> None:
    async with (
        proxy_to(api_settings.etcd_endpoints[0]) as proxy,
        running(replace(api_settings, etcd_endpoints=(proxy.url,)), store) as api,
    ):
        await until_ready(api)
        api.token = await api.token_for()
        await api.send()
        proxy.swallow_answers()
        in_flight = asyncio.create_task(api.send())
        async with asyncio.timeout(5):
            while (
                await store.client.range(
                    store.keys.emails, range_end(store.keys.emails), keys_only=True
                )
            ).count < 2:
                pass
        api.stop.set()
        with pytest.raises(aiohttp.ClientConnectionError):
            async with asyncio.timeout(5):
                while True:
                    await api.call("GET", "/healthz", headers={"Connection": "close"})
        proxy.mend()
        assert (await in_flight).status == 202
