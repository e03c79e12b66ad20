"""What etcd holds of webhooks and their notices."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec
from msgspec.structs import replace

from babygun.email.events import EventType

# All of a client's webhooks.
MOST_WEBHOOKS = 10
NoticeState = Literal["waiting", "sent", "failed"]
# The errors of notices that fail without another try.
SHORT_OF_ROOM, SWITCHED_OFF = "etcd was short of room", "the webhook is disabled"


class Disabled(msgspec.Struct, frozen=True, gc=False):
    """Since when a webhook is off, and why, as a sentence."""

    at: datetime
    reason: str


class Webhook(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """An endpoint of a client.

    ``id``: ``wh_`` and 24 random hex digits; its last two are its shard. ``events``: the types that
    it wants; empty: all. ``tags``: it wants only what happens to e-mails with one of these; empty:
    to any. ``disabled``: who has switched it off, if ``enabled`` is false.
    """

    id: str
    url: str
    events: tuple[EventType, ...] = ()
    tags: tuple[str, ...] = ()
    description: str = ""
    enabled: bool = True
    disabled: Disabled | None = None
    created_at: datetime
    updated_at: datetime


class ClientWebhooks(msgspec.Struct, frozen=True, gc=False):
    """``webhooks/<client>``: all webhooks of a client, oldest first, at least one.

    Each transition of the client's e-mails compares the key's mod revision. So it holds nothing
    that changes by itself.
    """

    webhooks: tuple[Webhook, ...]

    def get(self, webhook_id: str) -> Webhook | None:
        return next((one for one in self.webhooks if one.id == webhook_id), None)


class WebhookSecret(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """``webhook-secrets/<webhook-id>``, as ``whsec_…``. ``previous`` signs too until its end."""

    secret: str
    previous: str | None = None
    previous_until: datetime | None = None


class WebhookHealth(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """``webhook-health/<webhook-id>``: how the endpoint answers. Only the owner writes it.

    ``sent`` and ``failed``: tries, since the webhook was made.
    """

    last_success_at: datetime | None = None
    failing_since: datetime | None = None
    last_error: str | None = None
    sent: int = 0
    failed: int = 0


class NoticeResult(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a try of a notice gave. ``answer``: the first bytes of the answer's body, as text.

    ``error``: why there was no answer.
    """

    at: datetime
    status_code: int | None = None
    answer: str = ""
    error: str | None = None


class Notice(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """``notices/…``, ``notices-due/…`` and ``notices-sent/…``: one event for one webhook.

    ``event``: the request's body, JSON of ``{type, timestamp, data}``. ``since``: when it happened.
    ``tries``: so far. ``state``: in ``notices-sent/`` only.
    """

    event: msgspec.Raw
    since: datetime
    tries: int = 0
    last: NoticeResult | None = None
    state: NoticeState = "waiting"

    def given_up(self, reason: str, now: datetime) -> Notice:
        """It has failed without another try. What its last try gave stays, beside the reason."""
        last = replace(self.last or NoticeResult(now), error=reason)
        return replace(self, last=last, state="failed")

    def given_up_for_room(self, now: datetime) -> Notice:
        """Given up since etcd has no room for all that wait."""
        return self.given_up(SHORT_OF_ROOM, now)

    @property
    def was_given_up(self) -> bool:
        """Whether it has failed while its owner may have it in memory, with a try under way."""
        return self.last is not None and self.last.error in (SHORT_OF_ROOM, SWITCHED_OFF)


class Owner(msgspec.Struct, frozen=True, gc=False):
    """``notice-owners/<webhook-id>``, on the worker's lease.

    Its create revision is the fencing token.
    """

    worker_id: str
    since: datetime
