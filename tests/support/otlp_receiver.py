"""A receiver of traces: OTLP over HTTP, in the test's own event loop, on a free port."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.support.processes import PATIENCE


@dataclass(frozen=True)
class Received:
    """A span. ``kind``: ``server``, ``client``, …; ``start`` and ``end`` in ns of Unix time."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    tracestate: str
    start: int
    end: int
    failed: bool
    attributes: dict[str, Any]


class OtlpReceiver:
    """``async with OtlpReceiver() as receiver: … receiver.url …``.

    ``raw``: all received bytes, to see that something is not in them.
    """

    def __init__(self) -> None:
        self.spans: list[Received] = []
        self.raw = b""
        self.url = ""
        self._arrived = asyncio.Condition()

    async def __aenter__(self) -> OtlpReceiver:
        app = web.Application()
        app.router.add_post("/v1/traces", self._take)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/x-protobuf"
        data = await request.read()
        self.raw += data
        for resource in ExportTraceServiceRequest.FromString(data).resource_spans:
            service = _attributes(resource.resource.attributes)["service.name"]
            for scope in resource.scope_spans:
                self.spans += [_received(service, span) for span in scope.spans]
        async with self._arrived:
            self._arrived.notify_all()
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(),
            content_type="application/x-protobuf",
        )

    def named(self, name: str) -> list[Received]:
        return [span for span in self.spans if span.name == name]

    async def until(self, enough: Callable[[], bool], within: float = PATIENCE) -> None:
        async with asyncio.timeout(within), self._arrived:
            await self._arrived.wait_for(enough)


def _received(service: str, span: Span) -> Received:
    kind = Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower()
    ids = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
    failed = span.status.code == Status.STATUS_CODE_ERROR
    return Received(
        service,
        span.name,
        kind,
        *ids,
        span.trace_state,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        failed,
        _attributes(span.attributes),
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return (
        [_value(v) for v in value.array_value.values]
        if kind == "array_value"
        else getattr(value, kind)
    )
