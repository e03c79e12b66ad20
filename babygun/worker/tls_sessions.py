"""Counts what connections got of TLS, and logs where they violate a domain's policy."""

from __future__ import annotations

from babygun.email.model import TlsResult
from babygun.routing.destination import Destination
from babygun.runtime.logs import get_logger
from babygun.runtime.metrics import TLS_SESSIONS
from babygun.smtp.tls_checks import TlsSession

log = get_logger("worker")


def count_session(destination: Destination, session: TlsSession) -> None:
    """Counts a connection that a queue's mail used, or that TLS was a reason not to use."""
    result = session.result
    TLS_SESSIONS[destination.site.label, result.policy, _got(result)].inc()
    if result.failure and result.policy != "none":
        log.warning(
            "tls policy violated",
            queue=destination.name,
            server=session.server.endpoint,
            policy=result.policy,
            failure=result.failure,
            reason=session.why,
        )


def _got(result: TlsResult) -> str:
    if not result.connected:
        return "failed"
    if not result.version:
        return "plain"
    return "verified" if result.verified else "encrypted"
