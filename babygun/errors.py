"""Every exception that crosses a module border. An exception's docstring is its default message.

A lost race (somebody else claimed the job) is a result, not an exception; an exception is a broken call.
"""

from __future__ import annotations


class BabygunError(Exception):
    """Something went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])


class SettingsError(BabygunError):
    """A setting has a value that can't be used."""


class InvalidEmail(BabygunError):
    """The e-mail can't be accepted as it is.

    ``field`` names the offending part of the request (``to[2]``, ``headers.Bcc``); ``status`` is the HTTP status
    that tells it best: 422 for content that breaks a rule, 413 for what is over a size limit.
    """

    def __init__(self, message: str, *, field: str, status: int = 422) -> None:
        super().__init__(message)
        self.field = field
        self.status = status


class NotFound(BabygunError):
    """There is no such thing, or it belongs to another client."""


class Conflict(BabygunError):
    """The state of the e-mail doesn't allow this."""


class EtcdError(BabygunError):
    """etcd refused a request."""


class EtcdUnavailable(EtcdError):
    """etcd can't be reached, or has no leader: the request was certainly not applied."""


class OutcomeUnknown(EtcdError):
    """The answer to a write did not arrive: it may have been applied, or may be applied later."""


class LeaseNotFound(EtcdError):
    """The lease has expired or was revoked."""


class Compacted(EtcdError):
    """The revision asked for has been compacted away: list again, then watch from there."""

    def __init__(self, compact_revision: int = 0) -> None:
        super().__init__()
        self.compact_revision = compact_revision


class OutOfSpace(EtcdError):
    """etcd's database has reached its quota and takes no more writes."""


class PermissionDenied(EtcdError):
    """etcd's user is not allowed to do this, or its password is wrong."""
