"""The answer to ``GET /metrics``, and who gets it."""

from __future__ import annotations

import hmac

from prometheus_client import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from babygun.runtime import metrics  # noqa: F401 (fills the registries)
from babygun.runtime.metric_types import REGISTRIES, Role

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def render(role: Role, accept: str = "") -> tuple[bytes, str]:
    """The metrics of a process of this role, and their Content-Type.

    ``accept``: the request's Accept header. OpenMetrics is sent if it is named there.
    """
    if any(_accepts_openmetrics(media_range) for media_range in accept.split(",")):
        text = generate_openmetrics(REGISTRIES[role])  # type: ignore[no-untyped-call]
        return bytes(text), OPENMETRICS
    return generate_latest(REGISTRIES[role]), TEXT


def may_read(authorization: str | None, token: str) -> bool:
    """Whether this Authorization header opens ``/metrics``.

    ``token``: the setting ``metrics_token``. If it is empty, everybody may read.
    """
    if not token:
        return True
    scheme, _, given = (authorization or "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(
        given.strip().encode(errors="surrogateescape"), token.encode()
    )


def _accepts_openmetrics(media_range: str) -> bool:
    name, *parameters = (part.strip().lower() for part in media_range.split(";"))
    refused = {"q=0", "q=0.0", "q=0.00", "q=0.000"} & set(parameters)
    return name == "application/openmetrics-text" and not refused
