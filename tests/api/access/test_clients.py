"""Clients over the API: made, listed, deleted by a client with the scope ``admin``."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from babygun.errors import EtcdError, OutcomeUnknown, OutOfSpace
from babygun.etcd import Txn
from babygun.runtime.clock import utc_now
from babygun.store import Store
from babygun.store.access.client_secrets import MOST_REPLACED, verify_secret
from babygun.store.access.clients import (
    create_client,
    get_client,
    list_clients,
    rotate_secret,
)
from tests.support.api import RunningApi, basic
from tests.support.processes import PATIENCE


async def token_of(api: RunningApi, client_id: str, secret: str) -> str:
    answer = await api.call("POST", "/tokens", token="", headers=basic(client_id, secret))
    assert answer.status == 200, answer.text
    return str(answer.json["token"])


@pytest.fixture
async def admin(api: RunningApi) -> RunningApi:
    api.token = await api.token_for("admin")
    return api


@pytest.mark.usefixtures("one_day")
async def test_client_that_was_made_gets_a_token_for_its_scopes(admin: RunningApi) -> None:
    answer = await admin.call(
        "POST",
        "/clients",
        json={
            "name": " shop ",
            "scopes": ["emails:read", "emails:send", "emails:read"],
            "rate": 1.5,
            "recipients_per_day": 100,
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
    assert (made["recipients_per_day"], made["previous_secret_until"]) == (100, None)
    token = (
        await admin.call(
            "POST", "/tokens", token="", headers=basic(made["id"], made["client_secret"])
        )
    ).json
    assert sorted(token["scopes"]) == ["emails:read", "emails:send"]
    await admin.accepted(token["token"])
    listed = (await admin.call("GET", "/clients")).json["clients"]
    shown = {name: value for name, value in made.items() if name != "client_secret"}
    shown["recipients_today"] = 1
    assert [c for c in listed if c["id"] == made["id"]] == [shown]
    assert (await admin.call("GET", f"/clients/{made['id']}")).json == shown
    assert "client_secret" not in str(listed) and [c["id"] for c in listed] == sorted(
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


async def test_client_that_breaks_a_rule_is_not_made(admin: RunningApi, store: Store) -> None:
    before = await list_clients(store)
    for changes, field in [
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
        ({"recipients_per_day": 0}, "recipients_per_day"),
        ({"recipients_per_day": 1.5}, "recipients_per_day"),
        ({"rate": "fast"}, "rate"),
        ({"weight": 0}, "weight"),
        ({"weight": 101}, "weight"),
        ({"weight": 1.5}, "weight"),
        ({"id": ""}, "id"),
        ({"id": "a/b"}, "id"),
        ({"id": "ä"}, "id"),
        ({"id": "x" * 65}, "id"),
        ({"secret": "x"}, "secret"),
    ]:
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
    async with asyncio.timeout(PATIENCE):
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
    async with asyncio.timeout(PATIENCE):  # until this process knows the new one
        while (await admin.call("GET", "/tokens", token=new)).status != 200:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
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


async def test_changed_client_keeps_what_the_request_leaves_out(admin: RunningApi) -> None:
    client, _ = await admin.client("emails:send", "emails:read", rate=5)
    path = f"/clients/{client.id}"
    before = (await admin.call("GET", path)).json
    changes = {"name": " web shop ", "recipients_per_day": 10, "weight": 2}
    changed = (await admin.call("PATCH", path, json=changes)).json
    assert changed == before | changes | {"name": "web shop"}
    changed = (await admin.call("PATCH", path, json={"rate": None})).json
    assert (changed["rate"], changed["recipients_per_day"]) == (None, 10)
    assert (await admin.call("PATCH", path, json={})).json == changed
    assert (await admin.call("GET", path)).json == changed


async def test_change_that_breaks_a_rule_changes_nothing(admin: RunningApi, store: Store) -> None:
    for changes, field in [
        ({"name": None}, "name"),
        ({"name": " "}, "name"),
        ({"scopes": []}, "scopes"),
        ({"rate": 0}, "rate"),
        ({"recipients_per_day": -1}, "recipients_per_day"),
        ({"weight": None}, "weight"),
        ({"id": "other"}, "id"),
    ]:
        client, _ = await admin.client()
        answer = await admin.call("PATCH", f"/clients/{client.id}", json={"weight": 7} | changes)
        answer.problem(422, "invalid-request", field)
        assert await get_client(store, client.id) == client


async def test_scope_that_is_taken_away_is_gone_from_tokens_and_one_that_is_given_is_not_there(
    admin: RunningApi,
) -> None:
    client, secret = await admin.client("emails:send", "emails:read")
    token = await token_of(admin, client.id, secret)
    changed = await admin.call(
        "PATCH", f"/clients/{client.id}", json={"scopes": ["emails:send", "workers:read"]}
    )
    assert changed.json["scopes"] == ["emails:send", "workers:read"]
    async with asyncio.timeout(PATIENCE):
        while (await admin.call("GET", "/emails", token=token)).status != 403:
            pass
    assert (await admin.call("GET", "/workers", token=token)).status == 403
    new = await token_of(admin, client.id, secret)
    assert (await admin.call("GET", "/workers", token=new)).status == 200


async def test_client_does_not_take_the_scope_admin_from_itself(admin: RunningApi) -> None:
    mine = (await admin.call("GET", "/tokens")).json["client_id"]
    answer = await admin.call("PATCH", f"/clients/{mine}", json={"scopes": ["emails:send"]})
    answer.problem(409, "conflict")
    assert (await admin.call("PATCH", f"/clients/{mine}", json={"rate": 500})).status == 200


async def test_new_secret_works_and_the_one_before_until_its_end(admin: RunningApi) -> None:
    client, secret = await admin.client()
    path = f"/clients/{client.id}"
    made = (await admin.call("POST", f"{path}/secret")).json
    assert made["id"] == client.id
    assert (await admin.call("GET", path)).json["previous_secret_until"] == made["previous_until"]
    old = await token_of(admin, client.id, secret)
    await token_of(admin, client.id, made["client_secret"])
    leaked = {"previous_for": 0, "end_tokens": True}
    await admin.call("POST", f"{path}/secret")  # whose answer is lost: both others still work
    for known in (secret, made["client_secret"]):
        await token_of(admin, client.id, known)
    third = (await admin.call("POST", f"{path}/secret", json=leaked)).json
    assert third["previous_until"] is None
    async with asyncio.timeout(PATIENCE):
        while (await admin.call("GET", "/tokens", token=old)).status != 401:
            pass
    for gone in (secret, made["client_secret"]):
        answer = await admin.call("POST", "/tokens", token="", headers=basic(client.id, gone))
        answer.problem(401, "invalid-credentials")
    new = await token_of(admin, client.id, third["client_secret"])
    assert (await admin.call("GET", "/tokens", token=new)).status == 200


async def test_secret_beyond_the_most_is_refused_until_one_before_ends(
    admin: RunningApi,
) -> None:
    client, secret = await admin.client()
    path = f"/clients/{client.id}/secret"
    for _ in range(MOST_REPLACED):
        assert (await admin.call("POST", path)).status == 200
    problem = (await admin.call("POST", path)).problem(409, "conflict")
    assert "The first of them ends at 20" in problem["detail"]
    await token_of(admin, client.id, secret)
    assert (await admin.call("POST", path, json={"previous_for": 0})).status == 200


async def test_secret_is_not_taken_longer_than_the_most(admin: RunningApi) -> None:
    client, _ = await admin.client()
    for seconds in [-1, 30 * 86_400 + 1, 1.5]:
        answer = await admin.call(
            "POST", f"/clients/{client.id}/secret", json={"previous_for": seconds}
        )
        answer.problem(422, "invalid-request", "previous_for")


@pytest.mark.usefixtures("one_day")
async def test_email_beyond_the_daily_limit_gets_429_with_what_remains(admin: RunningApi) -> None:
    client, secret = await admin.client()
    token = await token_of(admin, client.id, secret)
    await admin.call("PATCH", f"/clients/{client.id}", json={"recipients_per_day": 2})
    two = {"to": ["ann@example.org", "bob@example.org"]}
    async with asyncio.timeout(PATIENCE):
        while (answer := await admin.send(token, **two)).status == 202:
            pass
    problem = answer.problem(429, "daily-limit")
    assert problem["remaining"] == 0 and "2 recipients a day" in problem["detail"]
    assert 0 < int(answer.headers["Retry-After"]) <= 86_400
    assert (await admin.call("GET", f"/clients/{client.id}")).json["recipients_today"] >= 2


def first_answer_lost(
    store: Store, monkeypatch: pytest.MonkeyPatch, doubt: type[EtcdError] = OutcomeUnknown
) -> list[Txn]:
    """The first transaction is made, but its caller does not learn so. Returns all that come."""
    original, calls = store.client.txn, list[Txn]()

    async def unsure(txn: Txn, **kwargs: Any) -> Any:
        calls.append(txn)
        result = await original(txn, **kwargs)
        if len(calls) == 1:
            raise doubt
        return result

    monkeypatch.setattr(store.client, "txn", unsure)
    return calls


@pytest.mark.parametrize("doubt", [OutcomeUnknown, OutOfSpace])
async def test_change_whose_outcome_was_not_known_is_made_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, doubt: type[EtcdError]
) -> None:
    client, _ = await create_client(store, name="shop", scopes=("emails:send",))
    calls = first_answer_lost(store, monkeypatch, doubt)
    changed, secret = await rotate_secret(store, client.id, end_tokens=True)
    assert (changed.series, len(calls)) == (1, 1) and verify_secret(changed, secret, utc_now())
    assert changed.previous and changed.previous.secret_hash == client.secret_hash


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("PATCH", ""), ("POST", "/secret"), ("DELETE", "")]
)
@pytest.mark.parametrize("client_id", ["nobody", "a%2Fb", "x" * 65])
async def test_call_on_a_client_that_is_not_there_is_not_found(
    admin: RunningApi, method: str, path: str, client_id: str
) -> None:
    answer = await admin.call(method, f"/clients/{client_id}{path}", json={})
    answer.problem(404, "not-found")


async def test_client_that_is_not_there_can_not_be_deleted(admin: RunningApi) -> None:
    for client_id in ["nobody", "a%2Fb", "..%2Fsigning-keys", "%FF", "%00", "x" * 5000]:
        (await admin.call("DELETE", f"/clients/{client_id}")).problem(404, "not-found")


async def test_client_does_not_delete_itself(admin: RunningApi, store: Store) -> None:
    mine = (await admin.call("GET", "/tokens")).json["client_id"]
    (await admin.call("DELETE", f"/clients/{mine}")).problem(409, "conflict")
    assert (await admin.call("GET", "/clients")).status == 200


async def test_clients_are_managed_with_the_scope_admin_only(api: RunningApi) -> None:
    token = await api.token_for("emails:send", "emails:read", "workers:read")
    mine = (await api.call("GET", "/tokens", token=token)).json["client_id"]
    for method, path in (
        ("GET", "/clients"),
        ("POST", "/clients"),
        ("GET", f"/clients/{mine}"),
        ("PATCH", f"/clients/{mine}"),
        ("POST", f"/clients/{mine}/secret"),
        ("DELETE", "/clients/x"),
    ):
        (
            await api.call(method, path, token=token, json={"name": "x", "scopes": ["admin"]})
        ).problem(403, "insufficient-scope")


async def test_client_whose_making_was_not_confirmed_is_made_once_with_the_secret_in_the_answer(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first_answer_lost(store, monkeypatch)
    client, _ = await create_client(store, name="shop", scopes=("emails:send",))
    assert await list_clients(store) == [client]
