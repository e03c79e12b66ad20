"""Which calls are audited, and what their entries say."""

from __future__ import annotations

import json
from typing import Any

from babygun.api.app import ROUTES
from babygun.email.addresses import hash_of
from babygun.store import Store
from babygun.store.audit.listing import Wanted, list_entries
from tests.support.api import RunningApi

# Calls that change something and have no audit entry.
ELSEWHERE = {
    "issue_token": "a sign-in changes nothing",
    "revoke_token": "it ends the caller's own token",
    "sign_in": "a sign-in changes nothing",
    "sign_out": "it ends the caller's own session",
    "send_email": "the e-mail's log says who sent it",
    "send_emails": "the e-mails' logs say who sent them",
    "cancel_email": "the e-mail's log says who did it",
    "retry_email": "the e-mail's log says who did it",
    "edit_email": "the e-mail's log says who did it",
    "send_email_now": "the e-mail's log says who did it",
    "cancel_emails": "the e-mails' logs say who did it",
    "retry_emails": "the e-mails' logs say who did it",
    "send_emails_now": "the e-mails' logs say who did it",
    "add_suppression": "the suppression says who wrote it",
    "import_suppressions": "the suppressions say who wrote them",
}


def test_every_call_that_changes_something_is_audited_or_in_the_list() -> None:
    changing = {route.name: route for route in ROUTES if route.method != "GET"}
    missing = [name for name, r in changing.items() if not r.audited and name not in ELSEWHERE]
    assert not missing, f"give them audit=True, or say here where it stands: {missing}"
    stale = [name for name in ELSEWHERE if name not in changing or changing[name].audited]
    assert not stale, f"these rows can go: {stale}"


def test_call_of_the_scope_admin_that_changes_something_is_audited_without_a_declaration() -> None:
    for_admins = [r for r in ROUTES if r.scope == "admin" and r.method != "GET"]
    assert len(for_admins) >= 7 and all(route.audited for route in for_admins)
    assert all(route.audit is None for route in for_admins)


async def written(store: Store, **wanted: str) -> list[dict[str, Any]]:
    page = await list_entries(store, Wanted(**wanted), limit=100)  # type: ignore[arg-type]
    return [
        {name: getattr(entry, name) for name in entry.__struct_fields__}
        for entry in page.entries
        if entry.via == "api"
    ]


async def test_calls_leave_entries_with_who_what_and_outcome_and_without_secrets(
    api: RunningApi, store: Store
) -> None:
    admin = await api.token_for("admin")
    by = json.loads((await api.call("GET", "/tokens", token=admin)).text)["client_id"]
    body = {"name": "shop", "scopes": ["emails:send"], "id": "shop", "rate": 2.5}
    made = await api.call("POST", "/clients", token=admin, json=body)
    assert made.status == 201
    hook = {"url": "https://example.org/in?key=hidden", "events": ["bounced"]}
    webhook = await api.call("POST", "/webhooks", token=admin, json=hook)
    assert webhook.status == 201, webhook.text
    suppressed = {"email": "Ann@example.org"}
    assert (await api.call("POST", "/suppressions", token=admin, json=suppressed)).status == 201
    gone = await api.call("DELETE", "/suppressions/ann@example.org?list=*", token=admin)
    assert gone.status == 200
    unlimited = {"rate": None, "weight": 3}
    patched = await api.call("PATCH", "/clients/shop", token=admin, json=unlimited)
    assert patched.status == 200
    assert (await api.call("DELETE", "/clients/shop", token=admin)).status == 204

    deleted, changed, off, hooked, created = await written(store)
    assert changed["action"] == "changeClient" and changed["target"] == "shop"
    assert changed["details"] == {"rate": "none", "weight": "3"}
    assert created["action"] == "createClient" and created["target"] == "shop"
    assert created["details"] == {
        "name": "shop",
        "scopes": "emails:send",
        "id": "shop",
        "rate": "2.5",
        "weight": "1",
    }
    assert {created["by"], deleted["by"]} == {by} and created["via"] == "api"
    assert created["address"] == "127.0.0.1"
    assert created["request_id"] == made.headers["X-Request-Id"]
    assert created["outcome"] == "done" and created["ended_at"] is not None
    assert hooked["target"] == webhook.json["id"] and hooked["details"] == {"events": "bounced"}
    assert off["action"] == "removeSuppression" and off["details"] == {"list": "*"}
    assert off["target"] == hash_of("ann@example.org")
    assert deleted["action"] == "deleteClient" and deleted["target"] == "shop"
    kept = repr([deleted, off, hooked, created])
    for secret in (made.json["client_secret"], webhook.json["secret"], "hidden", "ann@example"):
        assert secret not in kept.lower()


async def test_refused_call_leaves_no_entry(api: RunningApi, store: Store) -> None:
    admin = await api.token_for("admin")
    assert (await api.call("DELETE", "/clients/nobody", token=admin)).status == 404
    assert (await api.call("POST", "/clients", token=admin, json={"name": ""})).status == 422
    assert (await api.call("DELETE", "/clients/nobody")).status == 403
    assert await written(store) == []
