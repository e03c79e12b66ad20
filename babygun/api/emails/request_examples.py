"""Bodies of the calls that send e-mails, for the OpenAPI document. The tests send each of them."""

from __future__ import annotations

from typing import Any

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
