"""``etcd/server.yml``: etcd takes it, with the certificates that its first lines make."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from babygun.dev.etcd.binary import find_etcd
from babygun.etcd import EtcdClient
from babygun.etcd.versions import parse_version
from babygun.runtime.settings import Settings
from tests.support.certificates import Pem
from tests.support.etcd_server import free_ports
from tests.support.needs import missing
from tests.support.paths import ROOT
from tests.support.tls_offers import is_strong, taken


async def test_server_file_makes_an_etcd_that_takes_only_bearers_of_a_certificate(
    tmp_path: Path,
) -> None:
    found = find_etcd()
    if found is None:
        missing("no etcd to test with: run `make install`")
    if parse_version(found.version) < (3, 6):
        pytest.skip("the file has settings of etcd 3.6")
    text = (ROOT / "etcd/server.yml").read_text()
    made = next(line for line in text.splitlines() if line.startswith("# babygun certificates "))
    client, peer, watched = free_ports(3)
    for shown, here in (
        (":2379", f":{client}"),
        (":2380", f":{peer}"),
        (":2381", f":{watched}"),
        ("/var/lib/etcd", str(tmp_path / "data")),
    ):
        assert shown in text
        text = text.replace(shown, here)
    (tmp_path / "server.yml").write_text(text)
    command = [sys.executable, "-m", *made.removeprefix("# ").split()]
    assert await (await _start(tmp_path, *command)).wait() == 0
    etcd = await _start(tmp_path, str(found.path), "--config-file", "server.yml")
    operator = tmp_path / "certificates/operator"
    settings = Settings(
        etcd_endpoints=(f"https://127.0.0.1:{client}",),
        etcd_ca=str(operator / "etcd-ca.pem"),
        etcd_cert=str(operator / "root.pem"),
        etcd_key=str(operator / "root-key.pem"),
        etcd_timeout=20.0,
    )
    try:
        async with EtcdClient.from_settings(settings) as known:
            await known.put(b"/babygun/x", b"")
        bearer = Pem(Path(settings.etcd_cert), Path(settings.etcd_key))
        sessions = await asyncio.to_thread(taken, client, bearer)
        assert {version for version, _ in sessions} == {"TLSv1.2", "TLSv1.3"}
        assert not {session for session in sessions if not is_strong(*session)}
        context = ssl.create_default_context(cafile=settings.etcd_ca)
        async with aiohttp.ClientSession() as session:
            url = f"{settings.etcd_endpoints[0]}/v3/kv/put"
            with pytest.raises(aiohttp.ClientError):
                await session.post(url, data=b"{}", ssl=context)
            context.load_cert_chain(settings.etcd_cert, settings.etcd_key)
            async with session.post(url, data=b"{}", ssl=context) as answer:
                assert answer.status == 404, "there is no gateway"
    finally:
        etcd.terminate()
        await etcd.wait()


async def _start(folder: Path, *command: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
