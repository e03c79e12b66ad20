"""What a TLS report says, and its names (RFC 8460, 4 and 5). Pure."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from babygun.store.tls_reports.records import DomainCount, Failure, PolicyCount, TlsReport
from babygun.tls_reports.sums import Sums

MEDIA_TYPE = "application/tlsrpt+gzip"


def merged(counts: Iterable[DomainCount]) -> tuple[PolicyCount, ...]:
    """What all processes have counted of a domain."""
    sums = Sums()
    for count in counts:
        sums.merge(count)
    return sums.count().policies


def document(report: TlsReport) -> dict[str, Any]:
    """The report as its JSON says it (RFC 8460, 4.4)."""
    begin = datetime.fromisoformat(report.day).replace(tzinfo=UTC)
    end = begin + timedelta(days=1, seconds=-1)
    return {
        "organization-name": report.organization,
        "date-range": {"start-datetime": _time(begin), "end-datetime": _time(end)},
        "contact-info": report.contact,
        "report-id": report.id,
        "policies": [_policy(each) for each in report.policies],
    }


def packed(report: TlsReport) -> bytes:
    """The document, compressed. The same report gives the same bytes."""
    return gzip.compress(json.dumps(document(report)).encode(), mtime=0)


def file_name(report: TlsReport) -> str:
    """RFC 8460, 5.1."""
    begin = int(datetime.fromisoformat(report.day).replace(tzinfo=UTC).timestamp())
    unique = report.id.partition("@")[0].rpartition(".")[2]
    return f"{report.submitter}!{report.domain}!{begin}!{begin + 86_399}!{unique}.json.gz"


def subject(report: TlsReport) -> str:
    """RFC 8460, 5.3."""
    return f"Report Domain: {report.domain} Submitter: {report.submitter} Report-ID: <{report.id}>"


def text(report: TlsReport) -> str:
    """What people read in the e-mail."""
    return (
        f"This is a TLS report (RFC 8460) of {report.organization} about mail to {report.domain}"
        f" on {report.day} (UTC).\n\n"
        f"Connections to its mail hosts that used TLS as they should: {report.successful}\n"
        f"Connections that did not: {report.failed}\n\n"
        f"The attached file has the details. Questions: {report.contact}\n"
    )


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _policy(count: PolicyCount) -> dict[str, Any]:
    policy = count.policy
    described: dict[str, Any] = {"policy-type": policy.type}
    if policy.lines:
        described["policy-string"] = list(policy.lines)
    described["policy-domain"] = policy.domain
    if policy.mx:
        described["mx-host"] = list(policy.mx)
    found: dict[str, Any] = {
        "policy": described,
        "summary": {
            "total-successful-session-count": count.successful,
            "total-failure-session-count": count.failed,
        },
    }
    if count.failures:
        found["failure-details"] = [_failure(each) for each in count.failures]
    return found


def _failure(failure: Failure) -> dict[str, Any]:
    """What is not known is left out."""
    fields = {
        "result-type": failure.result,
        "sending-mta-ip": failure.source,
        "receiving-mx-hostname": failure.host,
        "receiving-ip": failure.address,
        "failed-session-count": failure.count,
        "failure-reason-code": failure.reason,
    }
    return {name: value for name, value in fields.items() if value != ""}
