"""Many e-mails cancelled or tried again in one call."""

from __future__ import annotations

from typing import Any

import pytest

from babygun.api.emails import bulk
from babygun.email.model import Email
from babygun.errors import EtcdUnavailable
from babygun.intake.ids import new_email_id
from babygun.store import Store
from babygun.store.emails import on_request
from babygun.store.emails.reading import get_log
from tests.support.api import EMAIL, RunningApi
from tests.support.tries import GONE, OK, claimed, finished


async def changed(
    api: RunningApi, what: str, ids: list[str], token: str | None = None
) -> dict[str, tuple[str, str | None]]:
    answer = await api.call("POST", f"/emails/{what}", token=token, json={"ids": ids})
    assert answer.status == 200, answer.text
    assert [r["id"] for r in answer.json["results"]] == list(dict.fromkeys(ids))
    assert all((r["detail"] is None) == (r["status"] == "ok") for r in answer.json["results"])
    return {r["id"]: (r["status"], r["email_status"]) for r in answer.json["results"]}


async def test_each_email_is_cancelled_on_its_own(api: RunningApi, store: Store) -> None:
    waits, sent, over, nothing = (
        await api.accepted(),
        await api.accepted(),
        await api.accepted(),
        new_email_id(),
    )
    theirs = await api.accepted(await api.token_for())
    await claimed(store, sent)
    await finished(store, over, {"ann@example.org": OK})
    assert await changed(api, "cancel", [nothing, waits, theirs, sent, "x", over, waits]) == {
        nothing: ("not-found", None),
        waits: ("ok", "cancelled"),
        theirs: ("not-found", None),
        sent: ("conflict", "incomplete"),
        "x": ("not-found", None),
        over: ("conflict", "complete"),
    }
    log = await get_log(store, waits)
    assert (
        log and log[1][-1].event == "cancelled" and log[1][-1].client_id and log[1][-1].request_id
    )
    assert await changed(api, "cancel", [waits, theirs], await api.token_for("admin")) == {
        waits: ("conflict", "cancelled"),
        theirs: ("ok", "cancelled"),
    }


async def test_each_email_is_tried_again_on_its_own(api: RunningApi, store: Store) -> None:
    failed, waits, cancelled = await api.accepted(), await api.accepted(), await api.accepted()
    await finished(store, failed, {"ann@example.org": GONE})
    await on_request.cancel(store, cancelled)
    assert await changed(api, "retry", [failed, waits, cancelled]) == {
        failed: ("ok", "incomplete"),
        waits: ("conflict", "incomplete"),
        cancelled: ("ok", "incomplete"),
    }
    assert (await api.call("GET", f"/emails/{failed}")).json["status"] == "incomplete"


async def test_thousand_emails_are_cancelled_some_at_a_time(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = await api.call("POST", "/emails/batch", json=[EMAIL] * bulk.MAX_IDS)
    ids = [result["id"] for result in sent.json["results"]]
    running = most = 0
    cancel = on_request.cancel

    async def counted(*args: Any, **kwargs: Any) -> Email:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            return await cancel(*args, **kwargs)
        finally:
            running -= 1

    monkeypatch.setattr(on_request, "cancel", counted)
    assert set((await changed(api, "cancel", ids)).values()) == {("ok", "cancelled")}
    assert 1 < most <= bulk.AT_ONCE


async def test_etcd_that_stops_answering_in_between_is_reported_for_each(
    api: RunningApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [await api.accepted() for _ in range(bulk.AT_ONCE + 3)]
    cancel = on_request.cancel

    async def broken(store: Store, email_id: str, **kwargs: Any) -> Email:
        if email_id == ids[0]:
            return await cancel(store, email_id, **kwargs)
        raise EtcdUnavailable

    monkeypatch.setattr(on_request, "cancel", broken)
    found = await changed(api, "cancel", ids)
    assert found[ids[0]] == ("ok", "cancelled") and {found[email_id] for email_id in ids[1:]} == {
        ("unavailable", None)
    }
    (await api.call("POST", "/emails/cancel", json={"ids": ids[1:]})).problem(
        503, "etcd-unavailable"
    )


async def test_bulk_change_of_what_is_no_list_of_ids_is_refused(api: RunningApi) -> None:
    for what in ["cancel", "retry"]:
        rows: list[tuple[dict[str, Any], str]] = [
            ({}, "ids"),
            ({"ids": []}, "ids"),
            ({"ids": "x"}, "ids"),
            ({"ids": [1]}, "ids[0]"),
            ({"ids": ["x" * 65]}, "ids[0]"),
            ({"ids": ["x"] * 1001}, "ids"),
            ({"ids": ["x"], "status": "failed"}, "status"),
        ]
        for body, field in rows:
            answer = await api.call("POST", f"/emails/{what}", json=body)
            answer.problem(422, "invalid-request", field)


async def test_bulk_change_needs_the_scope(api: RunningApi) -> None:
    reader = await api.token_for("emails:read")
    for what in ("cancel", "retry"):
        (
            await api.call("POST", f"/emails/{what}", token=reader, json={"ids": [new_email_id()]})
        ).problem(403, "insufficient-scope")
