"""What etcd holds of TLS reports: counts of each worker process, and the reports made of them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

# RFC 8460, 4.4. sts: MTA-STS. tlsa: DANE.
PolicyType = Literal["sts", "tlsa", "no-policy-found"]
PlaceState = Literal["waiting", "sent", "failed"]


class ReportedPolicy(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What was demanded of connections, as a report quotes it (RFC 8460, 4.4).

    ``domain``: the recipients'; of TLSA records the mail host. ``lines``: of the MTA-STS policy, or
    the TLSA records. ``mx``: the names of hosts in the MTA-STS policy.
    """

    type: PolicyType
    domain: str
    lines: tuple[str, ...] = ()
    mx: tuple[str, ...] = ()


class Failure(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Sessions that failed alike. ``result``: by RFC 8460, 4.3. ``reason``: that of the first one.

    ``host``, ``address``: the mail host's. ``source``: our address. Each is empty where it is not
    known.
    """

    result: str
    count: int
    host: str = ""
    address: str = ""
    source: str = ""
    reason: str = ""


class PolicyCount(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Sessions under one policy."""

    policy: ReportedPolicy
    successful: int = 0
    failed: int = 0
    failures: tuple[Failure, ...] = ()


class DomainCount(msgspec.Struct, frozen=True, gc=False):
    """``tls-reports/counts/<day>/<domain>/<process>``: what one process counted on a day."""

    policies: tuple[PolicyCount, ...]


class Place(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Where a report goes. ``uri``: mailto: or https:, as the domain's DNS record has it.

    ``tries``: begun ones. ``next_at``: of the next one, as long as it waits. ``email_id``: of the
    e-mail that carries the report. ``reason``: why the last try failed.
    """

    uri: str
    state: PlaceState = "waiting"
    tries: int = 0
    next_at: datetime | None = None
    sent_at: datetime | None = None
    email_id: str = ""
    reason: str = ""


class TlsReport(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """``tls-reports/<state>/<day>/<domain>``: a report, and where it goes.

    ``day``: of UTC, as 2026-11-29. ``organization``, ``contact`` and ``submitter``, our own domain:
    from the settings.
    """

    id: str
    day: str
    domain: str
    made_at: datetime
    organization: str
    contact: str
    submitter: str
    policies: tuple[PolicyCount, ...]
    places: tuple[Place, ...]

    @property
    def open(self) -> bool:
        """Whether it is to be sent still to some place."""
        return any(place.state == "waiting" for place in self.places)

    @property
    def successful(self) -> int:
        return sum(each.successful for each in self.policies)

    @property
    def failed(self) -> int:
        return sum(each.failed for each in self.policies)
