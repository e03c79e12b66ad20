"""How often ids and secrets are answered, and that nobody is locked out by others."""

from __future__ import annotations

import asyncio
import time
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any

import pytest

from babygun.api.access import sign_in_limits
from babygun.api.access.sign_in_limits import SignInLimits
from babygun.errors import RateExceeded
from babygun.store import Store
from babygun.store.access import client_secrets
from babygun.store.access import clients as client_store
from babygun.store.access.clients import create_client
from babygun.store.records import Client
from tests.support.api import Answer, RunningApi, StartApi, basic
from tests.support.processes import PATIENCE

PAGE = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def standing_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """No bucket fills, however slow this machine is."""
    now = time.monotonic()
    monkeypatch.setattr(sign_in_limits, "time", SimpleNamespace(monotonic=lambda: now))


async def ask(api: RunningApi, call: str, client_id: str, secret: str, address: str = "") -> Answer:
    """One of the two calls that take a secret. ``address``: as a trusted proxy names it."""
    forwarded = {"X-Forwarded-For": address} if address else {}
    body: dict[str, Any] = {"json": {"client_id": client_id, "client_secret": secret}}
    headers = {**PAGE, **forwarded}
    if call == "basic":
        call, body, headers = "/tokens", {}, {**basic(client_id, secret), **forwarded}
    return await api.call("POST", call, token="", headers=headers, **body)


async def until_it_passes(api: RunningApi, *arguments: str) -> None:
    """A right secret passes as soon as this process has learnt of the new client."""
    async with asyncio.timeout(PATIENCE):
        while (await ask(api, *arguments)).status != 200:
            pass


@pytest.mark.usefixtures("standing_clock")
@pytest.mark.parametrize("call", ["/tokens", "basic", "/session"])
async def test_wrong_secrets_are_limited_by_address_and_right_ones_pass(
    start_api: StartApi, call: str
) -> None:
    api = await start_api(token_rate=2)
    client, secret = await api.client()
    statuses = [(await ask(api, call, f"nobody{n}", "x")).status for n in range(5)]
    assert statuses[:2] == [401, 401] and statuses[-1] == 429
    refused = await ask(api, call, client.id, "wrong")
    refused.problem(429, "too-many-requests")
    assert 1 <= int(refused.headers["Retry-After"]) <= 10
    await until_it_passes(api, call, client.id, secret)


@pytest.mark.usefixtures("standing_clock")
async def test_wrong_secrets_are_limited_by_id_from_all_addresses_together(
    start_api: StartApi,
) -> None:
    api = await start_api(token_rate=2, trusted_proxies=(ip_network("127.0.0.1"),))
    client, secret = await api.client()
    for client_id in (client.id, "nobody"):
        answers = [await ask(api, "/tokens", client_id, "x", f"192.0.2.{n}") for n in range(5)]
        assert [answer.status for answer in answers][:2] == [401, 401]
        assert answers[-1].status == 429
    assert (await ask(api, "/tokens", "another", "x", "192.0.3.1")).status == 401
    await until_it_passes(api, "/tokens", client.id, secret, "192.0.2.1")


@pytest.mark.usefixtures("standing_clock")
async def test_client_that_asks_for_tokens_too_often_is_slowed_down_alone(
    start_api: StartApi,
) -> None:
    api = await start_api(token_rate=1)
    greedy, usual = await api.client(), await api.client()
    answers = [await ask(api, "/tokens", greedy[0].id, greedy[1]) for _ in range(30)]
    assert [answer.status for answer in answers][:10] == [200] * 10
    answers[-1].problem(429, "too-many-requests")
    assert answers[-1].headers["Retry-After"] == "1"
    assert (await ask(api, "/tokens", usual[0].id, usual[1])).status == 200


async def test_wrong_secret_and_unknown_id_cost_the_same(
    start_api: StartApi, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    work: list[str] = []
    read, digest = client_store.get_client, client_secrets._digest

    async def counted_read(store: Store, client_id: str) -> Client | None:
        work.append("read")
        return await read(store, client_id)

    def counted_digest(salt: bytes, secret: str) -> str:
        work.append("hash")
        return digest(salt, secret)

    client, _ = await create_client(store, name="test", scopes=("emails:read",))
    api = await start_api()
    monkeypatch.setattr(client_store, "get_client", counted_read)
    monkeypatch.setattr(client_secrets, "_digest", counted_digest)
    costs = []
    for client_id in (client.id, "nobody"):
        work.clear()
        (await ask(api, "/tokens", client_id, "x")).problem(401, "invalid-credentials")
        costs.append(tuple(work))
    all_secrets = ["hash"] * (1 + client_secrets.MOST_REPLACED)
    assert costs == [(*all_secrets, "read", *all_secrets)] * 2


async def test_client_made_this_moment_gets_a_token_from_every_process(
    start_api: StartApi, store: Store
) -> None:
    api = await start_api()
    for _ in range(20):
        client, secret = await create_client(store, name="new", scopes=("emails:read",))
        assert (await ask(api, "/tokens", client.id, secret)).status == 200


@pytest.mark.usefixtures("standing_clock")
async def test_unknown_ids_of_all_callers_together_read_etcd_at_a_bounded_rate(
    start_api: StartApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_in_limits, "_READS", 0.1)
    read, asked = client_store.get_client, []

    async def counted(store: Store, client_id: str) -> Client | None:
        asked.append(client_id)
        return await read(store, client_id)

    api = await start_api(trusted_proxies=(ip_network("127.0.0.1"),))
    asked.clear()
    monkeypatch.setattr(client_store, "get_client", counted)
    for n in range(20):
        assert (await ask(api, "/tokens", f"n{n}", "x", f"192.0.2.{n}")).status == 401
    assert len(asked) <= 2


def test_limits_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in_limits, "_MOST_BUCKETS", 100)
    limits = SignInLimits(100)
    for n in range(1000):
        limits.refused(f"192.0.{n // 256}.{n % 256}", str(n // 50) + "x" * 60_000)
    for buckets in (limits._by_address, limits._by_id):
        assert len(buckets._levels) <= 100
        assert all(len(key) <= 64 for key in buckets._levels)


def test_limit_of_an_ipv6_network_is_one() -> None:
    limits = SignInLimits(1)
    limits.refused("2001:db8::1", "a")
    limits.check_refused("2001:db8:0:1::1", "b")
    with pytest.raises(RateExceeded):
        limits.check_refused("2001:db8::2", "b")
