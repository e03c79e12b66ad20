"""Parameters and headers that several calls on e-mails have."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from babygun.api.emails.fields import EMAIL_ID
from babygun.api.http.routes import Header, Parameter

MAX_IDEMPOTENCY_KEY = 255

ID = Parameter("id", "path", str, "The e-mail's id, from the answer to POST /emails.", EMAIL_ID)
IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    "header",
    Annotated[str, Meta(min_length=1, max_length=MAX_IDEMPOTENCY_KEY, pattern="^[ -~]+$")],
    "Names the call. Repeated with the same body it has no further effect. Remembered for the"
    " setting idempotency_retention, 24 hours by default.",
    "order-4711-confirmation",
)
CONTENT_DISPOSITION = Header(
    "Content-Disposition", "Whether it is to be saved, and under which name."
)
ETAG = Header("ETag", "Names this version of the e-mail, for If-None-Match.")
IDEMPOTENT_REPLAYED = Header(
    "Idempotent-Replayed",
    "Set if the Idempotency-Key was known, and this is the first call's answer.",
    Literal["true"],
)
LOCATION = Header(
    "Location",
    "Where the e-mail can be read.",
    Annotated[str, Meta(extra_json_schema={"format": "uri-reference"})],
)
