"""The bodies with which webhooks are made and changed, and their rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from babygun.api.http.body import MAX_SMALL
from babygun.api.http.json_body import JsonBody
from babygun.api.webhooks.documents import stored_events
from babygun.api.webhooks.rules import ALL, MAX_URL, parse_event, parse_secret, parse_url
from babygun.email.events import EVENT_TYPES, EventType
from babygun.errors import InvalidRequest, Violation, sentence
from babygun.intake.tags import MAX_TAG, MAX_TAGS, is_tag
from babygun.runtime.settings import Settings

T = TypeVar("T")
MAX_DESCRIPTION = 200
_MOST_NAMES = 50  # in a list of event types, of which some may be the same

_Url = Annotated[
    str, Meta(description=f"Where events go: https, at most {MAX_URL} characters, no credentials.")
]
_Events = Annotated[
    list[str],
    Meta(
        min_length=1,
        max_length=_MOST_NAMES,
        description=f"Only these types; {ALL} stands for all.",
        extra_json_schema={"items": {"enum": [ALL, *EVENT_TYPES]}},
    ),
]
_Tags = Annotated[
    list[str],
    Meta(description="Only what happens to e-mails with one of these tags; [] for all e-mails."),
]
_Description = Annotated[
    str, Meta(description=f"For people: at most {MAX_DESCRIPTION} characters in one line.")
]
_Secret = Annotated[
    str,
    Meta(
        description="whsec_ and 24 to 64 random bytes in base64. One is made if it is left out.",
    ),
]


class WebhookRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A webhook to make."""

    url: _Url
    events: _Events | None = None
    tags: _Tags | None = None
    description: _Description | None = None
    secret: _Secret | None = None


class WebhookChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to change of a webhook. What is left out, or null, stays as it is.

    ``enabled``: false: what happens until it is true again is not sent, now or later. What waits
    fails, and can be sent again.
    """

    url: _Url | None = None
    events: _Events | None = None
    tags: _Tags | None = None
    description: _Description | None = None
    enabled: bool | None = None


class SecretRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A secret in the place of the present one."""

    secret: _Secret | None = None


class Wanted(msgspec.Struct, frozen=True):
    """What a request gives, checked and as it is stored. None: it says nothing of it."""

    url: str | None
    events: tuple[EventType, ...] | None
    tags: tuple[str, ...] | None
    description: str | None
    secret: str | None = None


NEW = JsonBody(
    WebhookRequest,
    max_bytes=MAX_SMALL,
    examples={
        "every event": {"url": "https://shop.example.com/webhooks/mail"},
        "what was not delivered": {
            "url": "https://shop.example.com/webhooks/bounces",
            "events": ["bounced", "expired"],
            "tags": ["order"],
            "description": "the shop's orders",
        },
    },
)
CHANGE = JsonBody(
    WebhookChange,
    max_bytes=MAX_SMALL,
    examples={"other events": {"events": ["bounced"]}, "send again": {"enabled": True}},
)
SECRET = JsonBody(SecretRequest, max_bytes=MAX_SMALL, examples={"a random one": {}}, required=False)


def checked(request: WebhookRequest | WebhookChange, settings: Settings) -> Wanted:
    """The request as it is stored. Raises InvalidRequest with every rule that it breaks."""
    rules = _Rules()
    url = rules.read(
        "url",
        request.url,
        lambda text: parse_url(
            text,
            allow_http=settings.webhook_allow_http,
            allowed=settings.webhook_allow_networks,
        ),
    )
    wanted = Wanted(
        url,
        rules.events(request.events),
        rules.tags(request.tags),
        rules.read("description", request.description, _parse_description),
        rules.read("secret", getattr(request, "secret", None), parse_secret),
    )
    rules.raise_if_broken()
    return wanted


def checked_secret(request: SecretRequest) -> str | None:
    """Raises InvalidRequest."""
    rules = _Rules()
    secret = rules.read("secret", request.secret, parse_secret)
    rules.raise_if_broken()
    return secret


class _Rules:
    """Reads fields, and collects what is wrong with them."""

    def __init__(self) -> None:
        self._broken: list[Violation] = []

    def read(self, field: str, given: str | None, parse: Callable[[str], T]) -> T | None:
        if given is None:
            return None
        try:
            return parse(given)
        except ValueError as error:
            self._broken.append(Violation(field, sentence(error)))
            return None

    def events(self, given: Sequence[str] | None) -> tuple[EventType, ...] | None:
        if given is None:
            return None
        names = [
            self.read(f"events[{place}]", name, lambda text: parse_event(text, EVENT_TYPES))
            for place, name in enumerate(given)
        ]
        return stored_events([name for name in names if name is not None])

    def tags(self, given: Sequence[str] | None) -> tuple[str, ...] | None:
        if given is None:
            return None
        tags = tuple(dict.fromkeys(given))
        if len(tags) > MAX_TAGS:
            detail = f"There are {len(tags)} tags; at most {MAX_TAGS} are taken."
            self._broken.append(Violation("tags", detail))
        for place, tag in enumerate(given[:MAX_TAGS]):
            if not is_tag(tag):
                detail = f"A tag has 1 to {MAX_TAG} letters, digits and _ . : - only."
                self._broken.append(Violation(f"tags[{place}]", detail))
        return tags

    def raise_if_broken(self) -> None:
        if self._broken:
            raise InvalidRequest(self._broken)


def _parse_description(text: str) -> str:
    text = text.strip()
    if len(text) > MAX_DESCRIPTION or not text.isprintable():
        raise ValueError(
            f"a description has at most {MAX_DESCRIPTION} characters, without line breaks"
        )
    return text
