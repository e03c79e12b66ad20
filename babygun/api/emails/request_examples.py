"""Bodies of the calls that send e-mails, for the OpenAPI document. The tests send each of them."""

from __future__ import annotations

import base64
from typing import Any

_CALENDAR = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Example//Shop//EN
METHOD:REQUEST
BEGIN:VEVENT
UID:4711@shop.example.com
DTSTAMP:20261125T090000Z
DTSTART:20261127T090000Z
DTEND:20261127T100000Z
SUMMARY:Fitting
ORGANIZER:mailto:shop@example.com
ATTENDEE;RSVP=TRUE:mailto:ann@example.org
END:VEVENT
END:VCALENDAR
""".replace("\n", "\r\n")
EMAILS: dict[str, Any] = {
    "plain text": {
        "sender": "Shop <shop@example.com>",
        "to": "ann@example.org",
        "subject": "Your order",
        "body": "Thank you!\n",
    },
    "everything": {
        "sender": "Shop <shop@example.com>",
        "to": ["Ann <ann@example.org>", "bob@example.org"],
        "cc": "accounts@example.com",
        "bcc": ["archive@example.com"],
        "reply_to": "help@example.com",
        "subject": "Your order № 4711",
        "body": "Thank you! The invoice is attached.\n",
        "html": '<p>Thank you! The invoice is attached.</p><img src="cid:logo">',
        "headers": {"X-Order": "4711", "List-Unsubscribe": "<https://shop.example.com/off>"},
        "attachments": [
            {
                "filename": "invoice.txt",
                "content_type": "text/plain; charset=utf-8",
                "content": "NDcxMTogMTIuMDAgRVVSCg==",
            },
            {
                "filename": "logo.gif",
                "content_type": "image/gif",
                "content": "R0lGODlhAQABAAAAACwAAAAAAQABAAA=",
                "content_id": "logo",
            },
        ],
        "tags": ["order", "invoice"],
        "metadata": {"order": "4711"},
    },
    "an invitation": {
        "sender": "shop@example.com",
        "to": "ann@example.org",
        "subject": "Fitting",
        "body": "See you on Friday at 10.\n",
        "attachments": [
            {
                "filename": "invite.ics",
                "content_type": "text/calendar; method=REQUEST",
                "content": base64.b64encode(_CALENDAR.encode()).decode(),
            }
        ],
    },
    "recipients by kind, headers as lines": {
        "sender": "shop@example.com",
        "recipients": [
            {"email": "ann@example.org", "kind": "to"},
            {"email": "archive@example.com", "kind": "bcc"},
        ],
        "headers": ["X-Order: 4711"],
        "subject": "Your order",
        "body": "Thank you!\n",
    },
}
_NOTE: dict[str, Any] = {
    "sender": "shop@example.com",
    "to": "ann@example.org",
    "subject": "Your order",
    "body": "It is on its way.\n",
}
BATCHES: dict[str, Any] = {
    "two": [_NOTE, _NOTE | {"to": "bob@example.org"}],
    "with one that breaks a rule": [_NOTE, _NOTE | {"to": "bob"}],
}
