"""etcd cut off or silent: 503 with Retry-After, and never an acknowledgement.

All is well when etcd is back. The rows of tests/data/field/away.toml say what a call is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from babygun.api.http.problem_types import OUT_OF_MEMORY
from babygun.api.http.problems import from_exception
from babygun.errors import OutOfResources
from babygun.runtime.settings import Settings
from babygun.store import Store, codec
from babygun.store.access.clients import create_client
from babygun.store.keys import range_end
from tests.support.api import Answer, RunningApi, StartApi, running, until_ready
from tests.support.etcd_server import EtcdServer
from tests.support.field import rows
from tests.support.processes import PATIENCE
from tests.support.proxy import Proxy, proxy_to


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
    await far.taken()


async def test_email_whose_fate_is_unknown_is_not_acknowledged_and_its_key_makes_the_repeat_safe(
    far: RunningApi, proxy: Proxy
) -> None:
    await far.taken({"Idempotency-Key": "warm"})  # the key's lease is granted now
    key = {"Idempotency-Key": "k"}
    proxy.swallow_answers()
    answer = await far.send(http_headers=key)
    assert answer.problem(503, "repeat-with-key")["stored"] == "unknown"
    assert answer.headers["Retry-After"]
    proxy.mend()
    await until_ready(far)
    await far.taken(key)
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
    late = await start_api(ready=False, etcd_endpoints=(proxy.url,), etcd_timeout=3.0)
    assert (await late.call("GET", "/healthz")).status == 200
    (await late.send(api.token)).problem(503, "not-ready")
    (await late.call("POST", "/tokens", json={"client_id": "a", "client_secret": "b"})).problem(
        503, "not-ready"
    )
    proxy.mend()
    await until_ready(late)
    late.token = api.token
    await late.taken()


class Away:
    """An API with little patience, and an etcd of its own that a test takes away."""

    def __init__(
        self, api: RunningApi, other_token: str, server: EtcdServer, proxy: Proxy, store: Store
    ) -> None:
        self.api, self.other_token = api, other_token
        self._server, self._proxy, self._store = server, proxy, store
        self._mend: Callable[[], None] = proxy.mend

    def fault(self, name: str) -> None:
        if name == "silent":
            self._server.pause()
            self._mend = self._server.resume
        elif name == "cut":
            self._proxy.cut()
        else:
            self._proxy.swallow_answers()

    async def mend(self) -> None:
        """Returns when the API serves calls again."""
        self._mend()
        await until_ready(self.api)
        await self.api.taken(subject="later")

    async def shown(self, email_id: str) -> Answer:
        """What the API says of an e-mail, once etcd is not too slow for that."""
        path = f"/emails/{email_id}"
        async with asyncio.timeout(PATIENCE):
            while (answer := await self.api.call("GET", path)).status == 503:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert answer.status in (200, 404), answer.text
        return answer

    async def subjects(self) -> list[str]:
        """Of all e-mails that are stored."""
        emails = self._store.keys.emails
        found = await self._store.client.range(emails, range_end(emails))
        return [codec.decode_email(kv.value).subject for kv in found.kvs]


@pytest.fixture
async def away(api_settings: Settings) -> AsyncIterator[Away]:
    with EtcdServer(fsync=False) as server:
        own = replace(api_settings, etcd_endpoints=(server.endpoint,))
        async with Store(own) as store, proxy_to(server.endpoint) as proxy:
            scopes = ("emails:send", "emails:read", "workers:read", "admin")
            client, secret = await create_client(store, name="test", scopes=scopes)
            behind = replace(own, etcd_endpoints=(proxy.url,), etcd_timeout=2.0)
            async with running(behind, store) as api:
                await until_ready(api)
                api.token, other_token = [await api.token_of(client, secret) for _ in range(2)]
                for key in ({}, {"Idempotency-Key": "warm"}):  # its lease is granted now
                    await api.taken(key)
                yield Away(api, other_token, server, proxy, store)


@pytest.mark.parametrize(
    "row", rows("away", "answer"), ids=lambda row: "-".join(map(str, row.values()))
)
async def test_email_while_etcd_is_away_is_answered_what_became_of_it(
    away: Away, row: dict[str, Any]
) -> None:
    headers = {"Idempotency-Key": "k"} if row["key"] else {}
    away.fault(row["fault"])
    if row["when"] == "later":
        async with asyncio.timeout(PATIENCE):
            while (await away.api.send(subject="before")).json.get("stored") != "no":
                pass
    answer = await away.api.send(subject="this", http_headers=headers)
    problem = answer.problem(503, row["type"])
    assert problem["stored"] == row["stored"]
    assert int(answer.headers["Retry-After"]) > 0
    await away.mend()
    if row["stored"] == "no":
        assert "this" not in await away.subjects()
    elif row["key"]:
        await away.api.taken(headers, subject="this")
        assert (await away.subjects()).count("this") == 1
    else:
        before = "this" in await away.subjects()
        found = await away.shown(problem["email_id"])
        # etcd may still have the request before it.
        assert before <= (found.status == 200) <= ("this" in await away.subjects())


@pytest.mark.parametrize("fault", ["silent", "swallowed", "cut"])
async def test_every_call_is_answered_while_etcd_is_away(away: Away, fault: str) -> None:
    """All are answered before etcd is back, and nothing that was "not stored" is stored then."""
    email_id = (await away.api.taken()).json["id"]
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "/emails", {}),
        ("GET", "/emails?status=failed", {}),
        ("GET", f"/emails/{email_id}", {}),
        ("GET", f"/emails/{email_id}?wait=1s", {}),
        ("GET", f"/emails/{email_id}/log", {}),
        ("GET", f"/emails/{email_id}/source", {}),
        ("GET", "/schedule", {}),
        ("GET", "/events", {}),
        ("GET", f"/events?id={email_id}", {}),
        ("GET", "/workers", {}),
        ("GET", "/clients", {}),
        ("POST", "/clients", {"json": {"name": "n", "scopes": ["emails:read"]}}),
        ("DELETE", "/clients/nobody", {}),
        ("DELETE", "/tokens", {"token": away.other_token}),
        ("POST", "/tokens", {"json": {"client_id": "new", "client_secret": "x"}, "token": ""}),
        ("POST", f"/emails/{email_id}/cancel", {}),
        ("POST", f"/emails/{email_id}/retry", {}),
        ("POST", "/emails/cancel", {"json": {"ids": [email_id]}}),
        ("POST", "/emails/retry", {"json": {"ids": [email_id]}}),
    ]
    away.fault(fault)
    for turn in range(2):  # at first each finds out by itself, then the process knows
        answers = await asyncio.gather(
            *(away.api.call(method, path, **more) for method, path, more in calls),
            *(_post(away, f"{turn}-{n}", keyed=n % 2 == 0) for n in range(40)),
        )
        for answer in answers:
            assert answer.status == 503, answer.text
            assert int(answer.headers["Retry-After"]) > 0
    assert {answer.json["stored"] for answer in answers[len(calls) :]} == {"no"}
    await away.mend()
    subjects = await away.subjects()
    for answer in answers[len(calls) :]:
        assert answer.json["request_id"] not in subjects


async def _post(away: Away, name: str, *, keyed: bool) -> Answer:
    """Its subject is the id of its request."""
    headers = {"X-Request-Id": name} | ({"Idempotency-Key": name} if keyed else {})
    return await away.api.send(subject=name, http_headers=headers)


def test_call_for_which_no_file_is_left_can_be_repeated_later() -> None:
    problem = from_exception(OutOfResources("DNS can't be asked: no file is left"))
    assert (problem.kind, problem.stored) == (OUT_OF_MEMORY, None)
    assert problem.detail == "DNS can't be asked: no file is left. Repeat the call later."


def test_call_that_runs_out_of_memory_says_that_a_change_may_have_been_made() -> None:
    problem = from_exception(MemoryError())
    assert (problem.kind, problem.stored) == (OUT_OF_MEMORY, "unknown")
    assert problem.kind.status == 503 and "Retry-After" in problem.headers
