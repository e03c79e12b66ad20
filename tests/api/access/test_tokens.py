"""A token's life: issued, described, used, revoked. And what is no token of ours."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from datetime import datetime
from typing import Any

import jwt
import pytest

from babygun.runtime.clock import utc_now
from babygun.store import Store
from babygun.store.access.clients import delete_client
from babygun.store.access.known_clients import KnownClients
from babygun.store.steady_clock import SteadyClock
from tests.support.api import Answer, RunningApi, StartApi, basic
from tests.support.processes import PATIENCE


async def test_token_is_issued_by_basic_and_by_json(api: RunningApi) -> None:
    client, secret = await api.client("emails:read", "emails:send")
    for arguments in (
        {"headers": basic(client.id, secret)},
        {"json": {"client_id": client.id, "client_secret": secret}},
    ):
        answer = await api.call("POST", "/tokens", token="", **arguments)
        assert answer.status == 200, answer.text
        assert answer.json["token_type"] == "Bearer"
        assert sorted(answer.json["scopes"]) == ["emails:read", "emails:send"]
        info = (await api.call("GET", "/tokens", token=answer.json["token"])).json
        assert info["valid"] is True
        assert info["client_id"] == client.id
        assert info["expires_at"] == answer.json["expires_at"]
        assert 3500 <= info["expires_in"] <= 3600
        assert (
            datetime.fromisoformat(info["expires_at"]) - datetime.fromisoformat(info["issued_at"])
        ).total_seconds() == 3600


async def test_token_with_less_scope_and_time_has_that(api: RunningApi) -> None:
    client, secret = await api.client("emails:send", "emails:read")
    answer = await api.call(
        "POST",
        "/tokens",
        token="",
        headers=basic(client.id, secret),
        json={"scopes": ["emails:read"], "expires_in": 60},
    )
    token = answer.json["token"]
    info = (await api.call("GET", "/tokens", token=token)).json
    assert info["scopes"] == ["emails:read"]
    assert 0 < info["expires_in"] <= 60
    problem = await api.send(token)
    problem.problem(403, "insufficient-scope")
    assert 'scope="emails:send"' in problem.headers["WWW-Authenticate"]


async def test_token_request_that_asks_for_what_is_not_to_be_had_is_refused(
    api: RunningApi,
) -> None:
    client, secret = await api.client()
    for body, status, slug, field in [
        ({"scopes": ["admin"]}, 403, "insufficient-scope", "scopes"),
        ({"scopes": ["all"]}, 422, "invalid-request", "scopes[0]"),
        ({"scopes": "emails:read"}, 422, "invalid-request", "scopes"),
        ({"expires_in": 0}, 422, "invalid-request", "expires_in"),
        ({"expires_in": 3601}, 422, "invalid-request", "expires_in"),
        ({"expires_in": "1h"}, 422, "invalid-request", "expires_in"),
        ({"ttl": 1}, 422, "invalid-request", "ttl"),
        ({"client_id": "x"}, 422, "invalid-request", "client_id"),
    ]:
        (
            await api.call("POST", "/tokens", token="", headers=basic(client.id, secret), json=body)
        ).problem(status, slug, field)


async def test_credentials_that_do_not_fit_are_refused(api: RunningApi) -> None:
    client, secret = await api.client()
    attempts: list[dict[str, Any]] = [
        {},
        {"headers": basic(client.id, "wrong")},
        {"headers": basic("nobody", secret)},
        {"headers": basic("", "")},
        {"headers": basic("../clients", secret)},
        {"headers": {"Authorization": "Basic ***"}},
        {"headers": {"Authorization": "Basic " + base64.b64encode(b"\xff:x").decode()}},
        {"headers": {"Authorization": "Basic " + base64.b64encode(b"no colon").decode()}},
        {"headers": {"Authorization": f"Bearer {api.token}"}},
        {"json": {"client_id": client.id}},
        {"json": {"client_id": client.id, "client_secret": "wrong"}},
    ]
    for arguments in attempts:
        answer = await api.call("POST", "/tokens", token="", **arguments)
        answer.problem(401, "invalid-credentials")
        assert answer.headers["WWW-Authenticate"]


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def known_clients_of(store: Store) -> tuple[KnownClients, asyncio.Task[None]]:
    known_clients = KnownClients(store)
    task = asyncio.create_task(known_clients.run())
    await known_clients.ready.wait()
    return known_clients, task


async def test_token_that_is_not_ours_is_refused_with_the_reason(
    api: RunningApi, store: Store
) -> None:
    known_clients, task = await known_clients_of(store)
    key = known_clients.signing_key
    task.cancel()
    assert key
    client, _ = await api.client()
    now = int(time.time())
    good = {
        "iss": "babygun",
        "aud": "babygun",
        "sub": client.id,
        "serial": client.serial,
        "iat": now,
        "exp": now + 60,
        "jti": "j",
        "scope": "emails:read",
    }

    def signed(
        claims: dict[str, Any],
        secret: bytes = key.secret,
        algorithm: str = "HS256",
        kid: Any = key.kid,
    ) -> str:
        return jwt.encode(claims, secret, algorithm=algorithm, headers={"kid": kid})

    assert (await api.call("GET", "/tokens", token=signed(good))).status == 200
    header, payload, signature = signed(good).split(".")
    forged = part(good | {"scope": "admin"})
    rows: list[tuple[str, str]] = [
        ("expired", signed(good | {"iat": now - 100, "exp": now - 1})),
        ("signature", signed(good, secret=b"x" * 32)),
        ("signature", f"{header}.{forged}.{signature}"),
        ("HS256", f"{part({'alg': 'none', 'kid': key.kid})}.{forged}."),
        ("HS256", f"{part({'alg': 'None', 'kid': key.kid})}.{forged}.{signature}"),
        ("HS256", signed(good, secret=key.secret * 2, algorithm="HS512")),
        ("key", signed(good, kid="other")),
        ("key", signed(good, kid="../signing-keys")),
        ("meant", signed(good | {"aud": "another"})),
        ("issued", signed(good | {"iss": "another"})),
        ("malformed", signed(good | {"scope": ["emails:read"]})),
        ("malformed", signed(good | {"scope": None})),
        ("malformed", signed(good | {"iat": 10**30})),
        ("malformed", signed(good | {"exp": 10**30})),
        ("malformed", signed(good | {"exp": 1e300})),
        ("malformed", signed(good | {"iat": -1})),
        ("malformed", signed(good | {"sub": ["nobody"]})),
        ("malformed", signed(good | {"jti": {}})),
        ("client", signed(good | {"sub": "nobody"})),
        ("client", signed(good | {"serial": "of another"})),
        ("malformed", signed(good | {"serial": 7})),
        ("exp", signed({name: value for name, value in good.items() if name != "exp"})),
        ("jti", signed({name: value for name, value in good.items() if name != "jti"})),
        ("sub", signed({name: value for name, value in good.items() if name != "sub"})),
        ("malformed", "x"),
        ("malformed", "a.b.c"),
        ("malformed", f"{header}.{payload}"),
        (
            "malformed",
            f"{base64.urlsafe_b64encode(b'[' * 2000).decode().rstrip('=')}.{payload}.{signature}",
        ),
        ("malformed", "ä.ö.ü"),
        ("too long", "a" * 5000),
    ]
    for word, token in rows:
        for call in (("GET", "/tokens"), ("GET", "/emails")):
            answer = await api.call(*call, token=token)
            assert word in answer.problem(401, "invalid-token")["detail"], word
            assert answer.headers["WWW-Authenticate"].startswith(
                'Bearer realm="babygun", error="invalid_token"'
            )


async def refusal(api: RunningApi, path: str, token: str) -> Answer:
    """The first answer that is not 200."""
    async with asyncio.timeout(PATIENCE):
        while (answer := await api.call("GET", path, token=token)).status == 200:  # noqa: ASYNC110 (another process's state)
            await asyncio.sleep(0.02)
    return answer


async def test_token_that_expires_while_it_is_remembered_is_refused(api: RunningApi) -> None:
    client, secret = await api.client()
    token, remembered = "", False
    while not remembered:  # unless this machine stood still until its end
        answer = await api.call(
            "POST", "/tokens", token="", headers=basic(client.id, secret), json={"expires_in": 5}
        )
        token = answer.json["token"]
        remembered = (await api.call("GET", "/tokens", token=token)).status == 200
    end = jwt.decode(token, options={"verify_signature": False})["exp"]
    refused = await refusal(api, "/tokens", token)
    assert time.time() >= end
    assert "expired" in refused.problem(401, "invalid-token")["detail"]


async def test_call_without_a_token_is_refused(api: RunningApi) -> None:
    for header in [None, "", "Bearer", "Basic abc", "Token abc"]:
        answer = await api.call(
            "GET", "/emails", token="", headers={} if header is None else {"Authorization": header}
        )
        answer.problem(401, "invalid-token" if header == "Bearer" else "no-token")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_revoked_token_is_refused_here_at_once_and_elsewhere_soon(
    api: RunningApi, start_api: StartApi
) -> None:
    other = await start_api()
    client, secret = await api.client()
    token, kept = [
        (await api.call("POST", "/tokens", token="", headers=basic(client.id, secret))).json[
            "token"
        ]
        for _ in range(2)
    ]
    for process in (api, other):
        assert (await process.call("GET", "/emails", token=token)).status == 200
    assert (await api.call("DELETE", "/tokens", token=token)).status == 204
    assert (
        "revoked"
        in (await api.call("GET", "/tokens", token=token)).problem(401, "invalid-token")["detail"]
    )
    (await refusal(other, "/emails", token)).problem(401, "invalid-token")
    assert (await api.call("DELETE", "/tokens", token=token)).status == 401
    for process in (api, other):
        assert (await process.call("GET", "/emails", token=kept)).status == 200


async def test_tokens_of_a_deleted_client_are_refused_soon(api: RunningApi, store: Store) -> None:
    client, secret = await api.client()
    token = (await api.call("POST", "/tokens", token="", headers=basic(client.id, secret))).json[
        "token"
    ]
    assert (await api.call("GET", "/emails", token=token)).status == 200
    await delete_client(store, client.id)
    (await refusal(api, "/emails", token)).problem(401, "invalid-token")
    again = await api.call("POST", "/tokens", token="", headers=basic(client.id, secret))
    assert again.status == 401


async def test_scopes_open_their_calls_and_no_others(api: RunningApi) -> None:
    email_id = await api.accepted()
    calls = {
        "emails:send": [
            ("POST", "/emails"),
            ("POST", f"/emails/{email_id}/cancel"),
            ("POST", f"/emails/{email_id}/retry"),
        ],
        "emails:read": [
            ("GET", "/emails"),
            ("GET", f"/emails/{email_id}"),
            ("GET", f"/emails/{email_id}/log"),
        ],
        "workers:read": [("GET", "/workers")],
    }
    for scope in ("emails:send", "emails:read", "workers:read", "admin"):
        token = await api.token_for(scope)  # type: ignore[arg-type]
        for needed, opened in calls.items():
            for method, path in opened:
                status = (await api.call(method, path, token=token)).status
                assert (status == 403) == (scope not in (needed, "admin")), (
                    scope,
                    method,
                    path,
                    status,
                )


async def test_client_over_its_rate_is_refused_with_the_time_to_come_back(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = utc_now()

    async def standing(_: SteadyClock) -> datetime:
        return at

    monkeypatch.setattr(SteadyClock, "now", standing)  # else a slow machine stays below the rate
    token = await api.token_for(rate=2)
    assert [(await api.send(token)).status for _ in range(2)] == [202, 202]
    refused = await api.send(token)
    refused.problem(429, "too-many-requests")
    assert refused.headers["Retry-After"] == "1"
    assert (await api.call("GET", "/emails", token=token)).status == 200
    assert (await api.send()).status == 202


async def test_scope_that_does_not_exist_is_refused_with_those_that_do(api: RunningApi) -> None:
    answer = await api.call(
        "POST",
        "/tokens",
        token="",
        json={"client_id": "a", "client_secret": "b", "scopes": ["mail"]},
    )
    assert "emails:send" in answer.problem(422, "invalid-request", "scopes[0]")["detail"]
