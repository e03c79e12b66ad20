"""What a report says, and its names, as RFC 8460 has them."""

from __future__ import annotations

import gzip
import json

from babygun.store.tls_reports.records import DomainCount
from babygun.tls_reports.report import document, file_name, merged, packed, subject, text
from tests.support.tls_reports import REPORT


def test_document_has_the_fields_of_the_standard() -> None:
    assert document(REPORT) == {
        "organization-name": "Ours",
        "date-range": {
            "start-datetime": "2026-11-29T00:00:00Z",
            "end-datetime": "2026-11-29T23:59:59Z",
        },
        "contact-info": "post@ours.example",
        "report-id": "2026-11-29.0123@ours.example",
        "policies": [
            {
                "policy": {
                    "policy-type": "sts",
                    "policy-string": ["version: STSv1", "mode: testing"],
                    "policy-domain": "a.example",
                    "mx-host": ["*.a.example"],
                },
                "summary": {
                    "total-successful-session-count": 5326,
                    "total-failure-session-count": 100,
                },
                "failure-details": [
                    {
                        "result-type": "certificate-expired",
                        "sending-mta-ip": "198.51.100.1",
                        "receiving-mx-hostname": "mx1.a.example",
                        "receiving-ip": "192.0.2.7",
                        "failed-session-count": 100,
                        "failure-reason-code": "has expired",
                    }
                ],
            }
        ],
    }
    assert json.loads(gzip.decompress(packed(REPORT))) == document(REPORT)
    assert packed(REPORT) == packed(REPORT), "each try sends the same bytes"


def test_names_of_a_report_are_those_of_the_standard() -> None:
    assert file_name(REPORT) == ("ours.example!a.example!1795910400!1795996799!0123.json.gz")
    assert subject(REPORT) == (
        "Report Domain: a.example Submitter: ours.example Report-ID: <2026-11-29.0123@ours.example>"
    )
    assert "should: 5326\n" in text(REPORT) and "did not: 100\n" in text(REPORT)


def test_counts_of_several_workers_make_one_report() -> None:
    count = DomainCount(REPORT.policies)
    [policy] = merged([count, count])
    assert (policy.successful, policy.failed, policy.failures[0].count) == (10652, 200, 200)
