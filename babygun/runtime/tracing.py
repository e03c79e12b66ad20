"""Traces: one for the whole way of an e-mail, from the client's request to the mail server.

They are on if OpenTelemetry's own variables name a receiver (:func:`configure`). If they are off,
each span is :data:`OFF`, a block with one costs 0.2 µs, and OpenTelemetry is not imported. This
module alone knows OpenTelemetry.

Only a request begins a trace, or continues that of its caller. Everything else is a child of the
task's current span. Without a current span nothing is recorded, so what the sampling leaves out
costs nothing further down. Between processes a trace travels in the e-mail's record.

Attributes are ids, codes and classes; never an address, a subject, a server's text or a secret.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar, Token
from types import TracebackType
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from babygun import __version__
from babygun.errors import SettingsError
from babygun.runtime.logs import get_logger

if TYPE_CHECKING:
    from opentelemetry import trace
    from opentelemetry.context import Context

log = get_logger("tracing")

Kind = Literal["internal", "server", "client", "consumer"]
Value = str | int | bool | Sequence[str] | Sequence[int]

FLUSH_SECONDS = 2.0  # the longest that the end of the process waits for the receiver
# Seconds between two lines for what OpenTelemetry logs. Without a receiver it logs every second.
_LOG_INTERVAL = 60.0
_MAX_TRACESTATE = 512  # characters that W3C Trace Context asks to pass on


class Span:
    """A span that is not recorded: every call does nothing.

    Only a recorded one has a ``trace_id``, ``traceparent`` and ``tracestate``. Ask for
    ``recording`` only before work that is done for the attributes alone.
    """

    __slots__ = ()
    recording = False
    trace_id: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None

    def __enter__(self) -> Span:
        """Makes it the task's current span. It ends with the block, as failed if that raises."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    def set(self, name: str, value: Value) -> None:
        """Sets an attribute."""

    def fail(self, error_type: str) -> None:
        """Marks it as failed. ``error_type``: the name of an exception or of a class of replies."""


OFF = Span()
_current: ContextVar[_Recorded | None] = ContextVar("babygun_span", default=None)
_tracer: _Tracer | None = None


def on() -> bool:
    return _tracer is not None


def current() -> Span:
    """The task's span, or OFF."""
    return OFF if _tracer is None else _current.get() or OFF


def request(name: str, headers: Mapping[str, str]) -> Span:
    """The span of a request from outside; in the trace of its caller, if the headers name one."""
    if _tracer is None:
        return OFF
    return _tracer.start(
        name, "server", _tracer.remote(headers.get("traceparent"), headers.get("tracestate"))
    )


def resume(name: str, traceparent: str | None, tracestate: str | None, *, started_ns: int) -> Span:
    """A span of the trace in an e-mail's record, or OFF. ``started_ns``: its start, Unix time."""
    if _tracer is None or traceparent is None:
        return OFF
    context = _tracer.remote(traceparent, tracestate)
    return _tracer.start(name, "consumer", context, started_ns) if context is not None else OFF


def child(name: str, kind: Kind = "internal", *, started_ns: int | None = None) -> Span:
    """A span below the task's current one; OFF if there is none."""
    if _tracer is None:
        return OFF
    parent = _current.get()
    return OFF if parent is None else parent.child(name, kind, started_ns)


class _Recorded(Span):
    __slots__ = ("_span", "_token", "_tracer", "trace_id", "traceparent", "tracestate")

    def __init__(self, tracer: _Tracer, span: trace.Span) -> None:
        context = span.get_span_context()
        self._tracer, self._span = tracer, span
        self._token: Token[_Recorded | None] | None = None
        self.trace_id = f"{context.trace_id:032x}"
        self.traceparent = (
            f"00-{self.trace_id}-{context.span_id:016x}-{int(context.trace_flags):02x}"
        )
        state = context.trace_state.to_header()
        self.tracestate = state if 0 < len(state) <= _MAX_TRACESTATE else None

    recording = True

    def __enter__(self) -> Span:
        self._token = _current.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._token is not None:
            _current.reset(self._token)
        if kind is not None:
            self.fail(kind.__name__)
        self._span.end()

    def set(self, name: str, value: Value) -> None:
        self._span.set_attribute(name, value)

    def fail(self, error_type: str) -> None:
        self._span.set_attribute("error.type", error_type)
        self._span.set_status(self._tracer.error)

    def child(self, name: str, kind: Kind, started_ns: int | None) -> Span:
        return self._tracer.start(name, kind, self._tracer.below(self._span), started_ns)


