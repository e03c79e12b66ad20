"""The calls on sending domains."""

from __future__ import annotations

import asyncio

from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.domains.alarms import raise_alarm
from babygun.store.domains.change import share_domain
from tests.api.domains.calls import NAME, Holder
from tests.store.domains.steps import sealing
from tests.support.api import StartApi
from tests.support.processes import PATIENCE


async def test_new_domain_is_answered_with_the_records_for_dns_and_no_private_key(
    shop: Holder, store: Store
) -> None:
    answer = await shop.call("POST", "/domains", {"name": " Bücher.Example. ", "ed25519": True})
    domain = answer.json
    assert answer.status == 201 and answer.headers["Location"] == f"/domains/{domain['name']}"
    assert domain["name"] == "xn--bcher-kva.example"
    assert (domain["status"], domain["checked_at"], domain["clients"]) == ("pending", None, None)
    assert domain["return_path"] == "bounces.xn--bcher-kva.example"
    assert [(one["algorithm"], one["state"]) for one in domain["selectors"]] == [
        ("rsa2048", "new"),
        ("ed25519", "new"),
    ]
    records = {one["purpose"]: one for one in domain["records"]}
    for selector in domain["selectors"]:
        record = records[f"dkim:{selector['name']}"]
        assert record["type"] == "TXT" and record["status"] == "unchecked"
        assert record["name"] == f"{selector['name']}._domainkey.{domain['name']}"
        assert record["value"].startswith("v=DKIM1; k=") and "PRIVATE" not in answer.text
    assert "dmarc" in records
    shown = await shop.call("GET", "/domains/b%C3%BCcher.example")
    assert shown.json == domain, "the path may have the Unicode form"


async def test_name_that_is_no_domain_is_refused(shop: Holder) -> None:
    for body, field in [
        ({"name": "com"}, "name"),
        ({"name": "a b.example"}, "name"),
        ({"name": "[192.0.2.1]"}, "name"),
        ({"name": ""}, "name"),
    ]:
        (await shop.call("POST", "/domains", body)).problem(422, "invalid-request", field)


async def test_domain_of_another_client_is_refused_without_naming_it(
    shop: Holder, other: Holder
) -> None:
    await shop.domain()
    for name in (NAME, f"a.{NAME}"):
        problem = (await other.call("POST", "/domains", {"name": name})).problem(409, "conflict")
        assert shop.id not in problem["detail"] and "operator" in problem["detail"]
    own = (await shop.call("POST", "/domains", {"name": NAME})).problem(409, "conflict")
    assert own["detail"] == f"The client holds {NAME} already."


async def test_listing_has_own_domains_by_page_and_everybodys_for_admin(
    shop: Holder, other: Holder, admin: Holder
) -> None:
    for name in ("c.example", "a.example", "b.example"):
        await shop.domain(name)
    await other.domain("d.example")
    page = await shop.call("GET", "/domains?limit=2")
    assert [one["name"] for one in page.json["domains"]] == ["a.example", "b.example"]
    assert await shop.names(f"?cursor={page.json['cursor']}") == ["c.example"]
    assert len(await admin.names()) == 4
    assert await admin.names(f"?client={other.id}") == ["d.example"]
    assert await shop.names(f"?client={other.id}") == []


async def test_admin_makes_a_domain_for_clients_and_shares_it(
    shop: Holder, other: Holder, admin: Holder
) -> None:
    made = await admin.domain(clients=[shop.id])
    assert made["clients"] == [shop.id]
    assert await shop.names() == [NAME] and await other.names() == []
    path = f"/domains/{NAME}/clients"
    shared = await admin.call("PUT", path, {"clients": [other.id, shop.id, shop.id]})
    assert shared.json["clients"] == [other.id, shop.id]
    assert await other.names() == [NAME]
    given = await admin.call("PUT", path, {"clients": [other.id]})
    assert given.json["clients"] == [other.id] and await shop.names() == []
    problem = await admin.call("PUT", path, {"clients": [other.id, "nobody"]})
    problem.problem(422, "invalid-request", "clients[1]")


