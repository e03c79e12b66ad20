"""The table of all metrics: name, labels, the processes that have it, what it says.

docs/metrics.md shows the table. The hot paths count by e-mail or by RPC, never by key.
"""

from __future__ import annotations

import platform

from prometheus_client import Gauge, GCCollector, PlatformCollector, ProcessCollector

from babygun import __version__
from babygun.runtime.metric_types import (
    REGISTRIES,
    Roles,
    Row,
    counter,
    counters,
    gauge,
    gauges,
    histogram,
    histograms,
    listed,
    reading,
)

API: Roles = ("api",)
WORKER: Roles = ("worker",)
BOUNCED: Roles = ("bounced",)
ALL = API + WORKER + BOUNCED

# Buckets, in seconds: from etcd on the same machine up to its time limit; calls of the API;
# from a server in the same network up to its time limits.
_RPC_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_CALL_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_SEND_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 96, 127)  # transactions; etcd's limit is 127

# All of them

_BUILD = listed(
    Row(
        "babygun_build_info",
        "gauge",
        ("version", "python", "role"),
        ALL,
        "Always 1. The labels say what runs.",
    )
)
ETCD_RPC = histograms(
    "babygun_etcd_rpc_seconds",
    ("rpc",),
    ALL,
    "Time of one request to etcd, failed or not. A repeated one counts again, a watch never.",
    _RPC_BUCKETS,
)
ETCD_RPC_ERRORS = counters(
    "babygun_etcd_rpc_errors_total",
    ("rpc", "reason"),
    ALL,
    "Requests to etcd that failed. `reason`: gRPC's status in lower case, `no_connection` if no "
    "member could be reached, or `refused` if it was not sent because etcd is away.",
)
ETCD_BATCH = histogram(
    "babygun_etcd_batch_transactions",
    ALL,
    "Transactions that went to etcd as one request (group commit).",
    _BATCH_BUCKETS,
)
EVENT_LOOP_LAG = gauge(
    "babygun_event_loop_lag_seconds",
    ALL,
    "The longest delay of the event loop in the last 15 s, measured once a second.",
)
CERTIFICATE_EXPIRY = gauges(
    "babygun_certificate_expiry_timestamp_seconds",
    ("use",),
    ALL,
    "End of the certificate in use, Unix time. `use`: api (for clients), bounces (for mail "
    "servers) or etcd (for etcd).",
)
EMAILS_ENDED = counters(
    "babygun_emails_ended_total",
    ("status",),
    ALL,
    "E-mails that became final: complete and failed (by workers; by an API process, if all "
    "recipients were suppressed), cancelled (by API processes).",
)
SUPPRESSIONS_WRITTEN = counters(
    "babygun_suppressions_written_total",
    ("reason",),
    ALL,
    "Addresses put on lists. `reason`: hard_bounce (by workers; imported ones by API processes), "
    "complaint, unsubscribe or manual. Nothing counts if an earlier entry stays.",
)

# API

