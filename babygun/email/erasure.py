"""Erasure: a recipient's data leave an e-mail that others have got, too.

    the recipient     pending | deferred ─▶ cancelled; a final status stays
    its address       becomes a mark, in the record, its log and its events

The others stay as they are. Nobody has this recipient tried again: a mark is no address.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from babygun.email import log
from babygun.email.addresses import comparable, parse_address
from babygun.email.lifecycle import ended
from babygun.email.model import Email, LogEntry, LoggedTry, Recipient, RecipientReply
from babygun.email.transition import Transition, changed, logged
from babygun.errors import Conflict

# What stands where an address stood. No mail can go there (RFC 2606, 2).
MARK = "erased@erased.invalid"

T = TypeVar("T")


def recipient_of(email: Email, mailbox: str) -> Recipient | None:
    """The recipient at hand whose address is one of this mailbox. ``mailbox``: comparable."""
    return next((r for r in email.recipients if comparable(r.email) == mailbox), None)


def is_alone(email: Email, mailbox: str) -> bool:
    """Whether an e-mail is for nobody else, or for erased ones only. It is not a wide one."""
    return email.wide is None and all(
        r.erased_at is not None or comparable(r.email) == mailbox for r in email.recipients
    )


def erase(
    email: Email,
    mailbox: str,
    *,
    sending: Collection[str],
    now: datetime,
    size: int,
    client_id: str | None = None,
    request_id: str | None = None,
) -> Transition:
    """A recipient's data leave the e-mail; a recipient that is not final is cancelled first.

    ``sending``: the queues that have an owner. ``size``: of the content without the recipient.
    Raises Conflict if the recipient's queue is being sent, or the mailbox is no recipient at hand.
    """
    recipient = recipient_of(email, mailbox)
    if recipient is None:
        raise Conflict("the e-mail is not for this address")
    queue = recipient.queue
    if queue in sending:
        raise Conflict("the e-mail is being sent to this address at this moment")
    at = email.recipients.index(recipient)
    email = without_address(email, [mailbox, recipient.email])
    # The key of the end mark holds the time.
    now = max(now, email.updated_at + timedelta(milliseconds=1))
    recipients = list(email.recipients)
    new = recipients[at] = _erased(recipients[at], now)
    left = any(r.queue == queue and not r.final for r in recipients)
    state = email.queues[queue]
    is_over = not state.final and not left
    queues = {**email.queues, queue: ended(state)} if is_over else email.queues
    earlier_end = log.entries_in_record(email)[1:]  # the record can't hold it any more
    after = replace(changed(email, recipients, queues, now, claimed_at={}), size=size)
    attempt = LoggedTry(queue, new.tries, now, (RecipientReply(MARK, new.status),))
    entry = LogEntry(
        after.log_seq,
        now,
        "erased",
        attempts=(attempt,),
        client_id=client_id,
        request_id=request_id,
    )
    final = (queue,) if is_over else ()
    return logged(Transition(after, (*earlier_end, entry), final=final))


def _erased(recipient: Recipient, now: datetime) -> Recipient:
    marked = replace(recipient, email=MARK, erased_at=now)
    return marked if marked.final else replace(marked, status="cancelled", updated_at=now)


def without_address(value: T, spellings: Collection[str]) -> T:
    """A state with the mark in place of an address, in all of its texts. The sender stays.

    ``spellings``: of the address. Letters count without their case.
    """
    mark = marking(spellings)
    plain = _walked(msgspec.to_builtins(value), mark)
    if isinstance(value, Email):
        plain["sender"] = value.sender
    return msgspec.convert(plain, type(value))


def marking(spellings: Collection[str]) -> Callable[[str], str]:
    """A function that puts the mark in place of an address in a text."""
    longest_first = sorted(set(spellings), key=len, reverse=True)
    pattern = "|".join(map(re.escape, longest_first))
    # Not within a longer address: ann@example.org is not a part of joann@example.org.
    at = re.compile(rf"(?<![\w.+-])(?:{pattern})(?![\w-]|\.\w)", re.IGNORECASE)
    return lambda text: at.sub(MARK, text) if "@" in text else text


def _walked(value: Any, mark: Callable[[str], str]) -> Any:
    """The same JSON with marked texts, also those that are keys."""
    if isinstance(value, str):
        return mark(value)
    if isinstance(value, dict):
        return {_walked(key, mark): _walked(each, mark) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_walked(each, mark) for each in value]
    return value


def without_recipient(addresses: list[str], mailbox: str) -> list[str]:
    """The addresses of a header field without those of a mailbox."""
    return [text for text in addresses if not _is_of(text, mailbox)]


def _is_of(text: str, mailbox: str) -> bool:
    try:
        return comparable(parse_address(text).email) == mailbox
    except ValueError:  # accepted by another version
        return False