class _Tracer:
    """OpenTelemetry with one exporter, set up from its standard variables.

    Raises ImportError if the packages are missing.
    """

    def __init__(self, service: str) -> None:
        from opentelemetry import trace
        from opentelemetry.context import Context
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        resource = Resource.create(
            {
                "service.name": service,
                "service.version": __version__,
                "process.pid": os.getpid(),
                **OTELResourceDetector().detect().attributes,
            }
        )
        self._exporter = OTLPSpanExporter()
        # Else the exit would wait for an absent receiver.
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("babygun", __version__)
        self._extract = TraceContextTextMapPropagator().extract
        self._kinds = {kind.name.lower(): kind for kind in trace.SpanKind}
        self._nothing = Context()
        self.below = trace.set_span_in_context
        self.error = trace.StatusCode.ERROR

    def start(
        self, name: str, kind: Kind, parent: Context | None, started_ns: int | None = None
    ) -> Span:
        """Without a ``parent`` it begins a trace."""
        span = self._tracer.start_span(
            name,
            self._nothing if parent is None else parent,
            self._kinds[kind],
            start_time=started_ns,
        )
        return _Recorded(self, span) if span.is_recording() else OFF

    def remote(self, traceparent: str | None, tracestate: str | None) -> Context | None:
        """The context of another process's span; None if there is none or it can't be read."""
        if traceparent is None:
            return None
        given = {"traceparent": traceparent}
        if tracestate and len(tracestate) <= _MAX_TRACESTATE:
            given["tracestate"] = tracestate
        return self._extract(given) or None

    def shutdown(self) -> None:
        """Sends what is there, in at most FLUSH_SECONDS."""
        flush = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        flush.start()
        flush.join(FLUSH_SECONDS)
        if flush.is_alive():
            # Ends its waits and retries.
            self._exporter.shutdown()  # type: ignore[no-untyped-call, unused-ignore]


class _OneLineAMinute(logging.Handler):
    """Turns what OpenTelemetry logs into at most one line of ours a minute."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._logged = -_LOG_INTERVAL
        self._left_out = 0

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        if now - self._logged < _LOG_INTERVAL:
            self._left_out += 1
            return
        self._logged = now
        log.warning(
            "tracing problem",
            error=record.getMessage()[:300],
            left_out=self._left_out or None,
        )
        self._left_out = 0


def configure(service: str) -> None:
    """Switches traces on if OpenTelemetry's variables ask for it.

    ``service``: our name, unless OTEL_SERVICE_NAME gives another. Raises SettingsError.
    """
    global _tracer
    endpoint = _endpoint()
    if endpoint is None:
        return
    for variable in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        if protocol := os.environ.get(variable):
            if protocol != "http/protobuf":
                raise SettingsError(
                    f"{variable} is {protocol}; Babygun sends traces by http/protobuf only"
                )
            break
    try:
        parts = urlsplit(endpoint[1])
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise SettingsError(f"{endpoint[0]} must be a URL such as http://127.0.0.1:4318")
    handler = _OneLineAMinute()
    for name in ("opentelemetry", "urllib3"):
        logger = logging.getLogger(name)
        logger.handlers[:], logger.propagate = [handler], False
    # As a warning it would quote what is wrong in a client's tracestate.
    logging.getLogger("opentelemetry.trace.span").setLevel(logging.ERROR)
    try:
        _tracer = _Tracer(service)
    except ImportError as error:
        raise SettingsError(
            f"{endpoint[0]} is set, but what sends traces is not installed (no {error.name}):"
            " pip install 'babygun[tracing]'"
        ) from None
    except ValueError as error:  # of OpenTelemetry's own variables
        raise SettingsError(f"OpenTelemetry's variables can't be used: {error}") from None


def shutdown() -> None:
    """Sends what is left, in at most FLUSH_SECONDS, and switches traces off."""
    global _tracer
    tracer, _tracer = _tracer, None
    if tracer is not None:
        tracer.shutdown()


def _endpoint() -> tuple[str, str] | None:
    """The variable that names the receiver, and its value; None if no traces are wanted."""
    if (
        os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
        or os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none"
    ):
        return None
    for variable in ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        if value := os.environ.get(variable, "").strip():
            return variable, value
    return None
