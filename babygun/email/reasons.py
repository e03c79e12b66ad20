"""Reasons in words, as the record, the log and people read them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from babygun.email.model import EmailStatus, QueueState, Recipient, RecipientGroup, RecipientStatus

_MOST_NAMED = 5
_ADDRESS = re.compile(r"[^\s<>()\[\]\"',;:=]+@[^\s<>()\"',;]+")
# Of one recipient: its status, and where they say why, its reply class and its number of tries.
# Last, whether it bounced late.
Kind = tuple[RecipientStatus, str | None, int, bool]


def kind_of(recipient: Recipient) -> Kind:
    """What of a recipient a reason may name."""
    status = recipient.status
    if status in ("delivered", "pending", "cancelled"):
        return status, None, 0, False
    counts_tries = status not in ("bounced", "suppressed")
    tries = recipient.tries if counts_tries else 0
    return status, recipient.reply_class, tries, recipient.late


def status_reason(
    status: EmailStatus,
    recipients: Sequence[Recipient],
    most_tries: int,
    others: Sequence[RecipientGroup] = (),
) -> str | None:
    """How many were not reached, and why. None: there is nothing to say.

    For example ``1 of 3 recipients not reached: 1 bounced (bad_mailbox)``. ``most_tries``: how many
    a recipient gets; 0 leaves the number out. ``others``: further recipients.
    """
    # Nothing is still to come for a suppressed one.
    reached = ("delivered", "pending", *(("suppressed",) if status == "incomplete" else ()))
    groups = Counter(kind_of(r) for r in recipients if r.status not in reached)
    for group in others:
        if group.status not in reached:
            groups[group.status, group.reply_class, group.tries, group.late] += group.count
    if not groups:
        return None
    if status == "failed" and all(kind[0] == "suppressed" for kind in groups):
        return "all recipients suppressed"
    words = []
    for (kind, reply_class, tries, late), count in sorted(
        groups.items(), key=lambda item: (-item[1], item[0][0], item[0][1] or "", *item[0][2:])
    ):
        why = f" ({reply_class})" if reply_class else ""
        after = " late" if late else ""
        if kind == "expired":
            after = f" after {tries or 'no'} {'try' if tries == 1 else 'tries'}"
        elif kind == "deferred" and most_tries and tries:
            after = f" after try {tries} of {most_tries}"
        words.append(f"{count} {kind}{after}{why}")
    head = "not reached yet" if status == "incomplete" else "not reached"
    total = len(recipients) + sum(group.count for group in others)
    noun = "recipient" if total == 1 else "recipients"
    rest = ", …" if len(words) > _MOST_NAMED else ""
    return (
        f"{sum(groups.values())} of {total} {noun} {head}: {', '.join(words[:_MOST_NAMED])}{rest}"
    )


def left_sending(queues: Mapping[str, QueueState]) -> str | None:
    """Why a cancel has not stopped everything."""
    left = [queue for queue, state in queues.items() if not state.final]
    rest = ", …" if len(left) > _MOST_NAMED else ""
    named = ", ".join(left[:_MOST_NAMED])
    return f"being sent at this moment, and not stopped: {named}{rest}" if left else None


def cut(text: str, limit: int) -> str:
    """``text`` without control characters, cut to ``limit`` bytes of UTF-8 between characters."""
    if not text.isprintable():  # a control character takes six bytes in JSON
        text = "".join(c if c.isprintable() else " " for c in text)
    data = text.encode("utf-8", "replace")
    if len(data) <= limit:
        return data.decode()
    return data[: limit - 3].decode("utf-8", "ignore") + "…"


def quoted_to_others(text: str | None, limit: int) -> str | None:
    """A server's words about one e-mail, for those whose mail waits with it; cut as by :func:`cut`.

    It names no addresses: they may be of another client's e-mail.
    """
    return cut(_ADDRESS.sub("…", text), limit) if text else None


def reason_bytes(recipients: int) -> int:
    """How long each reason in a record may be: 1,000 of them must fit one etcd request."""
    return 512 if recipients <= 200 else 128