EMAILS_ACCEPTED = counter(
    "babygun_emails_accepted_total",
    API,
    "E-mails accepted and stored. A repeated Idempotency-Key does not count again.",
)
RECIPIENTS_ACCEPTED = counter(
    "babygun_recipients_accepted_total", API, "Recipients of the accepted e-mails."
)
RECIPIENTS_SUPPRESSED = counters(
    "babygun_recipients_suppressed_total",
    ("reason",),
    API,
    "Recipients of accepted e-mails that were suppressed already. They are not tried. `reason`: "
    "hard_bounce, complaint, unsubscribe or manual.",
)
CLIENT_REFUSALS = counters(
    "babygun_client_refusals_total",
    ("limit",),
    API,
    "Calls refused with 429 because a client has used up a limit. `limit`: rate, or day (the daily "
    "limit of recipients).",
)
UNSUBSCRIBE_CALLS = counters(
    "babygun_unsubscribe_calls_total",
    ("outcome",),
    API,
    "Calls of links to unsubscribe. `outcome`: shown (the page, which changes nothing), "
    "unsubscribed, or repeated (it was so already). Or refused (a body that no mail program "
    "sends), no_link (forged or too old), limited (too many from one address). Or failed (the "
    "recipient is asked to try again later).",
)
HTTP_REQUESTS = counters(
    "babygun_http_requests_total",
    ("method", "route", "status"),
    API,
    "Answers. `route`: the template of the path, or `_other` for an unknown path.",
)
HTTP_SECONDS = histograms(
    "babygun_http_request_seconds",
    ("method", "route"),
    API,
    "Time from the head of a request to its answer.",
    _CALL_BUCKETS,
)
EVENT_LISTENERS = gauge("babygun_event_listeners", API, "Open streams of GET /events.")
QUEUE_JOBS = reading(
    "babygun_queue_jobs",
    ("queue", "state"),
    API,
    "Jobs in etcd. `state`: ready (those being sent too) or waiting (for their time). "
    "`queue`: `_other` for the sum of the further queues.",
)
OLDEST_JOB = reading(
    "babygun_oldest_job_seconds",
    ("queue", "state"),
    API,
    "ready: age of the oldest ready job. waiting: how late the most overdue job is, 0 if none is.",
    combine=max,
)
SITES_HELD = reading(
    "babygun_sites_held",
    ("site",),
    API,
    "Held sites, whose mail waits. A relay and a provider such as `mx:google` have 1 or 0. All "
    "other mail hosts together are `mx:default`: the number of them that are held.",
)
SITES_LIMITED = reading(
    "babygun_sites_limited",
    ("site",),
    API,
    "Sites whose limits are lower for a while, since their replies or an operator said so.",
)
SITE_CONNECTIONS = reading(
    "babygun_site_connections",
    ("site", "limit"),
    API,
    "Connections of all workers to the sites of this label. `limit`: open (those that are there), "
    "now (the most at this moment) or table (the most by the table of providers).",
)
OWNED_JOBS = reading("babygun_owned_jobs", (), API, "Jobs that a worker owns now.")
WORKERS = reading("babygun_workers", (), API, "Workers whose lease is alive.")
ETCD_MEMBER_UP = reading(
    "babygun_etcd_member_up",
    ("endpoint",),
    API,
    "1 if this endpoint of `etcd_endpoints` answers, else 0.",
)
ETCD_DB = reading(
    "babygun_etcd_db_bytes",
    ("endpoint",),
    API,
    "Size of etcd's database file. It never shrinks by itself.",
)
ETCD_DB_IN_USE = reading(
    "babygun_etcd_db_in_use_bytes",
    ("endpoint",),
    API,
    "The part of the file that is in use. This, and its growth, decides when old e-mails are "
    "deleted early and when new ones are refused.",
)
ETCD_QUOTA = reading(
    "babygun_etcd_quota_bytes",
    ("endpoint",),
    API,
    "etcd's quota; the setting `etcd_quota` if etcd does not report it.",
)
ETCD_ROOM = reading(
    "babygun_etcd_room_bytes",
    (),
    API,
    "Room for new e-mails in etcd. The reserve is not in it. At 0 new e-mails are refused.",
)

# Worker

