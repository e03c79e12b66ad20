"""Why etcd can't be connected, in one sentence, on a real etcd with TLS; and its clock."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from babygun.etcd import clock_ahead, diagnosis, explain, plain_http
from babygun.runtime.settings import Settings
from tests.etcd.conftest import OwnEtcd
from tests.support.certificates import Authority, Pem
from tests.support.etcd_server import EtcdServer, etcd_version
from tests.support.processes import PATIENCE

DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine gets its answer too."""
    monkeypatch.setattr(diagnosis, "PATIENCE", PATIENCE)
    monkeypatch.setattr(plain_http, "PATIENCE", PATIENCE)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours")


@pytest.fixture
def secure(own_etcd: OwnEtcd, authority: Authority) -> EtcdServer:
    pem = authority.sign("server")
    return own_etcd(tls=(pem.cert, pem.key, authority.ca), fsync=False)


def settings_for(server: EtcdServer, ca: Path, pem: Pem | None) -> Settings:
    given: dict[str, Any] = {"etcd_cert": str(pem.cert), "etcd_key": str(pem.key)} if pem else {}
    return Settings(etcd_endpoints=(server.endpoint,), etcd_ca=str(ca), **given)


async def test_connection_that_works_needs_no_explanation(
    secure: EtcdServer, authority: Authority
) -> None:
    assert (
        await explain(settings_for(secure, authority.ca, authority.sign("client")), secure.endpoint)
        == ""
    )


async def test_client_certificates_that_etcd_does_not_take_are_explained(
    secure: EtcdServer, authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path / "others")
    for pem, words in (
        (None, "it asks for a client certificate: set etcd_cert and etcd_key"),
        (
            other.sign("client"),
            "our client certificate (etcd_cert)"
            if etcd_version().startswith("3.4.")  # TLS 1.2 as there says less
            else "it does not know the authority that signed our client certificate (etcd_cert)",
        ),
        (authority.sign("old", begins=-2 * DAY, ends=-DAY), "our client certificate (etcd_cert)"),
        (authority.sign("young", begins=DAY, ends=2 * DAY), "our client certificate (etcd_cert)"),
    ):
        sentence = await explain(settings_for(secure, authority.ca, pem), secure.endpoint)
        assert sentence.startswith(f"etcd at {secure.endpoint}: ") and words in sentence


@pytest.mark.parametrize(
    ("sign", "words"),
    [
        ({"begins": -2 * DAY, "ends": -DAY}, "its certificate has expired"),
        ({"begins": DAY, "ends": 2 * DAY}, "its certificate is not valid yet"),
        ({"hosts": ("127.0.0.2",)}, "its certificate is for other addresses than 127.0.0.1"),
    ],
    ids=["expired", "not yet", "another host"],
)
async def test_server_certificates_that_we_do_not_take_are_explained(
    authority: Authority, sign: dict[str, Any], words: str
) -> None:
    server_pem, pem = authority.sign("server", **sign), authority.sign("client")
    server = EtcdServer(tls=(server_pem.cert, server_pem.key, authority.ca), fsync=False)
    server.launch()
    try:
        async with asyncio.timeout(PATIENCE):
            while not (  # noqa: ASYNC110
                sentence := await explain(settings_for(server, authority.ca, pem), server.endpoint)
            ):
                await asyncio.sleep(0.05)
        assert sentence.startswith(f"etcd at {server.endpoint}: {words}")
    finally:
        server.stop()


async def test_server_of_an_unknown_authority_is_explained(
    secure: EtcdServer, authority: Authority, tmp_path: Path
) -> None:
    pem = authority.sign("client")
    sentence = await explain(
        settings_for(secure, Authority(tmp_path / "others").ca, pem), secure.endpoint
    )
    assert sentence.endswith("its certificate is signed by an authority that is not in etcd_ca")


async def test_http_and_https_mixed_up_are_explained(
    secure: EtcdServer, server: EtcdServer, authority: Authority
) -> None:
    plain = secure.endpoint.replace("https", "http")
    assert (await explain(Settings(), plain)).endswith(
        "it speaks TLS there; write the endpoint with https://"
    )
    tls = server.endpoint.replace("http", "https")
    assert (await explain(Settings(etcd_ca=str(authority.ca)), tls)).endswith(
        "it does not speak TLS there; write the endpoint with http://"
    )


async def test_what_is_no_matter_of_tls_is_left_to_others(server: EtcdServer) -> None:
    assert await explain(Settings(), server.endpoint) == ""
    await asyncio.to_thread(server.kill)
    assert await explain(Settings(), server.endpoint) == ""
    assert await clock_ahead(Settings(), server.endpoint) is None


async def test_clock_of_a_member_is_this_machines_own(
    server: EtcdServer, secure: EtcdServer, authority: Authority
) -> None:
    for settings in (
        Settings(etcd_endpoints=(server.endpoint,)),
        settings_for(secure, authority.ca, authority.sign("client")),
    ):
        ahead = await clock_ahead(settings, settings.etcd_endpoints[0])
        assert ahead is not None and abs(ahead) < 10


async def test_clock_that_is_off_is_measured(
    server: EtcdServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain_http, "time", SimpleNamespace(time=lambda: time.time() + 180))
    ahead = await clock_ahead(Settings(), server.endpoint)
    assert ahead is not None and abs(ahead - 180) < 10
