"""The probes: without a token, and when something around the API is wrong."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.cluster import health
from tests.support.api import RunningApi, StartApi, until_ready
from tests.support.certificates import Authority
from tests.support.processes import PATIENCE
from tests.support.proxy import Proxy, proxy_to
from tests.support.rig import Rig


async def test_probes_answer_without_a_token(api: RunningApi) -> None:
    assert (await api.call("GET", "/healthz", token="")).json["status"] == "ok"
    ready = await api.call("GET", "/readyz", token="")
    assert (ready.status, ready.json["status"]) == (200, "ready")


DAY = timedelta(days=1)


async def test_api_whose_certificate_has_expired_serves_and_warns(
    start_api: StartApi, tmp_path: Path
) -> None:
    pem = Authority(tmp_path / "ca").sign("api", begins=-2 * DAY, ends=-DAY)
    api = await start_api(ready=False, api_cert=str(pem.cert), api_key=str(pem.key))
    document: dict[str, Any] = {}
    async with (
        asyncio.timeout(PATIENCE),
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as session,
    ):
        # It may be ready before all is looked at, and the other way round.
        while not document.get("warnings") or document["status"] != "ready":
            async with session.get(api.url + "/readyz") as answer:
                document = await answer.json()
    assert answer.status == 200
    assert document["warnings"][0].startswith(
        f"api_cert: the certificate {pem.cert} has expired on "
    )


async def test_api_of_another_cluster_takes_nothing_until_that_is_solved(
    start_api: StartApi,
    api: RunningApi,
    settings: Settings,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "START_PATIENCE", 0.2)
    monkeypatch.setattr(health, "INTERVAL", 0.1)
    await store.client.put(store.keys.cluster, b"north")
    async with proxy_to(settings.etcd_endpoints[0]) as proxy:
        proxy.cut()
        late = await start_api(
            ready=False, etcd_endpoints=(proxy.url,), etcd_timeout=3.0, cluster="south"
        )  # it can't know yet
        (await late.send(api.token)).problem(503, "not-ready")
        proxy.mend()
        await _until_reason(late, proxy, "belongs to the cluster 'north'")
        for method, path in (
            ("POST", "/emails"),
            ("GET", "/emails"),
            ("POST", "/tokens"),
            ("DELETE", "/tokens"),
        ):
            (await late.call(method, path, token=api.token)).problem(503, "not-ready")
        await store.client.put(store.keys.cluster, b"south")
        await until_ready(late)
        late.token = api.token
        await late.taken()


async def _until_reason(api: RunningApi, proxy: Proxy, words: str) -> None:

    async with asyncio.timeout(PATIENCE):
        while True:
            answer = await api.call("GET", "/readyz", token="")
            if any(words in reason for reason in answer.problem(503, "not-ready")["reasons"]):
                return
            await asyncio.sleep(0.05)


async def test_api_warns_of_workers_that_send_elsewhere(start_api: StartApi, rig: Rig) -> None:
    async with rig.worker(lease_ttl=10.0) as worker:
        api = await start_api(relay_url="", relays={"main": {"url": "smtp://127.0.0.1:1"}})
        warnings: list[str] = []
        async with asyncio.timeout(PATIENCE):
            while not warnings:
                warnings = (await api.call("GET", "/readyz", token="")).json.get("warnings")
        assert (
            len(warnings) == 1
            and worker.membership.worker_id in warnings[0]
            and "another server; this process sends it to 127.0.0.1:1" in warnings[0]
        )
