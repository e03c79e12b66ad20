"""Clients over the API: made, listed, deleted by a client with the scope ``admin``."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from babygun.errors import OutcomeUnknown
from babygun.etcd import Txn
from babygun.store import Store
from babygun.store.access.clients import create_client, list_clients
from tests.support.api import RunningApi, basic


@pytest.fixture
async def admin(api: RunningApi) -> RunningApi:
    api.token = await api.token_for("admin")
    return api


async def test_client_that_was_made_gets_a_token_for_its_scopes(admin: RunningApi) -> None:
    answer = await admin.call(
        "POST",
        "/clients",
        json={
            "name": " shop ",
            "scopes": ["emails:read", "emails:send", "emails:read"],
            "rate": 1.5,
            "weight": 3,
        },
    )
    assert answer.status == 201, answer.text
    made = answer.json
    assert (made["name"], made["scopes"], made["rate"], made["weight"]) == (
        "shop",
        ["emails:read", "emails:send"],
        1.5,
        3,
    )
    token = (
        await admin.call(
            "POST", "/tokens", token="", headers=basic(made["id"], made["client_secret"])
        )
    ).json
    assert sorted(token["scopes"]) == ["emails:read", "emails:send"]
    await admin.accepted(token["token"])
    listed = (await admin.call("GET", "/clients")).json["clients"]
    assert [c for c in listed if c["id"] == made["id"]] == [
        {name: value for name, value in made.items() if name != "client_secret"}
    ]
    assert "secret" not in str(listed) and [c["id"] for c in listed] == sorted(
        c["id"] for c in listed
    )


async def test_client_with_a_taken_id_is_refused_and_the_first_stays(admin: RunningApi) -> None:
    wanted = {"name": "shop", "scopes": ["emails:send"], "id": "shop.1_a-b"}
    made = (await admin.call("POST", "/clients", json=wanted)).json
    assert made["id"] == "shop.1_a-b"
    (await admin.call("POST", "/clients", json=wanted | {"name": "other"})).problem(409, "conflict")
    assert (
        await admin.call(
            "POST", "/tokens", token="", headers=basic(made["id"], made["client_secret"])
        )
    ).status == 200


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "  "}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": None}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["all"]}, "scopes[0]"),
        ({"scopes": None}, "scopes"),
        ({"rate": 0}, "rate"),
        ({"rate": -1}, "rate"),
        ({"rate": "fast"}, "rate"),
        ({"weight": 0}, "weight"),
        ({"weight": 101}, "weight"),
        ({"weight": 1.5}, "weight"),
        ({"id": ""}, "id"),
        ({"id": "a/b"}, "id"),
        ({"id": "ä"}, "id"),
        ({"id": "x" * 65}, "id"),
        ({"secret": "x"}, "secret"),
    ],
)
async def test_client_that_breaks_a_rule_is_not_made(
    admin: RunningApi, store: Store, changes: dict[str, Any], field: str
) -> None:
    before = await list_clients(store)
    (
        await admin.call(
            "POST", "/clients", json={"name": "shop", "scopes": ["emails:send"]} | changes
        )
    ).problem(422, "invalid-request", field)
    assert await list_clients(store) == before


async def test_deleted_client_is_locked_out_and_its_emails_stay(admin: RunningApi) -> None:
    client, secret = await admin.client()
    token = (await admin.call("POST", "/tokens", token="", headers=basic(client.id, secret))).json[
        "token"
    ]
    email_id = await admin.accepted(token)
    assert (await admin.call("DELETE", f"/clients/{client.id}")).status == 204
    async with asyncio.timeout(20):
        while (await admin.call("GET", "/emails", token=token)).status != 401:
            pass
    (await admin.call("POST", "/tokens", token="", headers=basic(client.id, secret))).problem(
        401, "invalid-credentials"
    )
    assert (await admin.call("GET", f"/emails/{email_id}")).status == 200
    (await admin.call("DELETE", f"/clients/{client.id}")).problem(404, "not-found")


async def test_client_made_again_under_an_old_id_has_none_of_its_tokens_and_emails(
    admin: RunningApi, store: Store
) -> None:
    async def make() -> str:
        _, secret = await create_client(
            store, name="shop", scopes=("emails:send", "emails:read"), client_id="shop"
        )
        answer = await admin.call("POST", "/tokens", token="", headers=basic("shop", secret))
        return str(answer.json["token"])

    old = await make()
    key = {"Idempotency-Key": "order-1"}
    first = await admin.send(old, key)
    assert first.status == 202
    assert (await admin.call("DELETE", "/clients/shop")).status == 204
    new = await make()
    for call in (("GET", "/tokens"), ("GET", "/emails")):
        assert (await admin.call(*call, token=new)).status == 200
        assert (await admin.call(*call, token=old)).problem(401, "invalid-token")
    path = f"/emails/{first.json['id']}"
    for call in (("GET", path), ("GET", f"{path}/log"), ("POST", f"{path}/cancel")):
        (await admin.call(*call, token=new)).problem(404, "not-found")
    assert (await admin.call("GET", "/emails", token=new)).json["emails"] == []
    assert (await admin.call("GET", path)).json["client_id"] == "shop"
    again = await admin.send(new, key)
    assert again.status == 202 and again.json["id"] != first.json["id"]


@pytest.mark.parametrize(
    "client_id", ["nobody", "a%2Fb", "..%2Fsigning-keys", "%FF", "%00", "x" * 5000]
)
async def test_client_that_is_not_there_can_not_be_deleted(
    admin: RunningApi, client_id: str
) -> None:
    (await admin.call("DELETE", f"/clients/{client_id}")).problem(404, "not-found")


async def test_client_does_not_delete_itself(admin: RunningApi, store: Store) -> None:
    mine = (await admin.call("GET", "/tokens")).json["client_id"]
    (await admin.call("DELETE", f"/clients/{mine}")).problem(409, "conflict")
    assert (await admin.call("GET", "/clients")).status == 200


async def test_clients_are_managed_with_the_scope_admin_only(api: RunningApi) -> None:
    token = await api.token_for("emails:send", "emails:read", "workers:read")
    for method, path in (("GET", "/clients"), ("POST", "/clients"), ("DELETE", "/clients/x")):
        (
            await api.call(method, path, token=token, json={"name": "x", "scopes": ["admin"]})
        ).problem(403, "insufficient-scope")


async def test_client_whose_making_was_not_confirmed_is_made_once_with_the_secret_in_the_answer(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = store.client.txn
    calls = 0

    async def unsure(txn: Txn, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        result = await original(txn, **kwargs)
        if calls == 1:
            raise OutcomeUnknown
        return result

    monkeypatch.setattr(store.client, "txn", unsure)
    client, _ = await create_client(store, name="shop", scopes=("emails:send",))
    assert await list_clients(store) == [client]
