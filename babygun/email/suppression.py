"""Suppressions: addresses that a client's mail does not go to."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Literal, get_args

import msgspec

# hard_bounce  a server said that there is no such mailbox, or that it is switched off
# complaint    its owner said that the mail is spam
# unsubscribe  its owner wants no more of it
# manual       a person or a program of the client put it there
SuppressionReason = Literal["hard_bounce", "complaint", "unsubscribe", "manual"]
REASONS: tuple[SuppressionReason, ...] = get_args(SuppressionReason)
# The list that stands for all of a client's mail.
ALL_MAIL = "*"


class Suppression(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """``suppressions/<client>/<list>/<address>``: why mail does not go there, and until when.

    ``until``: None: for ever. A suppression whose ``until`` has come counts no more, whether its
    key is there or not. ``by``: who wrote it, where a person or a program did.
    """

    reason: SuppressionReason
    since: datetime
    until: datetime | None = None
    # The e-mail that bounced, and what the server said about it.
    email_id: str | None = None
    status_code: int | None = None
    enhanced_code: str | None = None
    reply: str | None = None
    # A class of babygun/smtp/replies.toml.
    reply_class: str | None = None
    by: str | None = None

    def counts(self, now: datetime) -> bool:
        """Whether it holds at ``now``."""
        return self.until is None or now < self.until

    @property
    def why(self) -> str:
        """The reason in words, as a recipient's record says it."""
        said = " ".join(
            str(part) for part in (self.status_code, self.enhanced_code, self.reply) if part
        )
        words = f"suppressed since {self.since:%Y-%m-%d}: {self.reason.replace('_', ' ')}"
        return f"{words} ({said})" if said else words


def replaces(new: Suppression, old: Suppression, now: datetime) -> bool:
    """Whether ``new`` takes the place of what is there.

    A mailbox may come back. A person's word stays, so a bounce never takes its place, and another
    word does if it holds for longer. For the same reason that is a day at least: then an import
    twice writes once.
    """
    if not old.counts(now):
        return True
    if new.reason == old.reason:
        return old.until is not None and (new.until is None or new.until - old.until > _MUCH_LATER)
    if old.reason == "hard_bounce" or new.reason == "hard_bounce":
        return old.reason == "hard_bounce"
    return old.until is not None and (new.until is None or new.until > old.until)


def parse_list_name(text: str) -> str:
    """The name of a list; ``*`` stands for all mail. Raises ValueError with a sentence."""
    if text != ALL_MAIL and not _list_name(text):
        raise ValueError(
            "a list's name has 1 to 64 letters, digits and _ . - only, or is * for all mail"
        )
    return text


_list_name = re.compile(r"[A-Za-z0-9_.-]{1,64}").fullmatch
_MUCH_LATER = timedelta(days=1)