async def test_what_only_admin_may_do_is_refused_to_others(shop: Holder, other: Holder) -> None:
    await shop.domain()
    body = {"name": "b.example", "clients": [other.id]}
    (await shop.call("POST", "/domains", body)).problem(403, "insufficient-scope")
    share = await shop.call("PUT", f"/domains/{NAME}/clients", {"clients": [other.id]})
    share.problem(403, "insufficient-scope")
    token = await shop.api.token_for("emails:send")
    for method, path in (("GET", "/domains"), ("DELETE", f"/domains/{NAME}")):
        answer = await shop.api.call(method, path, token=token)
        answer.problem(403, "insufficient-scope")


async def test_rotation_answers_with_the_records_of_both_keys(shop: Holder, store: Store) -> None:
    first = await shop.domain()
    rotated = await shop.call("POST", f"/domains/{NAME}/rotate")
    assert rotated.status == 200
    (selector,) = rotated.json["selectors"]  # the first has never signed
    assert selector["name"] != first["selectors"][0]["name"]
    more = await shop.call("POST", f"/domains/{NAME}/rotate", {"ed25519": True})
    assert [one["algorithm"] for one in more.json["selectors"]] == ["rsa2048", "ed25519"]
    assert len([one for one in more.json["records"] if one["purpose"].startswith("dkim:")]) == 2


async def test_shared_domain_is_deleted_by_admin_alone(
    shop: Holder, other: Holder, admin: Holder, store: Store
) -> None:
    await shop.domain()
    await share_domain(store, NAME, [shop.identity, other.identity])
    (await shop.call("DELETE", f"/domains/{NAME}")).problem(409, "conflict")
    assert (await admin.call("DELETE", f"/domains/{NAME}")).status == 204
    (await shop.call("GET", f"/domains/{NAME}")).problem(404, "not-found")
    (await admin.call("DELETE", f"/domains/{NAME}")).problem(404, "not-found")


async def test_without_a_sealing_key_the_answer_names_the_setting(
    start_api: StartApi,
) -> None:
    api = await start_api()
    token = await api.token_for("domains")
    answer = await api.call("POST", "/domains", token=token, json={"name": NAME})
    problem = answer.problem(503, "no-sealing-key")
    assert "secrets_key_file or secrets_keys" in problem["detail"]
    listed = await api.call("GET", "/domains", token=token)
    assert listed.json == {"domains": [], "cursor": None}


async def test_email_from_a_domain_that_is_not_held_is_refused_until_it_is(
    start_api: StartApi, api_settings: Settings
) -> None:
    api = await start_api(require_domains=True, secrets_keys=sealing(api_settings).secrets_keys)
    token = await api.token_for("domains", "emails:send")
    problem = (await api.send(token)).problem(422, "invalid-request", "sender")
    assert "holds no sending domain for example.com" in problem["detail"]
    assert "POST /domains" in problem["detail"]
    made = await api.call("POST", "/domains", token=token, json={"name": NAME})
    assert made.status == 201
    await api.accepted(token)


async def test_alarm_is_shown_with_its_remedy_to_those_who_hold_the_domain(
    shop: Holder, admin: Holder, store: Store
) -> None:
    assert (await shop.domain())["alarms"] == []
    reply = {"site": "mx:google", "code": 421, "enhanced_code": "4.7.27", "text": "SPF failed"}
    await raise_alarm(store, NAME, "spf", **reply)
    async with asyncio.timeout(PATIENCE):  # the API follows etcd
        while not (alarms := (await shop.call("GET", f"/domains/{NAME}")).json["alarms"]):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    [alarm] = alarms
    assert (alarm["cause"], alarm["site"], alarm["status_code"]) == ("spf", "mx:google", 421)
    assert NAME in alarm["sentence"] and "doctor domain" in alarm["sentence"]
    assert (await admin.call("GET", "/overview")).json["domain_alarms"] == [alarm]
