"""The key schema: the only place that builds or parses a key of etcd. etcd/schema.md explains it.

Keys are bytes, as etcd compares and sorts them. All are under one prefix, so several installations
can share one etcd. An e-mail's shard is part of its job keys, so a slice of shards is one range.
"""

from __future__ import annotations

from datetime import datetime
from sys import intern
from typing import Literal, NamedTuple
from urllib.parse import quote

from babygun.email.ids import SHARDS, is_email_id, shard_of
from babygun.runtime.clock import format_time, parse_time

# Of an e-mail's end: an undelivered e-mail may be retried, so its content is kept longer.
EndKind = Literal["delivered", "undelivered"]
# Of a TLS report. open: somebody is to get it still.
ReportState = Literal["open", "done"]


class JobRef(NamedTuple):
    """Names one job: one queue of one e-mail."""

    email_id: str
    queue: str


class NoticeRef(NamedTuple):
    """Names one notice: one event for one webhook."""

    webhook_id: str
    event_id: str


def range_end(prefix: bytes) -> bytes:
    """The end of the range of all keys that start with ``prefix``."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


class Keys:
    """Builds and parses every key under one prefix.

    Parsing raises ValueError on a key of another form: somebody may have written one by hand.
    """

    def __init__(self, prefix: str = "/babygun/") -> None:
        self.prefix = p = prefix.encode()
        self.emails = p + b"emails/"
        self.jobs = p + b"jobs/"
        self.waiting = p + b"not-before/"
        self.owners = p + b"owners/"
        self.contents = p + b"contents/"
        self.logs = p + b"log/"
        self.parts = p + b"parts/"
        self.failures = p + b"failed/"
        self.workers = p + b"workers/"
        self.apis = p + b"apis/"
        self.clients = p + b"clients/"
        self.client_usages = p + b"client-usage/"
        self.signing_keys = p + b"signing-keys/"
        self.unsubscribe_keys = p + b"unsubscribe-keys/"
        self.return_path_keys = p + b"return-path-keys/"
        self.late_events = p + b"late-events/"
        self.revocations = p + b"revoked/"
        self.idempotencies = p + b"idempotency/"
        self.retentions = p + b"retention/"
        self.holds = p + b"holds/"
        self.slots = p + b"slots/"
        self.limits = p + b"limits/"
        self.reports = p + b"reports/"
        self.webhooks = p + b"webhooks/"
        self.webhook_secrets = p + b"webhook-secrets/"
        self.webhook_healths = p + b"webhook-health/"
        self.notices = p + b"notices/"
        self.due_notices = p + b"notices-due/"
        self.sent_notices = p + b"notices-sent/"
        self.notice_owners = p + b"notice-owners/"
        self.removals = p + b"removals/"
        self.suppressions = p + b"suppressions/"
        self.domains = p + b"domains/"
        self.dkim_keys = p + b"dkim-keys/"
        self.domain_alarms = p + b"domain-alarms/"
        self.tls_policies = p + b"tls-policies/"
        self.tls_reports = p + b"tls-reports/"
        self.warm_ups = p + b"warm-ups/"
        self.audit = p + b"audit/"
        self.audit_runs = p + b"audit-runs/"
        self.bounced_runs = p + b"audit-runs-bounced/"  # it may write no others
        self.cluster = p + b"cluster"  # one key: the name of the cluster that the prefix belongs to

    @property
    def timeline(self) -> bytes:
        """The key of which revision etcd had at which time."""
        return self.retentions + b"timeline"

    def email(self, email_id: str) -> bytes:
        return self.emails + email_id.encode()

    def email_id(self, key: bytes) -> str:
        """The e-mail of a key of ``emails/`` or ``failed/``."""
        return key[key.rindex(b"/") + 1 :].decode()

    def job(self, ref: JobRef) -> bytes:
        email_id, queue = ref
        return self.jobs + f"{shard_of(email_id)}/{queue}/{email_id}".encode()

    def parse_job(self, key: bytes) -> JobRef:
        _, queue, email_id = key[len(self.jobs) :].decode().split("/")
        return _job_ref(email_id, intern(queue))  # many jobs of a worker have the same

    def job_shard(self, shard: int) -> bytes:
        """The prefix of a shard's jobs."""
        return b"%b%02x/" % (self.jobs, shard)

    def job_queue(self, shard: int, queue: str) -> bytes:
        """The prefix of a queue's jobs in a shard."""
        return b"%b%02x/%b/" % (self.jobs, shard, queue.encode())

    def job_queues(self, shard: int, prefix: str) -> bytes:
        """The prefix of the jobs in a shard whose queue begins with ``prefix``."""
        return b"%b%02x/%b" % (self.jobs, shard, prefix.encode())

    def job_slice(self, first: int, end: int) -> tuple[bytes, bytes]:
        """The range of the jobs in shards [first, end)."""
        return self.job_shard(first), range_end(self.jobs) if end >= SHARDS else self.job_shard(end)

    def not_before(self, due: datetime, ref: JobRef) -> bytes:
        return b"%b%b/%b/%b" % (
            self.waiting,
            format_time(due).encode(),
            ref.email_id.encode(),
            ref.queue.encode(),
        )

    def parse_not_before(self, key: bytes) -> tuple[datetime, JobRef]:
        due, email_id, queue = key[len(self.waiting) :].decode().split("/")
        return parse_time(due), _job_ref(email_id, queue)

    def due_until(self, now: datetime) -> bytes:
        """The end of the range of what is due at ``now``."""
        return self.waiting + format_time(now).encode() + b"0"  # '0' comes after '/'

    def owner(self, ref: JobRef) -> bytes:
        return b"%b%b/%b" % (self.owners, ref.email_id.encode(), ref.queue.encode())

    def parse_owner(self, key: bytes) -> JobRef:
        email_id, queue = key[len(self.owners) :].decode().split("/")
        return _job_ref(email_id, queue)

    def email_owners(self, email_id: str) -> bytes:
        return b"%b%b/" % (self.owners, email_id.encode())

    def content(self, email_id: str) -> bytes:
        """The prefix of an e-mail's chunks."""
        return b"%b%b/" % (self.contents, email_id.encode())

    def chunk(self, email_id: str, number: int) -> bytes:
        return b"%b%b/%04d" % (self.contents, email_id.encode(), number)

    def log(self, email_id: str) -> bytes:
        """The prefix of an e-mail's log."""
        return b"%b%b/" % (self.logs, email_id.encode())

    def log_entry(self, email_id: str, seq: int) -> bytes:
        return b"%b%b/%06d" % (self.logs, email_id.encode(), seq)

    def email_parts(self, email_id: str) -> bytes:
        """The prefix of a wide e-mail's parts."""
        return b"%b%b/" % (self.parts, email_id.encode())

    def part(self, ref: JobRef) -> bytes:
        return b"%b%b/%b" % (self.parts, ref.email_id.encode(), ref.queue.encode())

    def parse_part(self, key: bytes) -> JobRef:
        email_id, queue = key[len(self.parts) :].decode().split("/")
        return _job_ref(email_id, queue)

    def failed(self, email_id: str) -> bytes:
        return self.failures + email_id.encode()

    def worker(self, worker_id: str) -> bytes:
        return self.workers + worker_id.encode()

    def api(self, api_id: str) -> bytes:
        return self.apis + api_id.encode()

    def client(self, client_id: str) -> bytes:
        return self.clients + client_id.encode()

    def client_usage(self, identity: str) -> bytes:
        return self.client_usages + identity.encode()

    def signing_key(self, kid: str) -> bytes:
        return self.signing_keys + kid.encode()

    def unsubscribe_key(self, kid: str) -> bytes:
        return self.unsubscribe_keys + kid.encode()

    def return_path_key(self, kid: str) -> bytes:
        return self.return_path_keys + kid.encode()

    def late_event(self, event_id: str) -> bytes:
        """The key which says that an event about an e-mail without a record was written."""
        return self.late_events + event_id.encode()

    def revoked(self, jti: str) -> bytes:
        return self.revocations + jti.encode()

    def last_part(self, key: bytes) -> str:
        """The name at the end of a key: a client id, a key id, a token id, a process's id."""
        return key[key.rindex(b"/") + 1 :].decode(errors="replace")

    def hold(self, site: str, sender: str = "") -> bytes:
        """``sender``: the domain whose mail alone is held there; empty: all mail is."""
        return self.holds + (f"{site}/{sender}" if sender else site).encode()

    def hold_name(self, key: bytes) -> str:
        """``<site>`` or ``<site>/<sender>``"""
        return key[len(self.holds) :].decode(errors="replace")

    def slot(self, site: str, number: int) -> bytes:
        return self.slots + f"{site}/{number}".encode()

    def wanted(self, site: str, worker_id: str) -> bytes:
        """The key by which a worker says that it waits for a slot of the site."""
        return self.slots + f"{site}/wanted/{worker_id}".encode()

    def parse_slot(self, key: bytes) -> tuple[str, int, str]:
        """The site; a slot's number, or 0; the worker that waits, or nothing."""
        site, *rest = key[len(self.slots) :].decode().split("/")
        if len(rest) == 2 and rest[0] == "wanted":
            return site, 0, rest[1]
        (number,) = rest
        return site, int(number), ""

    def limit(self, site: str) -> bytes:
        return self.limits + site.encode()

    def report(self, worker_id: str) -> bytes:
        return self.reports + worker_id.encode()

    def client_webhooks(self, client_id: str) -> bytes:
        """The one key of all webhooks of a client; ``client_id``: as in a record, with serial."""
        return self.webhooks + client_id.encode()

    def webhook_secret(self, webhook_id: str) -> bytes:
        return self.webhook_secrets + webhook_id.encode()

    def webhook_health(self, webhook_id: str) -> bytes:
        return self.webhook_healths + webhook_id.encode()

    def notice(self, ref: NoticeRef) -> bytes:
        return b"%b%b" % (self.webhook_notices(ref.webhook_id), ref.event_id.encode())

    def webhook_notices(self, webhook_id: str) -> bytes:
        """The prefix of a webhook's notices that are ready."""
        return self.notices + f"{shard_of(webhook_id)}/{webhook_id}/".encode()

    def notice_slice(self, first: int, end: int) -> tuple[bytes, bytes]:
        """The range of the ready notices of the webhooks in shards [first, end)."""
        start = b"%b%02x/" % (self.notices, first)
        return start, range_end(self.notices) if end >= SHARDS else b"%b%02x/" % (self.notices, end)

    def parse_notice(self, key: bytes) -> NoticeRef:
        """Of a key of ``notices/``."""
        _, webhook_id, event_id = key[len(self.notices) :].decode().split("/")
        return NoticeRef(intern(webhook_id), event_id)

    def due_notice(self, ref: NoticeRef, due: datetime) -> bytes:
        due_at = format_time(due).encode()
        return b"%b%b/%b" % (
            self.webhook_due_notices(ref.webhook_id),
            due_at,
            ref.event_id.encode(),
        )

    def webhook_due_notices(self, webhook_id: str) -> bytes:
        """The prefix of a webhook's notices that wait for their next try."""
        return self.due_notices + f"{webhook_id}/".encode()

    def parse_due_notice(self, key: bytes) -> tuple[datetime, NoticeRef]:
        webhook_id, due, event_id = key[len(self.due_notices) :].decode().split("/")
        return parse_time(due), NoticeRef(intern(webhook_id), event_id)

    def sent_notice(self, ref: NoticeRef) -> bytes:
        return b"%b%b" % (self.webhook_sent_notices(ref.webhook_id), ref.event_id.encode())

    def webhook_sent_notices(self, webhook_id: str) -> bytes:
        """The prefix of a webhook's notices that are sent or failed."""
        return self.sent_notices + f"{webhook_id}/".encode()

    def parse_sent_notice(self, key: bytes) -> NoticeRef:
        webhook_id, event_id = key[len(self.sent_notices) :].decode().split("/")
        return NoticeRef(intern(webhook_id), event_id)

    def notice_owner(self, webhook_id: str) -> bytes:
        return self.notice_owners + webhook_id.encode()

    def removal(self, name: str) -> bytes:
        """``name``: of a webhook, or of a client with serial."""
        return self.removals + name.encode()

    def suppression(self, client_id: str, list_name: str, mailbox: str) -> bytes:
        """``client_id``: an identity. ``mailbox``: an address as it is compared.

        It is the key's last part, so it may have a slash.
        """
        return self.suppressions + f"{client_id}/{list_name}/{mailbox}".encode()

    def client_suppressions(self, client_id: str, list_name: str = "") -> bytes:
        """The prefix of a client's suppressions, or of those of one list."""
        of_list = f"{list_name}/" if list_name else ""
        return self.suppressions + f"{client_id}/{of_list}".encode()

    def parse_suppression(self, key: bytes) -> tuple[str, str, str]:
        """The client's identity, the list and the mailbox."""
        client_id, list_name, mailbox = key[len(self.suppressions) :].decode().split("/", 2)
        return client_id, list_name, mailbox

    def domain(self, name: str) -> bytes:
        return self.domains + name.encode()

    def dkim_key(self, name: str, selector: str) -> bytes:
        return self.domain_dkim_keys(name) + selector.encode()

    def domain_dkim_keys(self, name: str) -> bytes:
        """The prefix of a domain's DKIM keys."""
        return self.dkim_keys + f"{name}/".encode()

    def domain_ranges(self, name: str) -> tuple[bytes, bytes]:
        """The prefixes of what goes with a domain: its DKIM keys, and its alarms."""
        return self.domain_dkim_keys(name), self.domain_alarms_of(name)

    def parse_dkim_key(self, key: bytes) -> tuple[str, str]:
        """The domain and the selector."""
        name, selector = key[len(self.dkim_keys) :].decode().split("/")
        return name, selector

    def domain_alarm(self, domain: str, cause: str) -> bytes:
        return self.domain_alarms_of(domain) + cause.encode()

    def domain_alarms_of(self, domain: str) -> bytes:
        """The prefix of a domain's alarms."""
        return self.domain_alarms + f"{domain}/".encode()

    def domain_alarm_name(self, key: bytes) -> str:
        """``<domain>/<cause>``"""
        return key[len(self.domain_alarms) :].decode(errors="replace")

    def tls_policy(self, domain: str) -> bytes:
        """``domain``: of recipients, in ASCII and lower case."""
        return self.tls_policies + domain.encode()

    @property
    def tls_counts(self) -> bytes:
        """The prefix of what TLS reports are made of."""
        return self.tls_reports + b"counts/"

    def tls_count(self, day: str, domain: str, process: str) -> bytes:
        """``day``: as 2026-11-29. ``domain``: in ASCII. ``process``: a random name."""
        return self.domain_tls_counts(day, domain) + process.encode()

    def domain_tls_counts(self, day: str, domain: str) -> bytes:
        """The prefix of what all processes have counted of a domain on a day."""
        return self.tls_counts + f"{day}/{domain}/".encode()

    def tls_counts_before(self, day: str) -> bytes:
        """The end of the range of the counts of earlier days."""
        return self.tls_counts + day.encode()

    def parse_tls_count(self, key: bytes) -> tuple[str, str]:
        """The day and the domain."""
        day, domain, _ = key[len(self.tls_counts) :].decode().split("/")
        return day, domain

    def tls_report(self, state: ReportState, day: str, domain: str) -> bytes:
        return self.tls_reports_of(state) + f"{day}/{domain}".encode()

    def tls_reports_of(self, state: ReportState) -> bytes:
        """The prefix of the TLS reports that are to be sent still, or of the others."""
        return self.tls_reports + f"{state}/".encode()

    def parse_tls_report(self, key: bytes) -> tuple[str, str]:
        """The day and the domain."""
        _, day, domain = key[len(self.tls_reports) :].decode().split("/")
        return day, domain

    @property
    def warm_up_sources(self) -> bytes:
        """The prefix of what says since when each source sends."""
        return self.warm_ups + b"sources/"

    def warm_up_source(self, source: str) -> bytes:
        """``source``: an address of ours, or a sending domain."""
        return self.warm_up_sources + source.encode()

    def warm_up_counts(self, source: str, site: str = "") -> bytes:
        """What a source has sent to one site; without ``site`` the prefix of all of them."""
        return self.warm_ups + f"counts/{source}/{site}".encode()

    def audit_entry(self, entry_id: str) -> bytes:
        """``entry_id``: of the form of an e-mail's, so entries sort by time."""
        return self.audit + entry_id.encode()

    def audit_run(self, role: str) -> bytes:
        prefix = self.bounced_runs if role == "bounced" else self.audit_runs
        return prefix + role.encode()

    def idempotency(self, client_id: str, key: str) -> bytes:
        return b"%b%b/%b" % (self.idempotencies, client_id.encode(), quote(key, safe="").encode())

    def idempotency_parts(self, client_id: str, key: str) -> bytes:
        """The prefix of the keys that a batch's parts leave, all but the first.

        The first part leaves :meth:`idempotency` itself, which has no slash in its last part.
        """
        return self.idempotency(client_id, key) + b"/"

    def retention(self, kind: str, granted: datetime, lease_id: int) -> bytes:
        """A retention lease's own key, on that lease. ``kind``: ``emails`` or ``idempotency``."""
        return b"%b%b/%b/%x" % (
            self.retentions,
            kind.encode(),
            format_time(granted).encode(),
            lease_id,
        )

    def retention_kind(self, kind: str) -> bytes:
        return b"%b%b/" % (self.retentions, kind.encode())

    def retention_before(self, kind: str, until: datetime) -> bytes:
        """The end of the range of what of a kind, end marks too, has an earlier time."""
        return self.retention_kind(kind) + format_time(until).encode()

    def parse_retention(self, key: bytes) -> tuple[str, datetime, int]:
        kind, granted, lease = key[len(self.retentions) :].decode().split("/")
        return kind, parse_time(granted), int(lease, 16)

    def end_mark(self, kind: EndKind, since: datetime, email_id: str) -> bytes:
        """The key that says since when an e-mail is final, while its content is kept."""
        return b"%b%b/%b/%b" % (
            self.retentions,
            kind.encode(),
            format_time(since).encode(),
            email_id.encode(),
        )

    def parse_end_mark(self, key: bytes) -> tuple[datetime, str]:
        since, email_id = key[len(self.retentions) :].decode().split("/")[1:]
        return parse_time(since), _job_ref(email_id, "").email_id


def _job_ref(email_id: str, queue: str) -> JobRef:
    if not is_email_id(email_id):
        raise ValueError(f"{email_id!r} is not an email id")
    return JobRef(email_id, queue)
