"""What etcd holds beside the e-mails: owners, processes, API clients, keys, idempotency records."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal, get_args

import msgspec

from babygun.routing.providers import Limits, Rate


class Owner(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """``owners/<id>/<queue>``, on the worker's lease. Its create revision is the fencing token."""

    worker_id: str
    since: datetime


class SiteState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What holds for a site until a time, and why. The reply that asked for it is quoted."""

    site: str
    # A class of babygun/smtp/replies.toml, or operator.
    reason: str
    status_code: int | None = None
    enhanced_code: str | None = None
    # At most 512 bytes: the server's own text, or the operator's.
    status_reason: str | None = None
    since: datetime
    # The worker that began or changed it, or the operator.
    set_by: str
    # Then workers leave it as it is.
    by_operator: bool = False
    # It is on a lease, which ends then.
    until: datetime


class Hold(SiteState, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """``holds/<site>``: its mail waits, and one e-mail at a time probes whether it may go.

    ``holds/<site>/<sender>``: only the mail of this sender domain waits. A hold that nobody probes
    ends by itself. An operator's is not probed.
    """

    sender: str = ""
    # When the next probe may begin.
    probe_at: datetime
    # Probes so far, and the worker that made the last one.
    probes: int = 0
    probed_by: str | None = None

    @property
    def name(self) -> str:
        """As its key ends."""
        return f"{self.site}/{self.sender}" if self.sender else self.site


class SomeLimits(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Limits of which not all are given: the site's own hold for the others."""

    connections: int | None = None
    messages_per_connection: int | None = None
    rate: Rate | None = None


