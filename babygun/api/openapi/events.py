"""The ``webhooks`` of the OpenAPI document: each event that is sent to a client's endpoint."""

from __future__ import annotations

from typing import Any

import msgspec

from babygun.api.openapi.schemas import Schemas
from babygun.api.webhooks.event_examples import examples
from babygun.email.email_events import EmailEvent
from babygun.email.events import EVENT_TYPES

_HEADERS = {
    "webhook-id": (
        "Names the event. It is the same at every try, so an endpoint can drop what it has had.",
        {"type": "string"},
    ),
    "webhook-timestamp": (
        "When this try was made, in seconds since 1970. Refuse one that is older than five"
        " minutes.",
        {"type": "string", "pattern": "^[0-9]+$"},
    ),
    "webhook-signature": (
        "HMAC-SHA256 over webhook-id, webhook-timestamp and the body, with dots between them; one"
        " for each secret that is valid (Standard Webhooks).",
        {"type": "string", "pattern": "^v1,[A-Za-z0-9+/=]+( v1,[A-Za-z0-9+/=]+)*$"},
    ),
}
_RESPONSES = {
    "2XX": {"description": "The endpoint has the event."},
    "410": {"description": "The endpoint is gone: the webhook is disabled."},
    "default": {"description": "The event is sent again later."},
}
_TEST = "A client has asked for a test."


def event_operations(schemas: Schemas) -> dict[str, Any]:
    """By event type. ``schemas`` knows the body of an event."""
    return {
        type: {"post": _operation(type, meaning, schemas)}
        for type, meaning in (*EVENT_TYPES.items(), ("test", _TEST))
    }


def _operation(type: str, meaning: str, schemas: Schemas) -> dict[str, Any]:
    example = msgspec.to_builtins(examples()[type])
    schema = {
        "allOf": [schemas.of(EmailEvent), {"properties": {"type": {"const": type}}}],
    }
    return {
        "operationId": f"on{type.title()}",
        "summary": meaning,
        "tags": ["webhooks"],
        "parameters": [
            {"name": name, "in": "header", "required": True, "description": said, "schema": kind}
            for name, (said, kind) in _HEADERS.items()
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "example": example}},
        },
        "responses": _RESPONSES,
    }
