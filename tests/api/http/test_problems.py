"""etcd cut off or silent: 503 with Retry-After, and never an acknowledgement.

All is well when etcd is back.
"""

from __future__ import annotations

import asyncio

from babygun.store import Store
from tests.support.api import RunningApi, StartApi, until_ready
from tests.support.proxy import Proxy


async def test_email_is_refused_while_etcd_can_not_be_reached_and_taken_when_it_is_back(
    far: RunningApi, proxy: Proxy
) -> None:
    proxy.cut()
    answer = await far.send()
    assert answer.json["type"].endswith(("not-stored", "outcome-unknown"))
    assert int(answer.headers["Retry-After"]) > 0
    for method, path in (("GET", "/emails"), ("GET", "/workers"), ("DELETE", "/tokens")):
        answer = await far.call(method, path, token=far.token if path != "/workers" else None)
        assert answer.status == 503 or path == "/workers"
    assert (await far.call("GET", "/healthz")).status == 200
    reasons = (await far.call("GET", "/readyz")).problem(503, "not-ready")["reasons"]
    assert any("etcd" in reason for reason in reasons)
    proxy.mend()
    await until_ready(far)
    assert (await far.send()).status == 202


async def test_email_whose_fate_is_unknown_is_not_acknowledged_and_its_key_makes_the_repeat_safe(
    far: RunningApi, proxy: Proxy
) -> None:
    await far.send(http_headers={"Idempotency-Key": "warm"})  # the key's lease is granted now
    key = {"Idempotency-Key": "k"}
    proxy.swallow_answers()
    answer = await far.send(http_headers=key)
    assert answer.problem(503, "repeat-with-key")["stored"] == "unknown"
    assert answer.headers["Retry-After"]
    proxy.mend()
    await until_ready(far)
    answer = await far.send(http_headers=key)
    assert answer.status == 202
    assert len((await far.call("GET", "/emails")).json["emails"]) == 2


async def test_token_is_known_while_etcd_is_away(far: RunningApi, proxy: Proxy) -> None:
    assert (await far.call("GET", "/tokens")).status == 200
    proxy.cut()
    assert (await far.call("GET", "/tokens")).status == 200
    (await far.call("GET", "/tokens", token="x")).problem(401, "invalid-token")


async def test_api_that_starts_without_etcd_says_so_and_recovers(
    start_api: StartApi, proxy: Proxy, api: RunningApi, store: Store
) -> None:
    proxy.cut()
    late = await start_api(ready=False, etcd_endpoints=(proxy.url,), etcd_timeout=0.4)
    assert (await late.call("GET", "/healthz")).status == 200
    (await late.send(api.token)).problem(503, "not-ready")
    (await late.call("POST", "/tokens", json={"client_id": "a", "client_secret": "b"})).problem(
        503, "not-ready"
    )
    proxy.mend()
    async with asyncio.timeout(20):
        await until_ready(late)
    assert (await late.send(api.token)).status == 202
