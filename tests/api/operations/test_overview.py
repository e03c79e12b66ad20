"""GET /overview: rates, queues, workers, API processes and etcd, also while etcd is away."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from babygun.api.operations import cluster_reading, overview
from babygun.errors import OutOfSpace
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.access.clients import create_client
from babygun.store.cluster import processes, rates
from tests.support.api import EMAIL, RunningApi, StartApi, running, until_ready
from tests.support.etcd_server import EtcdServer
from tests.support.processes import PATIENCE
from tests.support.proxy import Proxy
from tests.support.rig import Rig, quick, rig_for
from tests.support.smtp_server import MisbehavingServer


@pytest.fixture
def api_settings(settings: Settings, smtp: MisbehavingServer) -> Settings:
    return quick(
        settings,
        {"main": {"url": smtp.url}},
        api_port=0,
        etcd_timeout=20.0,
        drain_timeout=2.0,
        retry_intervals=(60.0,),
        lease_ttl=6.0,  # a check-in every other second
    )


STEP = 1.0


@pytest.fixture(autouse=True)
def short_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call reads etcd, however slow it is, and rates are those of a shorter time."""
    monkeypatch.setattr(overview, "FRESH", 0.0)
    monkeypatch.setattr(overview, "PATIENCE", 20.0)
    monkeypatch.setattr(cluster_reading, "PATIENCE", 20.0)
    monkeypatch.setattr(rates, "SPAN", 0.5)
    for module in (overview, rates, processes):
        monkeypatch.setattr(module, "STEP", STEP)


@pytest.fixture
async def sending(api_settings: Settings) -> AsyncIterator[Rig]:
    async with rig_for(api_settings) as rig:
        yield rig


async def seen(
    api: RunningApi, wanted: Callable[[Any], Any], token: str, within: float = PATIENCE
) -> Any:
    """The first overview for which ``wanted`` holds."""
    async with asyncio.timeout(within):
        while True:
            answer = await api.call("GET", "/overview", token=token)
            assert answer.status == 200, answer.text
            if wanted(answer.json):
                return answer.json
            await asyncio.sleep(0.1)


async def test_overview_needs_its_scope(api: RunningApi) -> None:
    (await api.call("GET", "/overview")).problem(403, "insufficient-scope")
    (await api.call("GET", "/overview", token="")).problem(401, "no-token")
    for scope in ("workers:read", "admin"):
        assert (await api.call("GET", "/overview", token=await api.token_for(scope))).status == 200


async def test_overview_of_nothing_has_every_part(api: RunningApi, settings: Settings) -> None:
    token = await api.token_for("admin")
    found = await seen(api, lambda o: o["apis"], token)
    assert found["rates"] == {"accepted": 0, "delivered": 0, "deferred": 0, "failed": 0}
    assert found["queues"] == [
        {"queue": "main", "ready": 0, "waiting": 0, "oldest_ready_seconds": 0, "overdue_seconds": 0}
    ]
    assert (found["in_flight"], found["workers"], found["problem"]) == (0, [], None)
    [me] = found["apis"]
    assert me["pid"] == os.getpid() and me["accepted"] == 0 and 0 <= me["heartbeat_age"] < 60
    [member] = found["etcd"]["members"]
    assert (member["endpoint"], member["ok"], member["leader"], member["problem"]) == (
        settings.etcd_endpoints[0],
        True,
        True,
        None,
    )
    assert 0 < member["db_in_use_bytes"] <= member["db_bytes"] < member["quota_bytes"]
    assert found["etcd"]["alarms"] == []
    assert found["history"]["step"] == STEP


async def test_what_is_accepted_delivered_deferred_and_failed_shows_as_rates(
    api: RunningApi, sending: Rig
) -> None:
    token = await api.token_for("admin")
    async with sending.worker():
        await seen(api, lambda o: o["workers"] and o["apis"], token)
        batch = await api.call(
            "POST",
            "/emails/batch",
            json=[EMAIL | {"to": ["ann@example.org", f"hard{n}@example.org"]} for n in range(5)],
        )
        ids = [result["id"] for result in batch.json["results"]]
        await sending.ended(*ids)
        await api.accepted(to="soft@example.org")
        counted = {"delivered": 5, "failed": 5, "deferred": 1}
        found = await seen(
            api,
            lambda o: (
                o["workers"]
                and all(o["workers"][0][name] == count for name, count in counted.items())
            ),
            token,
        )
        assert 0 <= found["workers"][0]["heartbeat_age"] < 60
        await seen(
            api,
            lambda o: o["apis"][0]["accepted"] == 6 and sum(o["history"]["accepted"]) > 0,
            token,
        )
        await seen(
            api,
            lambda o: all(
                sum(o["history"][name]) * STEP == pytest.approx(count, abs=0.1)
                for name, count in (counted | {"accepted": 6}).items()
            ),
            token,
        )
        # An overview may have read its queues before the deferral, and the counters after it.
        await seen(api, lambda o: o["queues"][0]["waiting"] == 1, token)


async def test_current_rates_follow_the_counters(api: RunningApi, sending: Rig) -> None:
    token = await api.token_for("admin")
    async with sending.worker():
        await seen(api, lambda o: o["workers"] and o["apis"], token)
        sent = 0

        async def keep_sending() -> None:
            nonlocal sent
            while True:
                sent += 1
                await api.accepted()
                await asyncio.sleep(0.05)

        # API and worker check in at different times: what was sent at once might be seen apart.
        flow = asyncio.create_task(keep_sending())
        try:
            found = await seen(
                api, lambda o: o["rates"]["accepted"] > 0 and o["rates"]["delivered"] > 0, token
            )
        finally:
            flow.cancel()
            await asyncio.gather(flow, return_exceptions=True)
        assert found["rates"]["accepted"] <= sent / rates.SPAN and found["rates"]["failed"] == 0
        await seen(api, lambda o: o["rates"]["accepted"] == o["rates"]["delivered"] == 0, token)


