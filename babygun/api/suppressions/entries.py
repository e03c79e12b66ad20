"""What is to go on a list, from a row of a file or the body of a call. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from msgspec import Struct

from babygun.email.addresses import is_hash, parse_address
from babygun.email.suppression import (
    ALL_MAIL,
    REASONS,
    Suppression,
    SuppressionReason,
    parse_list_name,
)
from babygun.store.suppressions.suppressions import NewSuppression

# What other services call a reason (docs/suppressions.md).
_OTHERS = {"bounce": "hard_bounce", "spam": "complaint", "unsubscribed": "unsubscribe"}
_LEAST_BYTES = 250
_MOST = 512  # characters that are kept of a reply
_ENHANCED_CODE = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")


class BadField(ValueError):
    """What is wrong with one field, as part of a sentence."""

    def __init__(self, field: str, fault: str) -> None:
        super().__init__(fault)
        self.field = field


class Defaults(Struct, frozen=True):
    """What holds for all rows of a file.

    ``reason``, ``list``: in place of what the rows say, where they are not None. ``ends``: until
    when an address is on a list for a reason. ``by``: who puts it there.
    """

    now: datetime
    ends: Callable[[SuppressionReason], datetime | None]
    by: str
    reason: SuppressionReason | None = None
    list: str | None = None


def entry_of(fields: Mapping[str, str], defaults: Defaults) -> NewSuppression:
    """From the fields of a row. Raises BadField."""
    if "email" not in fields:
        raise BadField("email", "the row has no address")
    return entry(
        fields["email"],
        defaults.reason or _reason(fields.get("reason", "manual")),
        defaults.list or fields.get("list", ALL_MAIL),
        defaults,
        until=_time("until", fields["until"]) if "until" in fields else None,
        since=_time("since", fields["since"]) if "since" in fields else None,
        status_code=_status_code(fields.get("status_code")),
        enhanced_code=_enhanced_code(fields.get("enhanced_code")),
        reply=fields["reply"][:_MOST] if "reply" in fields else None,
    )


def entry(
    email: str,
    reason: SuppressionReason,
    list_name: str,
    defaults: Defaults,
    *,
    until: datetime | None = None,
    since: datetime | None = None,
    status_code: int | None = None,
    enhanced_code: str | None = None,
    reply: str | None = None,
) -> NewSuppression:
    """``until``: None: as long as the settings say. Raises BadField."""
    now = defaults.now
    if until is not None and until <= now:
        raise BadField("until", "until is in the past: leave it out, or give a time to come")
    suppression = Suppression(
        reason=reason,
        since=now if since is None else min(since, now),
        until=defaults.ends(reason) if until is None else until,
        status_code=status_code,
        enhanced_code=enhanced_code,
        reply=reply,
        by=defaults.by,
    )
    field = "email"
    try:
        address = email if is_hash(email) else parse_address(email).email
        field = "list"
        return NewSuppression(address, suppression, parse_list_name(list_name))
    except ValueError as error:
        raise BadField(field, str(error)) from None


def size_of(new: NewSuppression) -> int:
    """About how many bytes its key and value have in etcd."""
    return _LEAST_BYTES + len(new.address) + len(new.suppression.reply or "")


def _reason(text: str) -> SuppressionReason:
    word = text.strip().lower().replace("-", "_").replace(" ", "_")
    word = _OTHERS.get(word, word)
    if word not in REASONS:
        raise BadField(
            "reason",
            f"the reason must be one of {', '.join(REASONS)}, and is {text[:40]!r};"
            " give one for all rows if this column means something else",
        )
    return word


def _time(name: str, text: str) -> datetime:
    """RFC 3339, RFC 5322 or Unix seconds; without an offset it is UTC."""
    try:
        if re.fullmatch(r"[0-9]{9,11}(\.[0-9]{1,9})?", text):
            return datetime.fromtimestamp(float(text), UTC)
        at = datetime.fromisoformat(text) if text[:1].isdigit() and "-" in text[:5] else None
        at = at or parsedate_to_datetime(text)
        return at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadField(
            name, f"{name} is no time such as 2030-01-31T08:00:00Z, and is {text[:40]!r}"
        ) from None


def _status_code(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch("[245][0-9]{2}", text) else None


def _enhanced_code(text: str | None) -> str | None:
    return text if text and _ENHANCED_CODE.fullmatch(text) else None
