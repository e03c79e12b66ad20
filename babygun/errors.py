"""The exceptions that cross rooms. An exception's docstring is its default message.

A lost race is a result, not an exception: for example, another worker claimed the job.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec


def sentence(said: BaseException | str) -> str:
    """A message, such as an exception's, as a sentence: a capital first, a full stop last."""
    text = str(said)
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


class BabygunError(Exception):
    """Something went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])


class SettingsError(BabygunError):
    """A setting has a value that can't be used."""


class Violation(msgspec.Struct, frozen=True):
    """One broken rule. ``field``: the part of the request, such as ``to[2]``, ``headers.Bcc``."""

    field: str
    detail: str


class InvalidRequest(BabygunError):
    """A request breaks rules.

    ``violations``: every broken rule, at least one; the empty field stands for the whole request.
    ``too_large``: the first rule is a size limit. ``message``: the first rule by default.
    """

    def __init__(
        self,
        violations: Sequence[Violation],
        *,
        too_large: bool = False,
        message: str | None = None,
    ) -> None:
        super().__init__(message or violations[0].detail)
        self.violations = violations
        self.too_large = too_large


class InvalidEmail(InvalidRequest):
    """An e-mail can't be accepted as it is."""


class RateExceeded(BabygunError):
    """A limit of the client is used up.

    ``retry_after``: seconds until it may send again. ``remaining``: recipients that a daily limit
    has left.
    """

    def __init__(self, message: str, *, retry_after: int, remaining: int | None = None) -> None:
        super().__init__(message)
        self.retry_after, self.remaining = retry_after, remaining


class DailyLimitReached(RateExceeded):
    """A client has too little left of its daily limit."""


class OutOfResources(BabygunError):
    """This machine lacks what a connection takes: descriptors, memory or ports."""


class NoRelay(BabygunError):
    """An operator must set relay_url, routes or default before e-mails are accepted."""


class NoSealingKey(BabygunError):
    """An operator must set secrets_key_file or secrets_keys before domains get DKIM keys."""


class NotFound(BabygunError):
    """There is no such thing, or it belongs to another client."""


class Conflict(BabygunError):
    """The state of the e-mail doesn't allow this."""


class IdempotencyConflict(Conflict):
    """This Idempotency-Key has been used with another request."""


class EtcdError(BabygunError):
    """etcd refused a request."""


class EtcdUnavailable(EtcdError):
    """etcd can't be reached, or has no leader: the request was certainly not applied."""


class EtcdAway(EtcdUnavailable):
    """etcd does not answer, or not fast enough: requests are refused at once until it does."""


class OutcomeUnknown(EtcdError):
    """The answer to a write did not arrive: it may have been applied, or may be applied later."""


class NotAcknowledged(EtcdError):
    """etcd did not confirm that an e-mail, or a batch, is stored.

    ``cause``: what etcd's client said. ``stored``: "no" where that is certain. ``what``: the
    subject of the sentence. ``keyed``: the call has an Idempotency-Key. ``email_id``: of the e-mail
    if it is stored, where that is known.
    """

    def __init__(
        self,
        cause: EtcdUnavailable | OutcomeUnknown,
        what: str = "The e-mail",
        *,
        keyed: bool,
        email_id: str | None = None,
    ) -> None:
        self.stored: Literal["no", "unknown"] = (
            "unknown" if isinstance(cause, OutcomeUnknown) else "no"
        )
        said = f"{what} may be stored" if self.stored == "unknown" else "Nothing is stored"
        super().__init__(f"{sentence(cause)} {said}.")
        self.cause, self.keyed = cause, keyed
        self.email_id = None if keyed or self.stored == "no" else email_id


class LeaseNotFound(EtcdError):
    """The lease has expired or was revoked."""


class Compacted(EtcdError):
    """The revision asked for has been compacted away: read again, then watch from there."""

    def __init__(self, compact_revision: int = 0) -> None:
        super().__init__()
        self.compact_revision = compact_revision


class FutureRevision(EtcdError):
    """etcd has not reached the revision asked for: it may be restored from a backup."""


class OutOfSpace(EtcdError):
    """etcd's database has reached its quota and takes no more writes."""


# After these a write may have been applied. etcd may notice that it is full after it has written.
MAY_BE_WRITTEN = (OutcomeUnknown, OutOfSpace)


class PermissionDenied(EtcdError):
    """etcd's user is not allowed to do this, or its password is wrong."""
