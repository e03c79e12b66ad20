"""All that etcd has of one recipient, as lines for an export. Others' data are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from babygun.email.addresses import comparable
from babygun.email.email_events import EmailEvent
from babygun.email.erasure import recipient_of
from babygun.email.model import Content, LogEntry, client_id_of
from babygun.store import codec
from babygun.store.codec import log_unreadable
from babygun.store.emails.reading import get_email, get_log
from babygun.store.erasure.notices import webhook_of
from babygun.store.erasure.search import Hit, Search
from babygun.store.store import Store

_decode_event = msgspec.json.Decoder(EmailEvent).decode


async def export(store: Store, mailbox: str) -> AsyncIterator[dict[str, Any]]:
    """The lines, each with its ``kind``. The last one is of the kind ``end``, and counts them.

    It is not ``complete`` if an event that moved meanwhile may be missing.
    ``mailbox``: an address as it is compared. Raises EtcdError.
    """
    counts = Counter[str]()
    complete = True
    events = set[tuple[str, str]]()  # a notice that moves is found at each place
    async for page in Search(store, mailbox).pages():
        complete = complete and page.whole
        for hit in page.hits:
            try:
                if hit.phase in ("notices", "notices-due", "notices-sent"):
                    event = webhook_of(store.keys, hit), store.keys.last_part(hit.kv.key)
                    if event in events:
                        continue
                    events.add(event)
                line = await _line(store, hit, mailbox)
            except ValueError as error:  # somebody wrote this key by hand
                log_unreadable(hit.kv.key, error)
                continue
            if line is not None:
                counts[line["kind"]] += 1
                yield line
    names = {"emails": "email", "events": "event", "suppressions": "suppression"}
    counted = {name: counts[kind] for name, kind in names.items()}
    yield {"kind": "end", "complete": complete, **counted}


async def _line(store: Store, hit: Hit, mailbox: str) -> dict[str, Any] | None:
    match hit.phase:
        case "emails":
            return await _email(store, store.keys.email_id(hit.kv.key), mailbox)
        case "parts":
            return await _email(store, store.keys.parse_part(hit.kv.key).email_id, mailbox)
        case "suppressions":
            return _suppression(store, hit)
    return _event(store, hit, mailbox)


async def _email(store: Store, email_id: str, mailbox: str) -> dict[str, Any] | None:
    view, logged = await get_email(store, email_id), await get_log(store, email_id)
    if view is None or logged is None:
        return None
    email = view.email
    recipient = recipient_of(email, mailbox)
    if recipient is None:
        return None
    return {
        "kind": "email",
        "id": email.id,
        "client_id": client_id_of(email.client_id),
        "sender": email.sender,
        "subject": email.subject,
        "created_at": email.created_at,
        "tags": email.tags,
        "metadata": email.metadata,
        "recipient": recipient,
        "content": _content(view.content) if view.content else None,
        "log": [entry for each in logged[1] if (entry := _entry(each, mailbox))],
    }


def _content(content: Content) -> dict[str, Any]:
    """What was written to all recipients. Attachments are base64."""
    return {
        "sender": content.sender,
        "subject": content.subject,
        "headers": content.headers,
        "body": content.body,
        "html": content.html,
        "attachments": content.attachments,
    }


def _entry(entry: LogEntry, mailbox: str) -> dict[str, Any] | None:
    """An entry with what it says of this recipient. None: it is about others."""
    replies = [
        reply
        for attempt in entry.attempts
        for reply in attempt.replies
        if comparable(reply.email) == mailbox
    ]
    if entry.attempts and not replies:
        return None
    return {"at": entry.at, "event": entry.event, "reason": entry.reason, "replies": replies}


def _suppression(store: Store, hit: Hit) -> dict[str, Any]:
    client_id, list_name, address = store.keys.parse_suppression(hit.kv.key)
    suppression = codec.decode_suppression(hit.kv.value)
    return {
        "kind": "suppression",
        "client_id": client_id_of(client_id),
        "list": list_name,
        "address": address,
        "suppression": suppression,
    }


def _event(store: Store, hit: Hit, mailbox: str) -> dict[str, Any] | None:
    notice = codec.decode_notice(hit.kv.value)
    event = _decode_event(notice.event)
    recipients = [r for r in event.data.recipients if comparable(r.email) == mailbox]
    if not recipients:
        return None
    return {
        "kind": "event",
        "type": event.type,
        "timestamp": event.timestamp,
        "webhook_id": webhook_of(store.keys, hit),
        "state": notice.state,
        "email_id": event.data.email_id,
        "recipients": recipients,
    }
