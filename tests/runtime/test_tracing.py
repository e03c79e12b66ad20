"""Spans: on by OpenTelemetry's variables, nothing without; what comes from outside is checked."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator

import pytest

from babygun.email.model import Email
from babygun.errors import SettingsError
from babygun.etcd import Batcher, EtcdClient, Txn, put
from babygun.runtime import tracing
from babygun.runtime.clock import utc_now
from babygun.store import codec
from tests.support.otlp_receiver import OtlpReceiver
from tests.support.processes import PATIENCE

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture(autouse=True)
def _off_after() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("opentelemetry", "urllib3")]
    yield
    tracing.shutdown()
    for logger in loggers:
        logger.handlers.clear()
        logger.propagate = True


@pytest.fixture
async def receiver(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[OtlpReceiver]:
    """Traces are on in this process, and come here."""
    async with OtlpReceiver() as receiver:
        monkeypatch.setenv(ENDPOINT, receiver.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        monkeypatch.setattr(tracing, "FLUSH_SECONDS", PATIENCE)  # so that nothing is left behind
        tracing.configure("babygun-test")
        assert tracing.on()
        yield receiver
        await asyncio.to_thread(tracing.shutdown)


def test_nothing_of_opentelemetry_is_imported_without_an_endpoint() -> None:
    code = (
        "import sys, babygun.api.app, babygun.worker, babygun.runtime.tracing as t;"
        "t.configure('x');"
        "assert not t.on();"
        "print([m for m in sys.modules if m.startswith('opentelemetry')])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "[]\n"
    )


def test_spans_are_the_one_that_does_nothing_while_traces_are_off() -> None:
    spans = [
        tracing.current(),
        tracing.child("a"),
        tracing.request("a", {"traceparent": TRACEPARENT}),
        tracing.resume("a", TRACEPARENT, None, started_ns=1),
    ]
    assert all(span is tracing.OFF for span in spans)
    with tracing.OFF as span:
        span.set("a", 1)
        span.fail("b")
    assert (span.recording, span.trace_id, span.traceparent, span.tracestate) == (
        False,
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("variable", "value"),
    [("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_TRACES_EXPORTER", "none"), (ENDPOINT, " ")],
)
def test_traces_stay_off_where_a_variable_says_so(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    monkeypatch.setenv(variable, value)
    tracing.configure("babygun-test")
    assert not tracing.on()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        (ENDPOINT, "127.0.0.1:4318", "must be a URL"),
        (ENDPOINT, "http://127.0.0.1:port", "must be a URL"),
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            "ftp://127.0.0.1/",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT must be a URL",
        ),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf only"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "http/protobuf only"),
        ("OTEL_BSP_SCHEDULE_DELAY", "-1", "can't be used"),
    ],
)
def test_variable_that_cant_be_used_is_refused_with_its_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=said):
        tracing.configure("babygun-test")
    assert not tracing.on()


async def test_service_has_our_name_or_that_of_the_variable(
    receiver: OtlpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tracing.request("GET /one", {}):
        pass
    await asyncio.to_thread(tracing.shutdown)  # the receiver answers meanwhile
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mail")
    tracing.configure("babygun-test")
    with tracing.request("GET /two", {}):
        pass
    await receiver.until(lambda: len(receiver.spans) == 2)
    assert [(span.service, span.name) for span in receiver.spans] == [
        ("babygun-test", "GET /one"),
        ("mail", "GET /two"),
    ]


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "rubbish",
        f"00-{'0' * 32}-{SPAN}-01",
        f"ff-{TRACE}-{SPAN}-01",
        TRACEPARENT + "x" * 5000,
        "\udcff",
    ],
)
async def test_traceparent_that_cant_be_read_begins_a_new_trace_and_continues_none(
    receiver: OtlpReceiver, traceparent: str
) -> None:
    with tracing.request("GET /", {"traceparent": traceparent}) as span:
        assert span.recording and span.trace_id != TRACE
    assert tracing.resume("deliver", traceparent, None, started_ns=1) is tracing.OFF


async def test_tracestate_that_is_too_long_or_wrong_is_dropped_and_not_quoted_in_the_log(
    receiver: OtlpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    for state, kept in (
        ("a=1,b=2", "a=1,b=2"),
        ("a=" + "x" * 600, None),
        ("ann@example.org", None),
    ):
        with tracing.request("GET /", {"traceparent": TRACEPARENT, "tracestate": state}) as span:
            assert (span.trace_id, span.tracestate) == (TRACE, kept)
    assert not caplog.records


async def test_unsampled_caller_makes_every_span_below_nothing(receiver: OtlpReceiver) -> None:
    with tracing.request("GET /", {"traceparent": TRACEPARENT[:-1] + "0"}) as span:
        assert span is tracing.OFF
        assert tracing.child("below") is tracing.OFF
    assert tracing.resume("deliver", TRACEPARENT[:-1] + "0", None, started_ns=1) is tracing.OFF


async def test_sampler_of_the_standard_variables_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    tracing.configure("babygun-test")
    assert tracing.on()
    assert tracing.request("GET /", {}) is tracing.OFF


async def test_span_of_a_block_that_raises_is_failed_without_the_exceptions_words(
    receiver: OtlpReceiver,
) -> None:
    with pytest.raises(ValueError), tracing.request("GET /", {}), tracing.child("below"):
        raise ValueError("ann@example.org")
    assert tracing.current() is tracing.OFF
    await receiver.until(lambda: len(receiver.spans) == 2)
    assert {(span.name, span.failed, span.attributes["error.type"]) for span in receiver.spans} == {
        ("GET /", True, "ValueError"),
        ("below", True, "ValueError"),
    }
    assert b"ann@" not in receiver.raw


async def test_transactions_of_one_batch_have_a_span_each_in_their_own_traces(
    receiver: OtlpReceiver, etcd: EtcdClient, etcd_prefix: str
) -> None:
    batcher = Batcher(etcd)

    async def submit(number: int) -> str | None:
        with tracing.request("POST /emails", {}) as span:
            await batcher.submit(Txn([], [put(f"{etcd_prefix}{number}".encode(), b"")]))
            return span.trace_id

    traces = await asyncio.gather(*map(submit, range(3)))
    await batcher.submit(Txn([], [put(f"{etcd_prefix}none".encode(), b"")]))
    await batcher.close()
    await receiver.until(lambda: len(receiver.spans) == 6)
    below = receiver.named("etcd txn")
    assert {span.trace_id for span in below} == set(traces)
    assert len(below) == 3  # none for the RPC itself, and none for the transaction without a trace
    assert [span.attributes for span in below] == [
        {"db.system.name": "etcd", "db.operation.name": "txn", "db.operation.batch.size": 3}
    ] * 3


async def test_read_below_a_span_is_a_span(
    receiver: OtlpReceiver, etcd: EtcdClient, etcd_prefix: str
) -> None:
    with tracing.request("GET /emails", {}):
        await etcd.get(etcd_prefix.encode())
    await etcd.get(etcd_prefix.encode())
    await receiver.until(lambda: len(receiver.spans) == 2)
    [read] = receiver.named("etcd range")
    assert read.kind == "client"


def test_record_without_a_trace_has_no_field_for_it_and_one_with_it_keeps_it() -> None:
    now = utc_now()
    email = Email("id", "client", "me@example.com", "", (), {}, now, now)
    assert b"trace" not in codec.encode_state(email)
    traced = Email(
        "id",
        "client",
        "me@example.com",
        "",
        (),
        {},
        now,
        now,
        traceparent=TRACEPARENT,
        tracestate="a=1",
    )
    assert codec.decode_email(codec.encode_state(traced)) == traced
