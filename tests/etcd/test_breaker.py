"""Refuses at once while etcd is away: after a doubt, and until etcd answers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator

import pytest

from babygun.errors import EtcdAway, EtcdError, EtcdUnavailable, OutcomeUnknown, PermissionDenied
from babygun.etcd import Batcher, EtcdClient, Txn, put
from babygun.etcd.breaker import Breaker
from tests.support.etcd_server import Etcd, EtcdCluster, EtcdServer
from tests.support.processes import PATIENCE
from tests.support.proxy import proxy_to

KEY = b"/breaker/key"


@pytest.fixture
async def client(server: EtcdServer) -> AsyncIterator[EtcdClient]:
    """A connected client with little patience."""
    async with EtcdClient([server.endpoint], timeout=2.5, breaker=True) as client:
        patience, client.timeout = client.timeout, PATIENCE
        await client.status()
        client.timeout = patience
        yield client


async def refused(client: EtcdClient) -> None:
    """Returns once the client refuses. From then on its requests have much patience.

    So a machine that stands still for a moment raises no doubt when etcd is back.
    """
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await client.get(KEY)
            except EtcdAway:
                client.timeout = PATIENCE
                return
            except EtcdUnavailable:
                pass


async def served(client: EtcdClient) -> None:
    """Returns once the client serves."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await client.get(KEY)
                return
            except EtcdUnavailable:
                await asyncio.sleep(0.01)


async def test_silent_etcd_is_asked_no_more_until_it_answers(
    client: EtcdClient, server: EtcdServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server.pause()
    with pytest.raises(OutcomeUnknown):
        await client.put(KEY, b"")
    await refused(client)
    results = await asyncio.gather(
        *(client.put(KEY, b"") for _ in range(200)), return_exceptions=True
    )
    assert {type(result) for result in results} == {EtcdAway}
    server.resume()
    await served(client)
    assert [r.getMessage() for r in caplog.records if "etcd a" in r.getMessage()] == [
        "etcd away",
        "etcd answers again",
    ]


async def test_etcd_that_was_killed_is_served_again_when_it_is_back(
    client: EtcdClient, server: EtcdServer
) -> None:
    server.kill()
    await refused(client)
    server.start()
    await served(client)
    assert await client.put(KEY, b"") > 0


async def test_one_answer_that_is_late_refuses_nothing(
    etcd_server: Etcd, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        proxy_to(etcd_server.endpoint) as proxy,
        EtcdClient([proxy.url], timeout=PATIENCE, breaker=True) as client,
    ):
        await client.get(KEY)
        proxy.swallow_answers()
        with pytest.raises(EtcdUnavailable):
            await client.read([], timeout=0.05)
        held = [asyncio.create_task(client.get(KEY)) for _ in range(5)]
        proxy.mend()
        assert await asyncio.gather(*held) == [None] * 5
        assert "etcd away" not in caplog.text


async def test_member_that_is_away_refuses_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A standstill of half a second is no etcd that does not answer.
    monkeypatch.setattr("babygun.etcd.breaker._LEAST", PATIENCE)
    with EtcdCluster() as cluster:
        # Long enough for another leader, also where the members have little time to run.
        async with EtcdClient(cluster.endpoints, timeout=10.0, breaker=True) as client:
            await client.put(KEY, b"")
            cluster.members[0].pause()  # the preferred one
            failures = 0
            for _ in range(20):
                try:
                    await client.put(KEY, b"")
                except OutcomeUnknown:
                    failures += 1
            cluster.members[0].resume()
    assert failures <= 2, "one for each member that is tried, and for a change of the leader"
    assert "etcd away" not in caplog.text


async def test_status_of_a_member_is_asked_for_while_requests_are_refused(
    client: EtcdClient, server: EtcdServer
) -> None:
    server.pause()
    await refused(client)
    statuses = await client.statuses(timeout=0.1)
    assert not isinstance(statuses[server.endpoint], EtcdAway)
    server.resume()
    assert not isinstance((await client.statuses(timeout=PATIENCE))[server.endpoint], EtcdError)


async def test_batcher_sends_nothing_while_requests_are_refused(
    client: EtcdClient, server: EtcdServer
) -> None:
    batcher = Batcher(client)
    server.pause()
    await refused(client)
    results = await asyncio.gather(
        *(batcher.submit(Txn([], [put(KEY, b"never")])) for _ in range(50)), return_exceptions=True
    )
    assert {type(result) for result in results} == {EtcdAway}
    server.resume()
    await served(client)
    assert await client.get(KEY) is None


async def test_many_failures_ask_once_at_a_time() -> None:
    asking, most, asked = 0, 0, 0

    async def ask(_: float) -> None:
        nonlocal asking, most, asked
        asking += 1
        asked += 1
        most = max(most, asking)
        await asyncio.sleep(0)
        asking -= 1
        if asked < 3:
            raise EtcdUnavailable

    breaker = Breaker(ask, 0.0)
    for _ in range(10):
        breaker.failed(time.monotonic())
    async with asyncio.timeout(PATIENCE):
        while asked < 3:  # noqa: ASYNC110 (it only counts)
            await asyncio.sleep(0.01)
    assert (most, asked) == (1, 3)


async def test_refusal_by_etcd_is_an_answer() -> None:
    async def ask(_: float) -> None:
        raise PermissionDenied

    breaker = Breaker(ask, 0.0)
    breaker.failed(time.monotonic())
    await breaker.admit()
    assert not breaker.refusing


async def test_doubt_holds_back_until_the_deadline() -> None:
    async def ask(_: float) -> None:
        await asyncio.Event().wait()

    breaker = Breaker(ask, 60.0)
    breaker.failed(time.monotonic())
    with pytest.raises(EtcdUnavailable) as raised:
        await breaker.admit(time.monotonic() + 0.01)
    assert not isinstance(raised.value, EtcdAway)
    await breaker.close()
    await breaker.admit()
