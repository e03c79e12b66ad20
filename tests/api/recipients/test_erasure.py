"""DELETE /recipients/{address}: the report, the parameters, the audit and the log."""

from __future__ import annotations

import pytest

from babygun.api.recipients import erasure
from babygun.email.addresses import hash_of
from babygun.email.erasure import MARK
from babygun.store import Store
from babygun.store.audit.listing import Wanted, list_entries
from tests.support.api import RunningApi

ANN = "ann@example.org"


async def test_recipient_is_counted_then_erased_and_the_audit_has_a_hash(
    api: RunningApi, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    admin = await api.token_for("admin")
    alone, both = await api.accepted(), await api.accepted(to=[ANN, "bob@example.org"])
    suppressed = await api.call("POST", "/suppressions", token=admin, json={"email": ANN})
    assert suppressed.status == 201
    path = "/recipients/Ann@example.org"
    dry = await api.call("DELETE", path, token=admin, params={"dry_run": "true"})
    assert dry.status == 200, dry.text
    counts = {"deleted": 1, "erased": 1, "notices": 0, "suppressions": 1, "under_way": 0}
    assert dry.json.items() >= {"dry_run": True, "cursor": None, **counts}.items()
    done = await api.call("DELETE", path, token=admin)
    assert done.json.items() >= {"dry_run": False, "cursor": None, **counts}.items()

    assert (await api.call("GET", f"/emails/{alone}")).status == 404
    shown = (await api.call("GET", f"/emails/{both}")).json
    assert ANN not in str(shown)
    assert [r["email"] for r in shown["recipients"]] == ["erased@erased.invalid", "bob@example.org"]
    assert shown["recipients"][0]["erased_at"] and shown["recipients"][0]["status"] == "cancelled"
    found = await api.call("GET", f"/suppressions/{ANN}", token=admin)
    assert [one["email"] for one in found.json["suppressions"]] == [hash_of(ANN)]
    taken_off = await api.call("DELETE", f"/suppressions/{ANN}", token=admin)
    assert len(taken_off.json["suppressions"]) == 1

    entries = (await list_entries(store, Wanted(target=hash_of(ANN)), limit=9)).entries
    assert [e.action for e in entries] == [
        "removeSuppression",
        "eraseRecipientData",
        "eraseRecipientData",
    ]
    assert entries[2].details.items() >= {"dry_run": "yes", "deleted": "1", "erased": "1"}.items()
    assert entries[1].outcome == "done" and entries[1].details["dry_run"] == "no"
    assert ANN not in repr(entries).lower()
    assert ANN not in caplog.text.lower(), "no log of the process names the address"


async def test_long_erasure_goes_on_with_the_cursor(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "_SECONDS", 0.0)
    admin = await api.token_for("admin")
    email_id = await api.accepted()
    params: dict[str, str] = {}
    deleted = calls = 0
    while True:
        report = (await api.call("DELETE", f"/recipients/{ANN}", token=admin, params=params)).json
        deleted, calls = deleted + report["deleted"], calls + 1
        if report["cursor"] is None:
            break
        params = {"cursor": report["cursor"]}
    assert deleted == 1 and calls > 4
    assert (await api.call("GET", f"/emails/{email_id}")).status == 404


async def test_erasure_needs_the_scope_admin_and_refuses_wrong_parameters(api: RunningApi) -> None:
    (await api.call("DELETE", f"/recipients/{ANN}")).problem(403, "insufficient-scope")
    admin = await api.token_for("admin")
    wrong = await api.call("DELETE", "/recipients/nobody", token=admin)
    wrong.problem(422, "invalid-request", "address")
    mark = await api.call("DELETE", f"/recipients/{MARK.upper()}", token=admin)
    assert "nobody's" in mark.problem(422, "invalid-request", "address")["detail"]
    for name, value in (("dry_run", "1"), ("suppressions", "keep"), ("cursor", "x")):
        path = f"/recipients/{ANN}"
        answer = await api.call("DELETE", path, token=admin, params={name: value})
        answer.problem(422, "invalid-request", name)
