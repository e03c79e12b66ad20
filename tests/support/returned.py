"""Bounce messages and complaints about e-mails of tests."""

from __future__ import annotations

from babygun.email.return_path import local_part, of_recipient
from babygun.store import Store
from babygun.store.return_path_keys import ReturnPathKeys


async def return_path(
    store: Store, email_id: str, recipient: str, *, client: str = "client"
) -> str:
    """The return path of a recipient that no client has retried."""
    key = await ReturnPathKeys(store).current()
    path = of_recipient(email_id, recipient, 0, client)
    return f"{local_part(path, key.secret)}@bounces.example.com"


def report(recipient: str, *, action: str = "failed", status: str = "5.1.1") -> bytes:
    """A delivery status notification about one recipient."""
    return f"""\
From: MAILER-DAEMON@mx.example.org
Subject: Undelivered Mail Returned to Sender
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: text/plain

I'm sorry.

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.org

Final-Recipient: rfc822; {recipient}
Action: {action}
Status: {status}
Diagnostic-Code: smtp; {status[0]}50 {status} <{recipient}>: no such user here

--b--
""".encode()


def feedback(recipient: str, message: bytes) -> bytes:
    """A complaint in ARF about a message, as its server has it."""
    head = message.replace(b"\r\n", b"\n").partition(b"\n\n")[0].decode()
    return f"""\
From: feedback@isp.example
Subject: complaint
Content-Type: multipart/report; report-type=feedback-report; boundary=b

--b
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: isp.example/1
Version: 1
Original-Rcpt-To: {recipient}

--b
Content-Type: message/rfc822

{head}

--b--
""".encode()
