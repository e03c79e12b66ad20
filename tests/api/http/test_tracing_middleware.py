"""The spans of calls: named by their route, and without what a person typed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from babygun.runtime import tracing
from babygun.store import Store
from babygun.store.emails.reading import get_email
from tests.support.api import EMAIL, StartApi
from tests.support.otlp_receiver import OtlpReceiver


@pytest.fixture
async def receiver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OtlpReceiver]:
    async with OtlpReceiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        tracing.configure("babygun-api")
        yield receiver
        await asyncio.to_thread(tracing.shutdown)


async def test_calls_are_named_by_route_and_show_a_path_only_where_it_is_ours(
    receiver: OtlpReceiver, start_api: StartApi
) -> None:
    api = await start_api()
    email_id = await api.accepted()
    await receiver.until(lambda: bool(receiver.named("POST /emails")))
    receiver.spans.clear()
    for method, path in (
        ("GET", f"/emails/{email_id}"),
        ("GET", "/emails/ann@secret.example"),
        ("GET", "/ann@secret.example"),
        ("PATCH", "/emails"),
        ("PROPFIND", "/emails?ann=ann@secret.example"),
    ):
        await api.call(method, path)
    await api.call("GET", "/emails?tag=secret")
    await receiver.until(lambda: sum(span.kind == "server" for span in receiver.spans) == 6)
    calls = [
        (s.name, s.attributes["http.response.status_code"], s.attributes.get("url.path"), s.failed)
        for s in receiver.spans
        if s.kind == "server"
    ]
    assert calls == [
        ("GET /emails/{id}", 200, f"/emails/{email_id}", False),
        ("GET /emails/{id}", 404, None, False),
        ("GET", 404, None, False),
        ("PATCH", 405, None, False),
        ("HTTP", 405, None, False),
        ("GET /emails", 200, "/emails", False),
    ]
    assert b"secret" not in receiver.raw


async def test_batch_is_one_call_whose_emails_all_belong_to_its_trace(
    receiver: OtlpReceiver, start_api: StartApi, store: Store
) -> None:
    api = await start_api()
    answer = await api.call(
        "POST",
        "/emails/batch",
        json=[EMAIL, EMAIL | {"to": "nobody"}, EMAIL],
        headers={"x-batch-validation": "permissive"},
    )
    await receiver.until(lambda: bool(receiver.named("POST /emails/batch")))
    [span] = receiver.named("POST /emails/batch")
    assert (span.attributes["http.response.status_code"], span.attributes["babygun.emails"]) == (
        207,
        2,
    )
    for result in (answer.json["results"][0], answer.json["results"][2]):
        view = await get_email(store, result["id"], content=False)
        assert (
            view is not None
            and view.email.traceparent is not None
            and span.trace_id in view.email.traceparent
        )


async def test_lines_of_a_traced_call_carry_its_trace(
    receiver: OtlpReceiver, start_api: StartApi, caplog: pytest.LogCaptureFixture
) -> None:
    api = await start_api()
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    with caplog.at_level(logging.DEBUG, "babygun.api"):
        await api.call("GET", "/emails", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
        await api.call("GET", "/emails", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-00"})
    lines = [record.fields for record in caplog.records if record.message == "request"]  # type: ignore[attr-defined]
    assert [line.get("trace_id") for line in lines] == [trace, None]


async def test_probes_have_no_span(receiver: OtlpReceiver, start_api: StartApi) -> None:
    api = await start_api()
    await api.call("GET", "/readyz", token="")
    await api.call("GET", "/healthz", token="")
    await api.call("GET", "/emails")
    await receiver.until(lambda: bool(receiver.named("GET /emails")))
    assert not [
        span
        for span in receiver.spans
        if span.attributes.get("http.route") in ("/readyz", "/healthz")
    ]
