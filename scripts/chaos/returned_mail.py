"""Bounce messages and complaints, as mail servers write them (RFC 3464, RFC 5965)."""

from __future__ import annotations


def bounce_message(recipient: str, *, action: str = "failed", status: str = "5.1.1") -> str:
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
"""


def complaint(recipient: str, head: str) -> str:
    """A complaint in ARF. ``head``: the header of the message that it is about."""
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
"""
