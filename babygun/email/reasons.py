"""Reasons in words, as the record, the log and people read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from babygun.email.model import EmailStatus, QueueState, Recipient

_MOST_GROUPS = 5


def status_reason(
    status: EmailStatus, recipients: Sequence[Recipient], most_tries: int
) -> str | None:
    """How many were not reached, and why. None: there is nothing to say.

    For example ``1 of 3 recipients not reached: 1 bounced (bad_mailbox)``. ``most_tries``: how many
    a recipient gets; 0 leaves the number out.
    """
    if status == "complete":
        return None
    groups = Counter(
        (r.status, r.reply_class, r.tries)
        for r in recipients
        if r.status not in ("delivered", "pending")
    )
    if not groups:
        return None
    words = []
    for (kind, reply_class, tries), count in sorted(
        groups.items(), key=lambda item: (-item[1], item[0][0])
    ):
        why = f" ({reply_class})" if reply_class and kind != "cancelled" else ""
        after = ""
        if kind == "expired":
            after = f" after {tries or 'no'} {'try' if tries == 1 else 'tries'}"
        elif kind == "deferred" and most_tries and tries:
            after = f" after try {tries} of {most_tries}"
        words.append(f"{count} {kind}{after}{why}")
    head = "not reached yet" if status == "incomplete" else "not reached"
    total = len(recipients)
    noun = "recipient" if total == 1 else "recipients"
    rest = ", …" if len(words) > _MOST_GROUPS else ""
    return (
        f"{sum(groups.values())} of {total} {noun} {head}: {', '.join(words[:_MOST_GROUPS])}{rest}"
    )


def left_sending(queues: Mapping[str, QueueState]) -> str | None:
    """Why a cancel has not stopped everything."""
    left = [queue for queue, state in queues.items() if not state.final]
    return f"being sent at this moment, and not stopped: {', '.join(left)}" if left else None


def cut(text: str, limit: int) -> str:
    """``text`` without control characters, cut to ``limit`` bytes of UTF-8 between characters."""
    if not text.isprintable():  # a control character takes six bytes in JSON
        text = "".join(c if c.isprintable() else " " for c in text)
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return data.decode()
    return data[: limit - 3].decode("utf-8", "ignore") + "…"


def reason_bytes(recipients: int) -> int:
    """How long each reason in a record may be: 1,000 of them must fit one etcd request."""
    return 512 if recipients <= 200 else 128
