"""What the calls on clients take and answer."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from babygun.api.access.fields import ClientId, ClientName, Scopes
from babygun.api.http.body import MAX_SMALL
from babygun.api.http.json_body import JsonBody
from babygun.errors import InvalidRequest, Violation, sentence
from babygun.store.access.client_rules import (
    LEAST_RATE,
    MAX_NAME,
    MAX_RATE,
    MAX_RECIPIENTS,
    MAX_WEIGHT,
    client_problems,
)
from babygun.store.access.clients import GRACE, MAX_GRACE
from babygun.store.records import Client, ClientUsage, Scope

_Name = Annotated[str, Meta(description=f"What it is for: 1 to {MAX_NAME} characters.")]
_Scopes = Annotated[list[Scope], Meta(min_length=1, description="What it may do.")]
_RATE = (
    f"E-mails a second that all API processes together accept: {LEAST_RATE} to {MAX_RATE:,};"
    " null for no limit."
)
_WEIGHT = (
    "Its share of a worker's sends, beside that of other clients whose mail waits for the same"
    f" servers: 1 to {MAX_WEIGHT}."
)
_PER_DAY = (
    "Recipients of the e-mails that are accepted on one day (UTC):"
    f" 1 to {MAX_RECIPIENTS:,}; null for no limit."
)


class ClientRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A client to make."""

    name: _Name
    scopes: _Scopes
    rate: Annotated[float | None, Meta(description=_RATE)] = None
    recipients_per_day: Annotated[int | None, Meta(description=_PER_DAY)] = None
    weight: Annotated[int, Meta(description=f"{_WEIGHT} 1 by default.")] = 1
    id: Annotated[
        str | None,
        Meta(
            description="1 to 64 letters, digits, dots, hyphens and underscores;"
            " a random one by default."
        ),
    ] = None


class ClientChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to change of a client. What is left out stays as it is."""

    name: _Name | UnsetType = UNSET
    scopes: _Scopes | UnsetType = UNSET
    rate: Annotated[float | UnsetType | None, Meta(description=_RATE)] = UNSET
    recipients_per_day: Annotated[int | UnsetType | None, Meta(description=_PER_DAY)] = UNSET
    weight: Annotated[int | UnsetType, Meta(description=_WEIGHT)] = UNSET


class SecretChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a client gets a new secret.

    ``end_tokens``: the tokens that it has are refused, as after a leak. Otherwise each is valid
    until its end.
    """

    previous_for: Annotated[
        int,
        Meta(
            ge=0,
            le=MAX_GRACE,
            description=f"Seconds for which the present secret is taken, too; {GRACE} (a day) by"
            " default. 0: it ends now, and so do all before it.",
        ),
    ] = GRACE
    end_tokens: bool = False


class ClientDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A client. Its secret is not kept.

    ``recipients_today``: about how many since midnight (UTC). With ``recipients_per_day`` never
    fewer than were accepted. ``previous_secret_until``: until then a secret before the present one
    is taken, too.
    """

    id: ClientId
    name: ClientName
    scopes: Scopes
    rate: Annotated[float | None, Meta(examples=[None, 50.0])]
    recipients_per_day: Annotated[int | None, Meta(examples=[None, 10000])]
    recipients_today: Annotated[int, Meta(examples=[0, 1280])]
    weight: Annotated[int, Meta(examples=[1])]
    previous_secret_until: Annotated[datetime | None, Meta(examples=[None])]
    created_at: Annotated[datetime, Meta(examples=["2026-11-20T14:02:11.480000Z"])]


class NewClient(ClientDocument, frozen=True, kw_only=True):
    """A client just made. ``client_secret`` is shown this once."""

    client_secret: Annotated[str, Meta(examples=["<64 hex digits>"])]


class NewClientSecret(msgspec.Struct, frozen=True):
    """A secret just made, shown this once. The one before is taken until ``previous_until``."""

    id: ClientId
    client_secret: Annotated[str, Meta(examples=["<64 hex digits>"])]
    previous_until: Annotated[datetime | None, Meta(examples=["2026-11-26T09:00:00Z"])]


class ClientList(msgspec.Struct, frozen=True):
    """All clients, by id."""

    clients: list[ClientDocument]


NEW = JsonBody(
    ClientRequest,
    max_bytes=MAX_SMALL,
    examples={
        "sends and reads its own": {"name": "shop", "scopes": ["emails:send", "emails:read"]},
        "with an id, limits and a weight": {
            "name": "newsletter",
            "scopes": ["emails:send"],
            "id": "newsletter",
            "rate": 50,
            "recipients_per_day": 10000,
            "weight": 2,
        },
    },
)
CHANGE = JsonBody(
    ClientChange,
    max_bytes=MAX_SMALL,
    examples={
        "another rate, and no daily limit": {"rate": 100, "recipients_per_day": None},
        "fewer scopes": {"scopes": ["emails:send"]},
    },
)
SECRET = JsonBody(
    SecretChange,
    max_bytes=MAX_SMALL,
    required=False,
    examples={
        "the old one works for a day": {},
        "after a leak": {"previous_for": 0, "end_tokens": True},
    },
)


def check(wanted: ClientRequest | ClientChange) -> None:
    """Raises InvalidRequest with every rule that a client to be made or changed breaks."""
    given = {
        field: value
        for field in ("name", "rate", "weight", "recipients_per_day")
        if (value := getattr(wanted, field)) is not UNSET
    }
    problems = client_problems(client_id=getattr(wanted, "id", None), **given)
    if violations := [Violation(field, sentence(fault)) for field, fault in problems]:
        raise InvalidRequest(violations)


def document(client: Client, usage: ClientUsage | None, today: date) -> ClientDocument:
    """The client as it is shown. ``usage``: None: nothing counts towards its limits yet."""
    return ClientDocument(**fields(client, usage, today))


def fields(client: Client, usage: ClientUsage | None, today: date) -> dict[str, Any]:
    return {
        "id": client.id,
        "name": client.name,
        "scopes": list(client.scopes),
        "rate": client.rate,
        "recipients_per_day": client.recipients_per_day,
        "recipients_today": usage.recipients if usage and usage.day == today else 0,
        "weight": client.weight,
        "previous_secret_until": max((one.until for one in client.replaced), default=None),
        "created_at": client.created_at,
    }
