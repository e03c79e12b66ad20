"""The policy host and the mail hosts of domains that enforce TLS, asked by the product's client."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest

from babygun.dns import Resolver
from babygun.routing.server import Server
from babygun.runtime.settings import Settings
from babygun.smtp import check_server
from babygun.tls_policies.fetch import FetchFailed, PolicyFetcher
from scripts.chaos.history import Recorder
from scripts.chaos.name_server import NameServer
from scripts.chaos.policies import BROKEN_DOMAINS, GOOD_DOMAINS, Policies
from tests.support.dns_servers import free_dns_ports
from tests.support.etcd_server import free_ports
from tests.support.processes import PATIENCE


@pytest.fixture
async def policies(tmp_path: Path) -> AsyncIterator[Policies]:
    port, https_port = free_ports(2)
    recorder = Recorder(tmp_path / "history")
    policies = Policies(recorder, port, https_port, tmp_path)
    await policies.start_host()
    yield policies
    recorder.close()
    await policies.stop_host()
    await policies.good.stop()


@pytest.fixture
async def fetcher(policies: Policies, tmp_path: Path) -> AsyncIterator[PolicyFetcher]:
    (port,) = free_dns_ports(1)
    server = NameServer(port, policies.records())
    await server.start()
    given = policies.settings()
    settings = replace(
        Settings(),
        sts_ca=given["BABYGUN_STS_CA"],
        sts_port=int(given["BABYGUN_STS_PORT"]),
        allow_networks=(ip_network("127.0.0.0/8"),),
    )
    fetcher = PolicyFetcher(settings, Resolver((f"127.0.0.1@{port}",)))
    yield fetcher
    await fetcher.close()
    await server.stop()


async def test_each_domain_enforces_a_policy_that_names_its_host(fetcher: PolicyFetcher) -> None:
    for domain, host in (
        (GOOD_DOMAINS[3], "mx.policy.example"),
        (BROKEN_DOMAINS[1], "mx.broken.example"),
    ):
        policy = await fetcher.fetch(domain)
        assert (policy.mode, policy.mx) == ("enforce", (host,))


async def test_host_that_fails_or_is_away_gives_no_policy_until_it_is_healed(
    policies: Policies, fetcher: PolicyFetcher
) -> None:
    policies.fail()
    with pytest.raises(FetchFailed):
        await fetcher.fetch(GOOD_DOMAINS[0])
    await policies.heal()
    await policies.stop_host()
    with pytest.raises(FetchFailed):
        await fetcher.fetch(GOOD_DOMAINS[0])
    await policies.heal()
    assert (await fetcher.fetch(GOOD_DOMAINS[0])).mode == "enforce"


async def test_good_host_speaks_tls_unless_it_is_stripped(policies: Policies) -> None:
    port = await policies.good.start()
    server = Server("mx.policy.example", port, "127.0.2.2", tls="opportunistic")
    assert "TLS" in await check_server(server, hostname="me.example", timeout=PATIENCE)
    policies.good.stripped = True
    assert "TLS" not in await check_server(server, hostname="me.example", timeout=PATIENCE)
    assert isinstance(policies.good.tls, ssl.SSLContext) and policies.broken.tls is None