RECIPIENTS = counters(
    "babygun_recipients_total",
    ("site", "outcome", "class"),
    WORKER,
    "Recipients by the result of a try. `outcome`: delivered, deferred (tried again), failed (for "
    "good) or suppressed (left out). `class`: the class of the reply, or the suppression's reason. "
    "`site`: a relay, or `mx:google` and the like.",
)
SITE_HOLDS = counters(
    "babygun_site_holds_total",
    ("site", "event"),
    WORKER,
    "Holds of sites, and of one sender's domain there. `event`: begun (by this worker), probed "
    "(without success) or ended (by a probe of this worker that got through).",
)
WARM_UP_RECIPIENTS = counters(
    "babygun_warm_up_recipients_total",
    ("kind", "outcome"),
    WORKER,
    "Recipients of mail from sources that warm up. `kind`: address or domain. `outcome`: sent "
    "(they count against a ceiling), moved (they went from an older address) or put_off (they wait "
    "for the next day).",
)
JOBS_IN_FLIGHT = reading(
    "babygun_jobs_in_flight",
    ("site",),
    WORKER,
    "Jobs that this worker works on, from claim to result.",
)
JOBS_READY = reading(
    "babygun_jobs_ready",
    ("site",),
    WORKER,
    "Ready jobs of its slice that this worker knows by name, at most 200,000 in all. `mx:unknown`: "
    "the site of their domain is looked up.",
)
CLAIMS = counters(
    "babygun_claims_total",
    ("outcome",),
    WORKER,
    "Claims. `outcome`: claimed; lost (another worker has the job, or it is gone); unanswered (by "
    "etcd); lease_lost (this worker's own lease was gone).",
)
CLAIM_TO_REPLY = histograms(
    "babygun_claim_to_reply_seconds",
    ("site",),
    WORKER,
    "Time from a claim to the mail server's reply to the message.",
    _SEND_BUCKETS,
)
TLS_SESSIONS = counters(
    "babygun_tls_sessions_total",
    ("site", "policy", "got"),
    WORKER,
    "Connections to mail servers, by what they got of TLS. `policy`: none, sts, sts_testing or "
    "dane. `got`: verified, encrypted (nobody knows by whom), plain, or failed (nothing was sent).",
)
TLS_REPORTS = counters(
    "babygun_tls_reports_total",
    ("outcome",),
    WORKER,
    "Tries to send a TLS report to one of its places. `outcome`: sent (taken, or an e-mail of ours "
    "by now), deferred (tried again) or failed (no more tries).",
)
DKIM_SIGNATURES = counters(
    "babygun_dkim_signatures_total",
    ("result",),
    WORKER,
    "DKIM signatures. `result`: signed; failed (the key can't be used, so the e-mail waits).",
)
UNAUTHENTICATED = counters(
    "babygun_unauthenticated_total",
    ("cause",),
    WORKER,
    "Replies which say that mail of a sender's domain is not authenticated. `cause`: spf, dkim, "
    "dmarc, alignment, null_mx or unauthenticated.",
)
RESULTS_DROPPED = counter(
    "babygun_results_dropped_total",
    WORKER,
    "Results not written, as another worker had taken the job. The message may have been sent "
    "twice.",
)
SMTP_CONNECTIONS = reading(
    "babygun_smtp_connections",
    ("site", "state"),
    WORKER,
    "Connections to mail servers. `state`: busy or idle.",
)
SMTP_WAITING = reading(
    "babygun_smtp_waiting", ("site",), WORKER, "Messages that wait for a connection."
)
LEASE_MARGIN = reading(
    "babygun_lease_margin_seconds",
    (),
    WORKER,
    "How much longer this worker's lease is sure to last. At 0 the worker sends nothing.",
)
SLICE_SHARDS = reading(
    "babygun_slice_shards", (), WORKER, "Shards that this worker works on, of 256."
)
RECLAIMED = counter("babygun_jobs_reclaimed_total", WORKER, "Jobs taken over from dead workers.")
SHED = counters(
    "babygun_shed_total",
    ("kind",),
    WORKER,
    "Deleted early to free space in etcd. `kind`: contents of e-mails; notices or emails: leases "
    "with events that webhooks got, or with records and logs, up to 1,000 keys each; waiting: "
    "events that waited for a webhook, and have failed.",
)