async def test_worker_that_stops_has_reported_its_last_result(
    api: RunningApi, sending: Rig, store: Store
) -> None:
    token = await api.token_for("admin")
    async with sending.worker(lease_ttl=60.0):  # the next check-in is 20 s away
        # It checks in once more as soon as it has its slice.
        await seen(api, lambda o: o["workers"] and o["workers"][0]["slice"] == [0, 256], token)
        await sending.ended(await api.accepted())
        assert (await api.call("GET", "/overview", token=token)).json["workers"][0][
            "delivered"
        ] == 0
    await seen(api, lambda o: not o["workers"], token)
    await seen(
        api,
        lambda o: sum(o["history"]["delivered"]) * STEP == pytest.approx(1, abs=0.01),
        token,
    )


async def test_each_api_process_is_listed_and_leaves_at_its_end(
    api: RunningApi, start_api: StartApi
) -> None:
    token = await api.token_for("admin")
    other = await start_api(lease_ttl=600.0)
    await seen(api, lambda o: len(o["apis"]) == 2, token)
    await seen(other, lambda o: len(o["apis"]) == 2, token)
    other.stop.set()
    await seen(api, lambda o: len(o["apis"]) == 1, token)  # long before the lease runs out


async def test_queues_show_what_waits_and_since_when(api: RunningApi) -> None:
    token = await api.token_for("admin")
    await api.accepted()
    await api.accepted(send_at=(utc_now() + timedelta(hours=1)).isoformat())
    [queue] = (await seen(api, lambda o: o["queues"][0]["ready"] == 1, token))["queues"]
    assert (
        queue["waiting"] == 1
        and 0 <= queue["oldest_ready_seconds"] < 60
        and queue["overdue_seconds"] == 0
    )


@pytest.mark.parametrize("how", ["cut", "swallow_answers"])
async def test_overview_waits_for_no_etcd_that_is_away_and_says_so(
    start_api: StartApi, store: Store, proxy: Proxy, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "_TOO_OLD", 1.0)
    monkeypatch.setattr(overview, "PATIENCE", 0.8)
    monkeypatch.setattr(cluster_reading, "PATIENCE", 2.0)
    # The API knows it from its start, and needs no etcd to let it in.
    client, secret = await create_client(store, name="early", scopes=("admin",))
    api = await start_api(etcd_endpoints=(proxy.url,), etcd_timeout=60.0)
    token = await api.token_of(client, secret)
    await seen(api, lambda o: o["apis"] and o["queues"], token)
    getattr(proxy, how)()
    found: Any = {"problem": None}
    async with asyncio.timeout(PATIENCE):
        while found["problem"] is None:
            found = (await api.call("GET", "/overview", token=token)).json
    assert found["problem"].startswith("etcd does not answer")
    assert found["queues"] is found["in_flight"] is found["etcd"]["alarms"] is None
    found = await seen(api, lambda o: not o["etcd"]["members"][0]["ok"], token)
    assert found["etcd"]["members"][0]["problem"]
    assert len(found["apis"]) == 1, "the processes of before are still shown, with a growing age"
    await seen(api, lambda o: o["apis"][0]["heartbeat_age"] > 1.5, token)
    proxy.mend()
    found = await seen(api, lambda o: o["problem"] is None and o["etcd"]["members"][0]["ok"], token)
    assert found["queues"] is not None


async def test_member_that_is_down_is_shown_beside_the_others(
    start_api: StartApi, settings: Settings
) -> None:
    gone = "http://127.0.0.1:9"
    api = await start_api(etcd_endpoints=(*settings.etcd_endpoints, gone), etcd_timeout=2.0)
    found = await seen(
        api,
        lambda o: o["etcd"]["members"] and o["queues"] is not None,
        await api.token_for("admin"),
    )
    up, down = found["etcd"]["members"]
    assert up["ok"] and up["leader"]
    assert not down["ok"] and not down["leader"] and down["db_bytes"] is None and down["problem"]


async def test_key_that_a_person_put_there_by_hand_harms_nobody(
    api: RunningApi, store: Store
) -> None:
    token = await api.token_for("admin")
    await store.client.put(store.keys.api("rubbish"), b"{")
    await store.client.put(store.keys.worker("rubbish"), b"\xff")
    found = await seen(api, lambda o: o["apis"], token)
    assert len(found["apis"]) == 1 and found["workers"] == []


async def test_overview_of_an_etcd_that_is_full_shows_its_alarm(api_settings: Settings) -> None:
    with EtcdServer("--quota-backend-bytes=16777216", fsync=False) as etcd:
        full = replace(api_settings, etcd_endpoints=(etcd.endpoint,))
        async with Store(full) as store, running(full, store) as api:
            await until_ready(api)
            token = await api.token_for("admin")
            with pytest.raises(OutOfSpace):
                # etcd learns of its size with a commit, ten times a second.
                for number in itertools.count():
                    await store.client.put(f"/fill/{number}".encode(), b"x" * 1_000_000)
            found = await seen(api, lambda o: o["etcd"]["alarms"], token)
        assert found["etcd"]["alarms"] == ["NOSPACE"] and found["problem"] is None