class Lowered(SiteState, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """``limits/<site>``: what the site takes for a while, in place of what the table says.

    An operator's may also be higher than the site's own.
    """

    limits: SomeLimits

    def instead_of(self, own: Limits) -> Limits:
        """What holds now at a site with these limits of its own."""
        given = self.limits
        limits = Limits(
            given.connections or own.connections,
            given.messages_per_connection or own.messages_per_connection,
            given.rate or own.rate,
        )
        return limits if self.by_operator else limits.within(own)


class SiteReport(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What one worker says of a site for which it has mail."""

    site: str
    queues: int = 0  # with jobs that wait here
    waiting: int = 0  # jobs
    oldest: datetime | None = None  # when the oldest of them was accepted
    connections: int = 0  # open
    slots: int = 0  # that this worker has
    limits: Limits | None = None  # now; None: none
    shared: bool = False
    sent: int = 0  # messages taken in the last minute
    deferred: int = 0  # replies in the last minute that were not
    why: str = ""  # why its jobs wait: held, limit, pace or slot
    # Replies within the hour that the provider's table knows, by the first text of its row.
    asked: dict[str, int] = {}


class WorkerReport(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """``reports/<worker-id>``, on the worker's lease."""

    at: datetime
    sites: tuple[SiteReport, ...]


class Process(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the records of all processes hold. Each is on the process's lease."""

    id: str
    pid: int
    hostname: str
    started_at: datetime
    last_checkin: datetime
    version: str


class Worker(Process, frozen=True, kw_only=True, gc=False):
    """``workers/<worker-id>``.

    ``settings``: see :mod:`babygun.store.cluster.shared_settings`. ``delivered``, ``deferred``,
    ``failed``: recipients since the process started, by the result of a try. A recipient counts as
    deferred once for each try without success.
    """

    ip: str
    checkins: int  # under this id
    in_flight: int
    slice: tuple[int, int]  # shards [from, to)
    draining: bool  # it finishes what it has, and has no slice any more
    queues: dict[str, str]  # that it sends, each with the fingerprint of its destination's address
    settings: dict[str, str] = {}
    delivered: int
    deferred: int
    failed: int


class ApiProcess(Process, frozen=True, kw_only=True, gc=False):
    """``apis/<api-id>``.

    ``accepted``: e-mails since the process started. A repeated Idempotency-Key counts once.
    """

    accepted: int


Scope = Literal[
    "emails:send",
    "emails:read",
    "webhooks",
    "suppressions",
    "suppressions:ignore",
    "domains",
    "workers:read",
    "admin",
]
SCOPES: tuple[Scope, ...] = get_args(Scope)
# What an application needs: a client gets these where nobody says which ones.
USUAL_SCOPES: tuple[Scope, ...] = ("emails:send", "emails:read", "webhooks", "suppressions")


class PreviousSecret(msgspec.Struct, frozen=True, gc=False):
    """A secret that a client had before the present one. It is taken until its end."""

    secret_hash: str
    until: datetime


class Client(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """``clients/<client-id>``: an application that may use the API.

    ``secret_hash``: ``sha256:<salt hex>:<digest hex>``. The secret itself is never stored. It has
    256 random bits, so it needs no slow hash. ``rate``: e-mails a second that all API processes
    together accept from it; None for no limit. ``serial``: random, made with the client. Tokens and
    e-mails name it, so a client that is made again under the same id has neither. It is empty for
    clients of earlier versions. ``weight``: jobs that workers start of it in a row, where several
    clients have jobs that wait for the same site. ``recipients_per_day``: of the e-mails accepted
    on one day (UTC); None for no limit. ``series``: tokens of an earlier series are refused.
    ``previous``: the secret before the present one. ``earlier``: those before that, the newest
    first, whose end had not come when ``previous`` was replaced.
    """

    id: str
    name: str
    scopes: tuple[Scope, ...]
    secret_hash: str
    created_at: datetime
    rate: float | None = None
    serial: str = ""
    weight: int = 1
    recipients_per_day: int | None = None
    previous: PreviousSecret | None = None
    series: int = 0
    earlier: tuple[PreviousSecret, ...] = ()

    @property
    def replaced(self) -> tuple[PreviousSecret, ...]:
        """All secrets before the present one that may still be taken, the newest first."""
        return (self.previous, *self.earlier) if self.previous else ()

    @property
    def identity(self) -> str:
        """What e-mails and idempotency keys name: ``<id>:<serial>``. An id has no colon."""
        return f"{self.id}:{self.serial}" if self.serial else self.id


class ClientUsage(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """``client-usage/<client-id>:<serial>``: what counts towards a client's limits.

    ``recipients``: on ``day`` (UTC). With a limit, API processes count blocks of them in advance.
    ``full_at``: when the bucket of the client's rate is full again, in Unix time.
    """

    day: date
    recipients: int = 0
    full_at: float = 0.0


class SigningKey(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """``signing-keys/<kid>``: the newest one signs, all verify.

    ``token_ttl``: seconds that the tokens which it signed are valid at the longest.
    """

    kid: str
    secret: bytes  # 32 random bytes (base64 in JSON), for HS256
    created_at: datetime
    token_ttl: float = 0.0


class SealedKey(msgspec.Struct, frozen=True, gc=False):
    """``dkim-keys/<domain>/<selector>``: a private key, sealed (:mod:`babygun.pki.sealing`).

    ``key_id``: of the key that opens it.
    """

    key_id: str
    sealed: bytes  # base64 in JSON


class BatchRecord(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """How a batch was accepted when its Idempotency-Key was new; a repeated call follows it.

    ``email_ids`` makes the batch's ids from ``count``, ``at_ns`` and ``seed``. ``parts``: what was
    stored together, as the index of each part's first e-mail. The first part is stored with this
    record. ``refused``: indexes of the e-mails that are in no part.
    """

    count: int
    at_ns: int  # Unix time
    seed: bytes  # 16 random bytes (base64 in JSON)
    parts: tuple[int, ...]
    refused: tuple[int, ...] = ()
    # Of the first part's e-mails: which recipients were suppressed, by the e-mail's index.
    suppressed: dict[int, tuple[int, ...]] = {}


class BatchMark(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What a further part of a batch leaves: it is stored. ``call``: random, of the call that did.

    ``suppressed``: as in the batch's record.
    """

    call: str
    suppressed: dict[int, tuple[int, ...]] = {}


class IdempotencyRecord(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """``idempotency/<client>/<key>``: the e-mail or batch that a repeated POST gets back."""

    email_id: str  # of a batch, the first one's
    fingerprint: str  # SHA-256 of the request's body
    batch: BatchRecord | None = None
    suppressed: tuple[int, ...] = ()  # recipients that were suppressed, in the request's order


class Removal(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """``removals/<name>``: what is left of a deleted client or webhook, and goes page by page.

    ``webhooks``: the ids of the deleted ones. ``client_id``: with serial, if the client is deleted.
    """

    at: datetime
    webhooks: tuple[str, ...] = ()
    client_id: str | None = None
