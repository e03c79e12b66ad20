"""What the calls on sending domains answer, and how it is made of what the store holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from babygun.api.access.fields import CLIENT_ID
from babygun.api.domains.examples import NAME, RECORDS, SELECTOR
from babygun.email.domain_alarms import Cause, DomainAlarm, remedy
from babygun.email.model import client_id_of
from babygun.email.sending_domains import (
    DkimAlgorithm,
    DnsRecord,
    DomainStatus,
    RecordStatus,
    SelectorState,
    SendingDomain,
)

_Moment = Annotated[datetime, Meta(examples=["2026-11-25T09:00:00.120000Z"])]


class RecordDocument(msgspec.Struct, frozen=True):
    """A record for the domain's DNS zone, and what the last look into DNS gave.

    ``purpose``: dkim:<selector>, spf, dmarc, return_path, return_path_spf, tls_rpt, mta_sts.
    ``status``: unchecked: nobody has asked DNS yet; verified; missing; wrong; unknown: DNS did not
    answer; optional: a hint that is not followed, and that does not count.
    """

    purpose: Annotated[str, Meta(examples=[f"dkim:{SELECTOR}"])]
    type: Annotated[str, Meta(examples=["TXT"])]
    name: Annotated[str, Meta(examples=[f"{SELECTOR}._domainkey.{NAME}"])]
    value: Annotated[
        str,
        Meta(description="What to put there.", examples=["v=DKIM1; k=rsa; p=<the public key>"]),
    ]
    status: Annotated[RecordStatus, Meta(examples=["unchecked"])]
    found: Annotated[
        list[str],
        Meta(description="What DNS has. Show it as text: others wrote it.", examples=[[]]),
    ]
    sentence: Annotated[str, Meta(description="What is wrong, and the remedy.", examples=[""])]


class SelectorDocument(msgspec.Struct, frozen=True):
    """A DKIM key. The private one is never shown.

    ``state``: new: it waits until DNS has it; signing; old: it is kept until no mail that it has
    signed is under way.
    """

    name: Annotated[str, Meta(examples=[SELECTOR])]
    algorithm: Annotated[DkimAlgorithm, Meta(examples=["rsa2048"])]
    state: Annotated[SelectorState, Meta(examples=["new"])]
    created_at: _Moment
    seen_at: Annotated[datetime | None, Meta(description="When DNS had it first.")]
    signing_since: datetime | None
    old_since: datetime | None


class DomainAlarmDocument(msgspec.Struct, frozen=True):
    """A mail server says that the domain's mail is not authenticated.

    ``cause``: spf, dkim, dmarc (the domain has no policy), alignment (neither SPF nor DKIM speaks
    for the domain in From), null_mx, unauthenticated (the server does not say more).
    """

    domain: Annotated[str, Meta(examples=[NAME])]
    cause: Annotated[Cause, Meta(examples=["spf"])]
    sentence: Annotated[
        str,
        Meta(
            description="The remedy: it names the record to repair.",
            examples=["SPF does not allow our address. Repair the spf record of example.com."],
        ),
    ]
    site: Annotated[str, Meta(description="Who says so.", examples=["mx:google"])]
    status_code: Annotated[int | None, Meta(examples=[421])]
    enhanced_code: Annotated[str | None, Meta(examples=["4.7.27"])]
    status_reason: Annotated[
        str,
        Meta(description="Its words. Show them as text.", examples=["SPF did not pass"]),
    ]
    since: _Moment
    at: Annotated[
        datetime,
        Meta(
            description="The last refusal. They are written once an hour. After a day without one"
            " the alarm ends.",
            examples=["2026-11-25T10:00:00.120000Z"],
        ),
    ]


class DomainDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A sending domain.

    ``status``: verified: DNS has all that counts; failed: a record is wrong there, or one is gone
    that was there; pending: some are not there yet.
    """

    name: Annotated[str, Meta(examples=[NAME])]
    status: Annotated[DomainStatus, Meta(examples=["pending"])]
    checked_at: Annotated[datetime | None, Meta(description="When DNS was asked last.")]
    alarms: Annotated[
        list[DomainAlarmDocument],
        Meta(description="What mail servers say of its mail.", examples=[[]]),
    ]
    records: Annotated[
        list[RecordDocument],
        Meta(description="For the domain's DNS zone.", examples=[RECORDS]),
    ]
    selectors: list[SelectorDocument]
    return_path: Annotated[
        str,
        Meta(
            description="The domain to which bounce messages of its mail come.",
            examples=[f"bounces.{NAME}"],
        ),
    ]
    clients: Annotated[
        list[str] | None,
        Meta(
            description="Who holds it, by id. Null for callers without the scope admin.",
            examples=[None, [CLIENT_ID]],
        ),
    ]
    created_at: _Moment
    updated_at: _Moment


class DomainList(msgspec.Struct, frozen=True):
    """A page of domains, by name."""

    domains: list[DomainDocument]
    cursor: Annotated[str | None, Meta(description="For the next page; null: there is none.")]


def domain_document(
    domain: SendingDomain,
    records: Sequence[DnsRecord],
    alarms: Sequence[DomainAlarm],
    *,
    with_clients: bool,
) -> DomainDocument:
    """``records``: those that the domain wants now, each as the last look found it."""
    return DomainDocument(
        name=domain.name,
        status=domain.status,
        checked_at=domain.verified.at if domain.verified else None,
        alarms=[alarm_document(one) for one in alarms],
        records=[_record(one) for one in records],
        selectors=[
            SelectorDocument(
                one.name,
                one.algorithm,
                one.state,
                one.created_at,
                one.seen_at,
                one.signing_since,
                one.old_since,
            )
            for one in domain.selectors
        ],
        return_path=domain.return_path,
        clients=[client_id_of(one) for one in domain.clients] if with_clients else None,
        created_at=domain.created_at,
        updated_at=domain.updated_at,
    )


def alarm_document(alarm: DomainAlarm) -> DomainAlarmDocument:
    return DomainAlarmDocument(
        alarm.domain,
        alarm.cause,
        remedy(alarm.cause, alarm.domain),
        alarm.site,
        alarm.code,
        alarm.enhanced_code,
        alarm.text,
        alarm.since,
        alarm.at,
    )


def _record(record: DnsRecord) -> RecordDocument:
    return RecordDocument(
        record.purpose,
        record.type,
        record.name,
        record.value,
        record.status,
        list(record.found),
        record.sentence,
    )
