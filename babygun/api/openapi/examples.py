"""Examples for the OpenAPI document. A test checks each against its schema, and sends those that are requests."""

from __future__ import annotations

from typing import Any

EMAIL_ID = "019ab8c2-7f41-7d3a-9c55-2b7e4f1a90c8"
_OTHER_ID = "019ab8c2-6a10-7b44-8d21-5e0c3a77d4f2"
_CLIENT = "3f9c2a51d0e4b768"
_WORKER = "mail-1-8f3a1c9e20"
_AT = "2026-11-25T09:00:00.120000Z"
_CLAIMED = "2026-11-25T09:00:00.128000Z"
_DONE = "2026-11-25T09:00:00.171000Z"

TOKEN_REQUESTS: dict[str, Any] = {
    "everything that the client may do": {
        "client_id": _CLIENT,
        "client_secret": "<the secret that client create printed>",
    },
    "less, and for a short time": {
        "client_id": _CLIENT,
        "client_secret": "<the secret>",
        "scopes": ["emails:send"],
        "expires_in": 300,
    },
    "with HTTP Basic": {"scopes": ["emails:read"]},
}
TOKEN = {
    "token": "eyJhbGciOiJIUzI1NiIsImtpZCI6Ij…",
    "token_type": "Bearer",
    "expires_at": "2026-11-25T10:00:00Z",
    "scopes": ["emails:send", "emails:read"],
}
TOKEN_INFO = {
    "valid": True,
    "client_id": _CLIENT,
    "scopes": ["emails:send", "emails:read"],
    "issued_at": "2026-11-25T09:00:00Z",
    "expires_at": "2026-11-25T10:00:00Z",
    "expires_in": 3540,
}
SESSION_REQUESTS: dict[str, Any] = {
    "id and secret": {
        "client_id": _CLIENT,
        "client_secret": "<the secret that client create printed>",
    }
}
SESSION = {
    "client_id": _CLIENT,
    "name": "shop",
    "scopes": ["emails:send", "emails:read"],
    "expires_at": "2026-11-25T10:00:00Z",
}
CLIENT_REQUESTS: dict[str, Any] = {
    "sends and reads its own": {"name": "shop", "scopes": ["emails:send", "emails:read"]},
    "with an id and a rate": {
        "name": "newsletter",
        "scopes": ["emails:send"],
        "id": "newsletter",
        "rate": 50,
    },
}
_CLIENT_DOCUMENT: dict[str, Any] = {
    "id": _CLIENT,
    "name": "shop",
    "scopes": ["emails:send", "emails:read"],
    "rate": None,
    "created_at": "2026-11-20T14:02:11.480000Z",
}
CLIENTS = {"clients": [_CLIENT_DOCUMENT]}
NEW_CLIENT = _CLIENT_DOCUMENT | {"client_secret": "<64 hex digits>"}
CLIENT_ID = _CLIENT

