"""Requests to send an e-mail, and which rules they break. No HTTP, no etcd."""

from __future__ import annotations

from typing import Any

import msgspec

from babygun.errors import InvalidEmail
from babygun.intake.request import CheckedEmail, EmailRequest, check_request
from babygun.routing.routes import load_routes
from babygun.runtime.settings import Settings

SETTINGS = Settings(relay_url="smtp://127.0.0.1:2525")
EMAIL: dict[str, Any] = {
    "sender": "shop@example.com",
    "to": "ann@example.org",
    "subject": "Hello",
    "body": "Hi Ann\n",
}


def email_request(**changes: Any) -> EmailRequest:
    """A good e-mail with some fields changed; None leaves one out."""
    fields = {name: value for name, value in (EMAIL | changes).items() if value is not None}
    return msgspec.convert(fields, EmailRequest)


def checked(settings: Settings = SETTINGS, **changes: Any) -> CheckedEmail:
    return check_request(email_request(**changes), load_routes(settings), settings)


def refusal(settings: Settings = SETTINGS, **changes: Any) -> InvalidEmail:
    """The error with which the e-mail is refused."""
    try:
        checked(settings, **changes)
    except InvalidEmail as error:
        return error
    raise AssertionError(f"no rule is broken: {changes}")


def broken(settings: Settings = SETTINGS, **changes: Any) -> list[tuple[str, str]]:
    """Field and detail of each broken rule."""
    return [(v.field, v.detail) for v in refusal(settings, **changes).violations]


def fields(settings: Settings = SETTINGS, **changes: Any) -> list[str]:
    """The field of each broken rule."""
    return [field for field, _ in broken(settings, **changes)]
