"""Made-up connections to mail hosts, what their domain demanded, and a report."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from babygun.email.model import TlsResult
from babygun.routing.mx import MailHosts
from babygun.routing.mx_destinations import MxDestination
from babygun.routing.server import Server
from babygun.routing.sites import Site
from babygun.routing.sts import StsPolicy
from babygun.routing.tls_policy import NO_DEMANDS, DomainPolicy, TlsPolicy
from babygun.smtp.tls_checks import TlsSession
from babygun.store.tls_reports.records import (
    Failure,
    Place,
    PolicyCount,
    ReportedPolicy,
    TlsReport,
)

STS = StsPolicy("enforce", ("*.a.example",), 86400)
GOOD = TlsResult(version="1.3")
FAILURE = Failure(
    "certificate-expired", 100, "mx1.a.example", "192.0.2.7", "198.51.100.1", "has expired"
)
POLICY = ReportedPolicy("sts", "a.example", ("version: STSv1", "mode: testing"), ("*.a.example",))
REPORT = TlsReport(
    id="2026-11-29.0123@ours.example",
    day="2026-11-29",
    domain="a.example",
    made_at=datetime(2026, 11, 30, 2, tzinfo=UTC),
    organization="Ours",
    contact="post@ours.example",
    submitter="ours.example",
    policies=(PolicyCount(POLICY, 5326, 100, (FAILURE,)),),
    places=(Place("mailto:tls@a.example"),),
)


def to_domain(
    domain: str = "a.example", policy: DomainPolicy = NO_DEMANDS, **fields: Any
) -> MxDestination:
    unused = cast(Any, None)
    given = {"tls": "opportunistic", "tls_min": "1.2", "hosts": cast(MailHosts, unused)}
    return MxDestination(
        f"mx:{domain}",
        cast(Site, unused),
        "pool",
        5,
        looks=unused,
        policy=policy,
        **{**given, **fields},
    )


def session(
    result: TlsResult = GOOD,
    why: str = "",
    policy: TlsPolicy | None = None,
    host: str = "mx.a.example",
) -> TlsSession:
    server = Server(host, 25, "192.0.2.7", "198.51.100.1")
    if policy is not None:
        server = Server(host, 25, "192.0.2.7", "198.51.100.1", policy=policy)
    return TlsSession(server, result, why)
