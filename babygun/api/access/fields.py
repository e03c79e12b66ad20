"""Fields that several documents of the API have, with their examples."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from babygun.api.http.routes import Parameter
from babygun.store.records import Scope

CLIENT_ID = "3f9c2a51d0e4b768"

OF_CLIENT = Parameter(
    "client", "query", str, "Only this client's; for clients with the scope admin.", CLIENT_ID
)

ClientId = Annotated[str, Meta(examples=[CLIENT_ID])]
ClientName = Annotated[str, Meta(examples=["shop"])]
Scopes = Annotated[list[Scope], Meta(examples=[["emails:send", "emails:read"]])]
ExpiresAt = Annotated[datetime, Meta(examples=["2026-11-25T10:00:00Z"])]
