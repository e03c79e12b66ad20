"""Traces from a client's traceparent to the mail server, with each part in its own process."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from babygun.email.model import client_id_of
from tests.support.otlp_receiver import OtlpReceiver, Received
from tests.support.paths import ROOT
from tests.support.processes import Api, api_process, environment, running
from tests.support.rig import Rig, changed
from tests.support.smtp_server import MisbehavingServer

TRACE, CLIENT_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = {"traceparent": f"00-{TRACE}-{CLIENT_SPAN}-01", "tracestate": "vendor=t61rcWkgMzE"}


@pytest.fixture
async def receiver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OtlpReceiver]:
    """Every process that a test starts sends its traces here."""
    async with OtlpReceiver() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        yield receiver


async def send(api: Api, headers: dict[str, str], **email: Any) -> str:
    given = {"sender": "me@example.com", "subject": "privatesubject", "body": "privatebody"} | email
    async with api.session.post(api.url + "/emails", json=given, headers=headers) as answer:
        assert answer.status == 202, await answer.text()
        return str((await answer.json())["id"])


def children(receiver: OtlpReceiver, parent: Received) -> list[str]:
    below = [span for span in receiver.spans if span.parent_id == parent.span_id]
    assert all(span.start >= parent.start for span in below)
    return [span.name for span in sorted(below, key=lambda span: span.start)]


async def test_trace_of_a_client_goes_through_api_etcd_and_worker_to_smtp_for_every_try(
    rig: Rig, smtp: MisbehavingServer, receiver: OtlpReceiver
) -> None:
    async with (
        api_process(rig.store, rig.settings) as api,
        rig.worker_process(log_format="json") as worker,
    ):
        email_id = await send(api, SAMPLED, to="flaky-1private@example.org")
        [email] = await rig.ended(email_id)
        assert (email.status, email.tries) == ("complete", 2)
        await receiver.until(
            lambda: len(receiver.named("deliver")) == 2 and bool(receiver.named("POST /emails"))
        )
        shown = await api.get(f"/emails/{email_id}")
        token = api.session.headers["Authorization"].split()[1]
        assert await worker.terminate() == 0
    assert "traceparent" not in shown

    [call] = receiver.named("POST /emails")
    assert (call.service, call.kind, call.parent_id, call.tracestate, call.failed) == (
        "babygun-api",
        "server",
        CLIENT_SPAN,
        SAMPLED["tracestate"],
        False,
    )
    assert call.attributes.pop("babygun.request_id")
    assert call.attributes == {
        "http.request.method": "POST",
        "http.route": "/emails",
        "http.response.status_code": 202,
        "url.scheme": "http",
        "url.path": "/emails",
        "network.protocol.version": "1.1",
        "babygun.email_id": email_id,
        "babygun.client_id": client_id_of(email.client_id),
    }
    assert children(receiver, call) == ["etcd txn", "deliver", "deliver"]
    tries = sorted(receiver.named("deliver"), key=lambda span: span.start)
    for number, attempt in enumerate(tries, 1):
        assert (attempt.service, attempt.kind, attempt.trace_id, attempt.tracestate) == (
            "babygun-worker",
            "consumer",
            TRACE,
            SAMPLED["tracestate"],
        )
        ids = {
            name: attempt.attributes[f"babygun.{name}"]
            for name in ("email_id", "queue", "try", "worker_id")
        }
        assert ids == {"email_id": email_id, "queue": "main", "try": number, "worker_id": worker.id}
        connects = ["smtp connect"] if number == 1 else []
        # A later try reads who is suppressed by now.
        looked_up = ["etcd read"] if number > 1 else []
        assert children(receiver, attempt) == [
            "etcd claim",
            *looked_up,
            "smtp transaction",
            "etcd finish",
        ]
        [transaction] = [
            span for span in receiver.named("smtp transaction") if span.parent_id == attempt.span_id
        ]
        assert children(receiver, transaction) == connects
        assert transaction.kind == "client"
        expected = ([451], True) if number == 1 else ([250], False)
        assert (transaction.attributes["babygun.reply_codes"], transaction.failed) == expected
        assert (
            transaction.attributes["server.address"],
            transaction.attributes["server.port"],
        ) == ("127.0.0.1", smtp.port)
        [finish] = [
            span for span in receiver.named("etcd finish") if span.parent_id == attempt.span_id
        ]
        assert "etcd txn" in children(receiver, finish)
    assert [span.attributes["babygun.email_status"] for span in tries] == ["incomplete", "complete"]
    assert {span.trace_id for span in receiver.spans if span.service == "babygun-worker"} == {TRACE}
    for private in (b"privat", b"example.org", b"example.com", token.encode(), b"451 "):
        assert private not in receiver.raw
    lines = [json.loads(line) for line in worker.log.splitlines()]
    over = [line for line in lines if line["event"] == "try finished"]
    assert len(over) == 2
    for line in over:
        assert (line["email_id"], line["queue"], line["worker_id"], line["trace_id"]) == (
            email_id,
            "main",
            worker.id,
            TRACE,
        )


async def test_unsampled_caller_leaves_no_span_and_no_trace_in_the_record(
    rig: Rig, smtp: MisbehavingServer, receiver: OtlpReceiver
) -> None:
    async with api_process(rig.store, rig.settings) as api, rig.worker_process():
        unsampled = await send(
            api, {"traceparent": f"00-{TRACE}-{CLIENT_SPAN}-00"}, to="ann@example.org"
        )
        await rig.ended(unsampled)
        sampled = await send(api, {}, to="ann@example.org")
        await rig.ended(sampled)
        await receiver.until(lambda: bool(receiver.named("deliver")))
    assert (await rig.get(unsampled)).traceparent is None
    assert {span.attributes["babygun.email_id"] for span in receiver.named("deliver")} == {sampled}
    assert TRACE not in {span.trace_id for span in receiver.spans}
    assert (await rig.get(sampled)).traceparent is not None


@pytest.mark.parametrize("answers", [False, True], ids=["refuses", "accepts and is silent"])
async def test_receiver_that_is_away_neither_stops_mail_nor_fills_the_log(
    rig: Rig, smtp: MisbehavingServer, monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        if not answers:
            listener.close()
        monkeypatch.setenv(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"http://127.0.0.1:{port}/v1/traces"
        )
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
        monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "20")
        monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10")
        async with (
            api_process(rig.store, rig.settings) as api,
            rig.worker_process(log_format="json") as worker,
        ):
            ids = [await send(api, SAMPLED, to=f"r{n}@example.org") for n in range(40)]
            assert {email.status for email in await rig.ended(*ids)} == {"complete"}
            await worker.terminate()
            await api.process.terminate()
        assert worker.log.count('"tracing problem"') == 1


@pytest.mark.parametrize("command", ["api", "worker"])
async def test_extra_that_is_missing_ends_the_start_with_a_sentence(
    rig: Rig, tmp_path: Path, command: str
) -> None:
    package = tmp_path / "opentelemetry"
    package.mkdir()
    (package / "__init__.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'opentelemetry'\", name='opentelemetry')\n"
    )
    root = ROOT
    env = environment(changed(rig.settings, api_port=0)) | {
        "PYTHONPATH": f"{tmp_path}:{root}",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
    }
    async with running(sys.executable, "-m", "babygun", command, env=env) as process:
        assert await process.ended() == 2
    assert "pip install 'babygun[tracing]'" in process.log
