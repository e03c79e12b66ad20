"""GET /recipients/{address}/export: all of one recipient's data, and nothing of others."""

from __future__ import annotations

import base64
import json

from babygun.email.addresses import hash_of
from babygun.store import Store
from babygun.store.audit.listing import Wanted, list_entries
from tests.support.api import RunningApi
from tests.support.tries import GONE, finished

ANN = "ann@example.org"


async def test_export_has_what_is_kept_of_the_recipient_and_of_nobody_else(
    api: RunningApi, store: Store
) -> None:
    admin = await api.token_for("admin")
    attachment = {"filename": "a.txt", "content": base64.b64encode(b"hello").decode()}
    both = await api.accepted(
        to=["Ann <ANN@example.org>"], bcc=["bob@example.net"], attachments=[attachment], tags=["t"]
    )
    await finished(store, both, {"ANN@example.org": GONE, "bob@example.net": GONE})
    await api.accepted(to=["bob@example.net"])
    hook = {"url": "https://example.org/in"}
    await api.call("POST", "/webhooks", token=admin, json=hook)
    theirs = await api.call("POST", "/suppressions", token=admin, json={"email": ANN})
    assert theirs.status == 201

    answer = await api.call("GET", f"/recipients/{ANN}/export", token=admin)
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert "bob@example" not in answer.text
    assert [line["kind"] for line in lines] == ["email", "suppression", "end"]
    email, *_, end = lines
    assert email["id"] == both and email["tags"] == ["t"]
    assert email["recipient"]["email"] == "ANN@example.org"
    assert email["recipient"]["status"] == "bounced"
    assert email["content"]["body"] == "Hi Ann\n"
    assert base64.b64decode(email["content"]["attachments"][0]["content"]) == b"hello"
    assert [entry["event"] for entry in email["log"]] == ["accepted", "bounced"]
    assert end == {"kind": "end", "complete": True, "emails": 1, "events": 0, "suppressions": 1}
    (entry,) = (await list_entries(store, Wanted(action="exportRecipientData"), limit=9)).entries
    assert entry.target == hash_of(ANN)


async def test_export_needs_the_scope_admin(api: RunningApi) -> None:
    answer = await api.call("GET", f"/recipients/{ANN}/export")
    answer.problem(403, "insufficient-scope")
