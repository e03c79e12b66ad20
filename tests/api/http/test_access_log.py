"""Request ids, and the line and the metrics of each call."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from babygun.store import Store
from tests.support.api import RunningApi, basic


def call_lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The fields of the log lines of calls."""
    return [vars(record)["fields"] for record in caplog.records if record.message == "request"]


async def test_request_id_of_the_caller_is_kept_and_logged(
    api: RunningApi, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "babygun.api"):
        answer = await api.call("GET", "/emails", headers={"X-Request-Id": "my-request:1.2_3"})
    assert answer.headers["X-Request-Id"] == "my-request:1.2_3"
    lines = call_lines(caplog)
    assert len(lines) == 1
    assert lines[0]["ms"] >= 0
    assert {name: lines[0][name] for name in ("method", "path", "status", "request_id")} == {
        "method": "GET",
        "path": "/emails",
        "status": 200,
        "request_id": "my-request:1.2_3",
    }
    assert lines[0]["client_id"]


async def test_lines_of_a_call_name_its_request_client_and_email(
    api: RunningApi, caplog: pytest.LogCaptureFixture
) -> None:
    client, secret = await api.client()
    with caplog.at_level(logging.DEBUG, "babygun"):
        tokens = await api.call("POST", "/tokens", token="", headers=basic(client.id, secret))
        sent = await api.send(tokens.json["token"], http_headers={"Idempotency-Key": "k"})
        again = await api.send(tokens.json["token"], http_headers={"Idempotency-Key": "k"})
        shown = await api.call("GET", f"/emails/{sent.json['id']}", token=tokens.json["token"])
        missing = await api.call("GET", "/emails/ann@example.org", token=tokens.json["token"])
        nobody = await api.call("GET", f"/emails/{sent.json['id']}", token="")
    email_id = sent.json["id"]
    expected = [
        (tokens, client.id, None),
        (sent, client.id, email_id),
        (again, client.id, email_id),
        (shown, client.id, email_id),
        (missing, client.id, None),
        (nobody, None, email_id),
    ]
    lines = call_lines(caplog)
    assert [
        (line["request_id"], line.get("client_id"), line.get("email_id")) for line in lines
    ] == [(a.headers["X-Request-Id"], client, email) for a, client, email in expected]


async def test_line_of_a_call_that_fails_on_our_side_names_them_too(
    api: RunningApi, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    email_id = await api.accepted()
    await store.client.put(store.keys.email(email_id), b"no JSON")
    with caplog.at_level(logging.INFO, "babygun"):
        answer = await api.call("GET", f"/emails/{email_id}")
    answer.problem(500, "internal")
    lines = [
        (record.message, record.fields)  # type: ignore[attr-defined]
        for record in caplog.records
        if record.name == "babygun.api" and record.message != "signing key created"
    ]
    assert [event for event, _ in lines] == ["request failed", "request"]
    for _, line in lines:
        assert (line["request_id"], line["email_id"]) == (answer.headers["X-Request-Id"], email_id)
        assert line["client_id"]


async def test_reads_that_succeed_are_logged_for_debugging_only(
    api: RunningApi, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "babygun.api"):
        email_id = (await api.send()).json["id"]
        await api.call("GET", f"/emails/{email_id}")
        await api.call("HEAD", "/emails")
        await api.call("GET", "/emails/none")
    lines = call_lines(caplog)
    assert [(line["method"], line["path"], line["status"]) for line in lines] == [
        ("POST", "/emails", 202),
        ("GET", "/emails/none", 404),
    ]


async def test_request_id_of_no_sane_form_is_replaced(api: RunningApi) -> None:
    for given in ["", "a b", "a" * 65, "<script>", "ä"]:
        answer = await api.call("GET", "/healthz", headers={"X-Request-Id": given})
        assert answer.headers["X-Request-Id"] not in ("", given)


async def test_accepted_email_carries_the_request_id_into_its_log(api: RunningApi) -> None:
    answer = await api.send(http_headers={"X-Request-Id": "r-1"})
    log = (await api.call("GET", f"/emails/{answer.json['id']}/log")).json
    assert log["entries"][0]["request_id"] == "r-1"