EMAIL_REQUESTS: dict[str, Any] = {
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
ACCEPTED = {"id": EMAIL_ID, "status": "incomplete", "created_at": _AT, "recipients": 2}
_NOTE: dict[str, Any] = {
    "sender": "shop@example.com",
    "to": "ann@example.org",
    "subject": "Your order",
    "body": "It is on its way.\n",
}
BATCH_REQUESTS: dict[str, Any] = {
    "two": [_NOTE, _NOTE | {"to": "bob@example.org"}],
    "with one that can't be taken": [_NOTE, _NOTE | {"to": "bob"}],
}
BATCH_ACCEPTED = {
    "accepted": 2,
    "refused": 0,
    "results": [
        {"index": 0, "id": EMAIL_ID, "created_at": _AT, "recipients": 1, "problem": None},
        {"index": 1, "id": _OTHER_ID, "created_at": _AT, "recipients": 1, "problem": None},
    ],
}
BATCH_MIXED = {
    "accepted": 1,
    "refused": 1,
    "results": [
        {"index": 0, "id": EMAIL_ID, "created_at": _AT, "recipients": 1, "problem": None},
        {
            "index": 1,
            "id": None,
            "created_at": None,
            "recipients": None,
            "problem": {
                "type": "urn:babygun:problem:invalid-request",
                "title": "The request breaks a rule",
                "status": 422,
                "detail": "The address has no @.",
                "instance": "/emails/batch",
                "request_id": "5d0c1f7ae2b94836",
                "field": "[1].to",
            },
        },
    ],
}


def _recipient(email: str, kind: str, **changes: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "email": email,
        "kind": kind,
        "status": "delivered",
        "status_code": 250,
        "enhanced_code": "2.0.0",
        "status_reason": "Ok: queued as 4F2A91C03D",
        "reply_class": "success",
        "queue": "default",
        "tries": 1,
        "updated_at": _DONE,
    }
    return plain | changes


_BOUNCED = _recipient(
    "bob@example.org",
    "to",
    status="bounced",
    status_code=550,
    enhanced_code="5.1.1",
    status_reason="No such user here",
    reply_class="bad_mailbox",
)
_SUMMARY: dict[str, Any] = {
    "id": EMAIL_ID,
    "client_id": _CLIENT,
    "sender": "shop@example.com",
    "subject": "Your order",
    "recipients": [_recipient("ann@example.org", "to"), _BOUNCED],
    "created_at": _AT,
    "updated_at": _DONE,
    "not_before": None,
    "status": "failed",
    "status_reason": "1 of 2 recipients not reached: 1 bounced (bad_mailbox)",
    "tries": 1,
    "worker_id": _WORKER,
    "tags": ["order"],
    "metadata": {"order": "4711"},
    "size": 312,
    "sending": [],
}
_CONTENT: dict[str, Any] = {
    "sender": "Shop <shop@example.com>",
    "body": "Thank you!\n",
    "html": None,
    "headers": ["X-Order: 4711"],
    "reply_to": [],
    "attachments": [],
    "content_expired": False,
}
EMAIL = _SUMMARY | _CONTENT
_NOTHING: dict[str, Any] = {
    "status_code": None,
    "enhanced_code": None,
    "status_reason": None,
    "reply_class": None,
    "tries": 0,
}
CANCELLED = EMAIL | {
    "status": "cancelled",
    "status_reason": "1 of 1 recipient not reached: 1 cancelled",
    "recipients": [_recipient("ann@example.org", "to", status="cancelled", **_NOTHING)],
    "tries": 0,
    "worker_id": None,
}
RETRIED = EMAIL | {
    "status": "incomplete",
    "status_reason": None,
    "recipients": [
        _recipient("ann@example.org", "to"),
        _recipient("bob@example.org", "to", status="pending", **_NOTHING),
    ],
}
SOURCE = "From: shop@example.com\r\nTo: ann@example.org\r\nSubject: Your order\r\n…"
SCHEDULE: dict[str, Any] = {
    "jobs": [
        {
            "id": EMAIL_ID,
            "queue": "default",
            "due": "2026-11-25T09:10:00.171000Z",
            "recipients": 1,
            "overdue_seconds": 0.0,
        }
    ],
    "cursor": f"2026-11-25T09:10:00.171Z/{EMAIL_ID}/default",
}
BULK_REQUESTS: dict[str, Any] = {"two e-mails": {"ids": [EMAIL_ID, _OTHER_ID]}}
BULK_RESULTS = {
    "results": [
        {"id": EMAIL_ID, "status": "ok", "detail": None, "email_status": "cancelled"},
        {
            "id": _OTHER_ID,
            "status": "conflict",
            "detail": "The e-mail is complete already.",
            "email_status": "complete",
        },
    ]
}
EMAIL_LIST = {"emails": [_SUMMARY], "cursor": _OTHER_ID}

_LINE: dict[str, Any] = {
    "worker_id": None,
    "queue": None,
    "try": None,
    "replies": [],
    "not_before": None,
    "reason": None,
    "previous_worker_id": None,
    "client_id": None,
    "request_id": None,
}
_REPLIES = [
    {
        name: r[name]
        for name in (
            "email",
            "status",
            "status_code",
            "enhanced_code",
            "status_reason",
            "reply_class",
        )
    }
    for r in _SUMMARY["recipients"]
]
LOG = {
    "id": EMAIL_ID,
    "status": "failed",
    "entries": [
        _LINE
        | {"at": _AT, "event": "accepted", "client_id": _CLIENT, "request_id": "5d0c1f7ae2b94836"},
        _LINE
        | {"at": _CLAIMED, "event": "claimed", "worker_id": _WORKER, "queue": "default", "try": 1},
        _LINE
        | {
            "at": _DONE,
            "event": "bounced",
            "worker_id": _WORKER,
            "queue": "default",
            "try": 1,
            "replies": _REPLIES,
        },
    ],
}
WORKERS: dict[str, Any] = {
    "workers": [
        {
            "id": _WORKER,
            "pid": 4242,
            "hostname": "mail-1",
            "ip": "192.0.2.10",
            "version": "0.1.0",
            "started_at": "2026-11-25T08:00:00Z",
            "last_checkin": _AT,
            "checkins": 1080,
            "in_flight": 12,
            "slice": [0, 128],
            "draining": False,
            "delivered": 48211,
            "deferred": 312,
            "failed": 17,
        }
    ]
}
OVERVIEW = {
    "at": _AT,
    "rates": {"accepted": 41.2, "delivered": 40.7, "deferred": 0.3, "failed": 0.0},
    "queues": [
        {
            "queue": "default",
            "ready": 14,
            "waiting": 3,
            "oldest_ready_seconds": 0.2,
            "overdue_seconds": 0.0,
        }
    ],
    "in_flight": 12,
    "workers": [{**WORKERS["workers"][0], "heartbeat_age": 1.4}],
    "apis": [
        {
            "id": "web-1-04b7d19c3e",
            "pid": 4110,
            "hostname": "web-1",
            "version": "0.1.0",
            "started_at": "2026-11-25T08:00:00Z",
            "last_checkin": _AT,
            "accepted": 48290,
            "heartbeat_age": 0.8,
        }
    ],
    "etcd": {
        "members": [
            {
                "endpoint": "http://127.0.0.1:2379",
                "ok": True,
                "leader": True,
                "version": "3.6.16",
                "db_bytes": 41943040,
                "db_in_use_bytes": 12582912,
                "quota_bytes": 8589934592,
                "problem": None,
            }
        ],
        "alarms": [],
    },
    "problem": None,
    "history": {
        "start": "2026-11-25T08:59:45Z",
        "step": 5,
        "accepted": [38.4, 40.8, 41.0],
        "delivered": [38.4, 40.6, 40.9],
        "deferred": [0.0, 0.2, 0.4],
        "failed": [0.0, 0.0, 0.0],
    },
}
EVENTS = f'retry: 1000\nid: 4711\n\nevent: gone\ndata: {{"id":"{_OTHER_ID}"}}\nid: 4713.4711\n\nevent: reset\ndata: {{"reason":"fell-behind"}}\nid: 4802\n\n'
ALIVE = {"status": "ok", "version": "0.1.0"}
READY: dict[str, Any] = {"status": "ready", "version": "0.1.0", "warnings": []}

# One sentence and field for each type of problem, by its slug.
PROBLEM_DETAILS: dict[str, tuple[str, str | None]] = {
    "malformed-json": ("The body is not JSON: expected ',' or '}' (byte 32).", None),
    "malformed-request": ("A header is not of the form Name: value.", None),
    "request-timeout": ("The body was not there after 120 s (setting request_timeout).", "body"),
    "uri-too-long": ("Path and query have more than 8190 bytes.", None),
    "headers-too-large": ("A header has more than 8192 bytes.", None),
    "busy": (
        "As many large e-mails are being taken as this server has memory for (setting api_memory).",
        None,
    ),
    "no-token": ("Send a token from POST /tokens as Authorization: Bearer <token>.", None),
    "invalid-token": ("The token has expired.", None),
    "invalid-credentials": ("There is no client with this id and secret.", None),
    "insufficient-scope": ("This call needs the scope emails:send.", None),
    "cross-site": (
        "A call that a cookie authorizes must come from a page of this same address; programs send Authorization: Bearer <token> instead.",
        None,
    ),
    "not-found": (
        "There is no e-mail with this id. E-mails are kept for a time after their end, then removed.",
        None,
    ),
    "method-not-allowed": ("PUT is not among GET, OPTIONS.", None),
    "conflict": ("The e-mail is complete already.", None),
    "idempotency-conflict": (
        "This Idempotency-Key has been used with another request.",
        "Idempotency-Key",
    ),
    "content-gone": ("The e-mail's content is not kept any more.", None),
    "too-large": ("The body is larger than this server takes (setting max_request).", "body"),
    "unsupported-media-type": (
        "Send the body with Content-Type: application/json.",
        "Content-Type",
    ),
    "expectation-failed": ("Only 100-continue can be expected.", None),
    "invalid-request": (
        "Bcc can't be set here: give its addresses in the field bcc, which is never sent along.",
        "headers.Bcc",
    ),
    "too-many-requests": ("The client may send 50 e-mails a second.", None),
    "internal": ("It is in our log under this request id.", None),
    "etcd-unavailable": ("etcd can't be reached.", None),
    "outcome-unknown": (
        "The answer to a write did not arrive. Repeat the call, or read the state first.",
        None,
    ),
    "out-of-space": ("etcd's database has reached its quota and takes no more writes.", None),
    "too-many-waiting": (
        "1000 calls wait at this process already; ask without wait, or again in a moment.",
        None,
    ),
    "no-relay": (
        "An operator must set relay_url or relays (docs/settings.md) before e-mails can be taken.",
        None,
    ),
    "too-many-listeners": (
        "As many listen as this process has room for, or half of these with this client.",
        None,
    ),
    "not-ready": ("The API has not read its clients and keys from etcd yet.", None),
}

METRICS = """\
# HELP babygun_emails_accepted_total e-mails committed to etcd and acknowledged
# TYPE babygun_emails_accepted_total counter
babygun_emails_accepted_total 4711.0
"""
