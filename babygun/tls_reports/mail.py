"""Sends a TLS report by mail: an e-mail of a client that holds the sender's domain.

Receivers ignore a report without a DKIM signature of the sender's domain (RFC 8460, 5.3). So a
client has to hold that domain. Policies do not keep the e-mail back: it may be about a broken one.
"""

from __future__ import annotations

import time
from datetime import timedelta

from babygun.email.addresses import to_ascii_domain
from babygun.email.compose import new_email
from babygun.email.ids import created_ms, email_id
from babygun.email.model import Attachment, Content, Recipient
from babygun.email.sending_domains import SendingDomain, name_and_parents
from babygun.errors import BabygunError
from babygun.routing.routes import Routes
from babygun.runtime.clock import at_ms
from babygun.runtime.identifiers import new_short_id
from babygun.store import Store
from babygun.store.emails.acceptance import accept
from babygun.store.emails.new_email import prepare
from babygun.store.tls_reports.records import TlsReport
from babygun.tls_reports.report import MEDIA_TYPE, file_name, packed, subject, text

TAG = "tls-report"
_EXPIRES_AFTER = timedelta(days=1)  # RFC 8460, 5.5


class CannotMail(BabygunError):
    """A report can't be an e-mail, for the reason in the text."""


def new_id() -> str:
    """The id of an e-mail that is to be stored."""
    return email_id(time.time_ns(), new_short_id())


async def store_email(
    store: Store, routes: Routes, report: TlsReport, address: str, email_id: str
) -> None:
    """Stores the e-mail, unless it is there: one id is stored once. Raises CannotMail, EtcdError.

    ``email_id``: of :func:`new_id`.
    """
    sender = store.settings.tls_report_sender
    client_id = _signing(store, sender).clients[0]
    now = at_ms(created_ms(email_id))
    email = new_email(
        email_id,
        client_id=client_id,
        sender=sender,
        subject=subject(report),
        recipients=(Recipient(address, "to", routes.queue_for(address)),),
        now=now,
        expires_at=now + _EXPIRES_AFTER,
        tags=(TAG,),
    )
    await accept(store, client_id, prepare(store, email, content_of(report, sender, address)))


def content_of(report: TlsReport, sender: str, address: str) -> Content:
    """RFC 8460, 5.3. The header TLS-Required is of RFC 8689."""
    return Content(
        sender=sender,
        subject=subject(report),
        to=(address,),
        headers=(
            ("TLS-Report-Domain", report.domain),
            ("TLS-Report-Submitter", report.submitter),
            ("TLS-Required", "No"),
            ("Auto-Submitted", "auto-generated"),
        ),
        body=text(report),
        attachments=(Attachment(file_name(report), MEDIA_TYPE, packed(report)),),
        report="tlsrpt",
    )


def _signing(store: Store, sender: str) -> SendingDomain:
    """The sending domain whose key signs mail of this sender. Raises CannotMail."""
    domain = to_ascii_domain(sender).rpartition("@")[2].lower()
    names = name_and_parents(domain)
    found = next((one for name in names if (one := store.domains.get(name))), None)
    if found is None:
        raise CannotMail(
            f"{domain} is no sending domain, so no DKIM key would sign the report: make it one"
            f" with babygun domains create {domain}"
        )
    if not any(one.state == "signing" for one in found.selectors):
        raise CannotMail(
            f"no DKIM key of {found.name} signs yet: its record is not seen in DNS"
            f" (babygun domains verify {found.name})"
        )
    return found