NOTICES = counters(
    "babygun_notices_total",
    ("outcome",),
    WORKER,
    "Tries to send an event to a webhook. `outcome`: sent (answered 2xx), deferred (tried again) "
    "or failed (no more tries).",
)
NOTICE_SECONDS = histogram(
    "babygun_notice_seconds", WORKER, "Time of one request to a webhook.", _CALL_BUCKETS
)
NOTICES_KNOWN = reading(
    "babygun_notices_known", (), WORKER, "Events that this worker has read, and that are not sent."
)
NOTICES_LATE = reading(
    "babygun_notices_late_seconds",
    (),
    WORKER,
    "How long ago the oldest event happened that is ready for a webhook which answers.",
)
WEBHOOKS = reading(
    "babygun_webhooks",
    ("state",),
    WORKER,
    "Webhooks that this worker sends to. `state`: ok or failing (its last tries all failed).",
)
WEBHOOKS_DISABLED = counters(
    "babygun_webhooks_disabled_total",
    ("reason",),
    WORKER,
    "Webhooks that this worker has disabled. `reason`: failing (for `webhook_disable_after`) or "
    "gone (the endpoint answered 410).",
)

STS_FETCHES = counters(
    "babygun_sts_fetches_total",
    ("outcome",),
    WORKER,
    "Fetches of MTA-STS policies of recipients' domains. `outcome`: fetched or failed.",
)

DOMAIN_LOOKS = counters(
    "babygun_domain_looks_total",
    ("status",),
    ALL,
    "Looks at the DNS records of a sending domain, by what came of them. `status`: verified, "
    "pending or failed.",
)
SENDING_DOMAINS = reading(
    "babygun_sending_domains",
    ("status",),
    WORKER,
    "Sending domains by the last look at their DNS records. `status`: verified, pending or failed.",
)

# bounced

RETURNED_MESSAGES = counters(
    "babygun_returned_messages_total",
    ("kind",),
    BOUNCED,
    "Messages that came back. `kind`: bounce, delayed, relayed (both are no bounces), complaint, "
    "auto_reply or unknown (nothing that is known).",
)
RETURNED_OUTCOMES = counters(
    "babygun_returned_outcomes_total",
    ("kind", "outcome"),
    BOUNCED,
    "The outcome for each recipient that they name. `kind`: bounce or complaint. `outcome`: "
    "applied (written), already (written before, or not delivered), no_record (the e-mail is gone: "
    "the event alone). Or unknown (no such client or recipient), unmatched (a complaint that names "
    "none of our e-mails). Or too_early or away (the server is asked to come again).",
)
RETURNED_REFUSED = counters(
    "babygun_returned_refused_total",
    ("reason",),
    BOUNCED,
    "Refusals. `reason`: address (none of ours), connections (too many), guesses (too many wrong "
    "addresses in one session), size or slow (the message). Or etcd (away) or error (a fault of "
    "Babygun): the mail server then comes again.",
)
RETURNED_CONNECTIONS = reading(
    "babygun_returned_connections", (), BOUNCED, "Open connections of mail servers."
)

# Series that begin at 0: a rate would miss the event with which a series appears.
for _counters, _known in (
    (EMAILS_ENDED, ("complete", "failed", "cancelled")),
    (CLIENT_REFUSALS, ("rate", "day")),
    (CLAIMS, ("claimed", "lost", "unanswered", "lease_lost")),
    (SHED, ("contents", "notices", "waiting", "emails")),
    (NOTICES, ("sent", "deferred", "failed")),
    (WEBHOOKS_DISABLED, ("failing", "gone")),
    (STS_FETCHES, ("fetched", "failed")),
    (
        UNAUTHENTICATED,
        ("spf", "dkim", "dmarc", "alignment", "null_mx", "unauthenticated"),
    ),
    (
        RETURNED_MESSAGES,
        ("bounce", "delayed", "relayed", "complaint", "auto_reply", "unknown"),
    ),
    (
        RETURNED_REFUSED,
        ("address", "connections", "guesses", "size", "slow", "etcd", "error"),
    ),
    (DOMAIN_LOOKS, ("verified", "pending", "failed")),
):
    for _label in _known:
        _counters[_label]
for _role, _registry in REGISTRIES.items():
    ProcessCollector(registry=_registry)
    PlatformCollector(registry=_registry)
    GCCollector(registry=_registry)
    _info = Gauge(_BUILD.name, _BUILD.help, _BUILD.labels, registry=_registry)
    _info.labels(__version__, platform.python_version(), _role).set(1)
