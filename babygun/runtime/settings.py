"""The table of all settings: name, type, default, what it does. docs/settings.md shows it.

A setting ``x`` is read from the variable ``BABYGUN_X``, else from the key ``x`` of the TOML file
that ``BABYGUN_CONFIG`` names, else it is the default. Routes are the one nested setting: see
:mod:`babygun.routing.route_settings`.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from babygun.errors import SettingsError
from babygun.runtime.networks import Network
from babygun.runtime.setting_types import (
    ADDRESSES,
    DATES,
    DURATION,
    DURATIONS,
    FLAG,
    LAST_PORT,
    LIST,
    LOCAL_RESOLVER,
    NETWORKS,
    NUMBER,
    NUMBERS,
    OBJECT,
    PUBLIC_URL,
    RESOLVERS,
    SENDER_ID,
    SIZE,
    TEXT,
    Type,
    one_of,
)

_MOST_PROCESSES = 64
# Each process has such a port of its own: the first takes it, the others the ports after it.
_OWN_PORTS = ("api_process_port", "worker_port")
# Variables of scripts, of Compose and of the tests.
OTHER_VARIABLES = frozenset(
    f"BABYGUN_{name}"
    for name in (
        *("CONFIG", "ETCD_BIN", "VERSION", "BIND", "PORT", "BOUNCE_BIND", "BALANCER_NETWORKS"),
        *("BACKUPS", "CERTIFICATES", "ETCD_NAMES", "API_NAMES", "FIRST_CLIENT", "TOOLS_CLIENT"),
        *("TEST_ETCD", "TEST_MACHINES"),
    )
)
# Kubernetes gives each pod such variables of a service whose name begins with babygun.
_of_kubernetes = re.compile(
    r".*(_SERVICE_HOST=|_SERVICE_PORT(_\w+)?=|_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?=|_PORT=\w+://).*"
).fullmatch


class Row(NamedTuple):
    """One setting. ``default`` is written as a person would write it."""

    name: str
    type: Type
    default: str
    help: str
    secret: bool
    minimum: float | None
    maximum: float | None

    @property
    def variable(self) -> str:
        return f"BABYGUN_{self.name.upper()}"

    def write(self, value: Any) -> str:
        """The text that a variable would hold for this value."""
        is_default = value == self.type.parse(self.default)
        return self.default if is_default else self.type.write(value)

    def read(self, text: str, where: str) -> Any:
        """The value of a text. ``where`` it stands is named in a SettingsError."""
        try:
            return self.type.parse(text)
        except ValueError as error:
            reason = "(the value is not shown)" if self.secret else error
            raise SettingsError(f"{where}: {reason}") from None


def setting(
    type: Type,
    default: str,
    help: str,
    *,
    secret: bool = False,
    minimum: float | None = None,
    maximum: float | None = None,
) -> Any:
    """One row of the table; its name is that of the field."""
    return field(
        default_factory=lambda: type.parse(default),
        metadata={"row": (type, default, help, secret, minimum, maximum)},
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings. Durations are in seconds, sizes in bytes. Raises SettingsError."""

    # etcd
    etcd_endpoints: tuple[str, ...] = setting(
        LIST,
        "http://127.0.0.1:2379",
        "etcd's client addresses, http:// or https://. When one fails, the next one is tried.",
    )
    etcd_user: str = setting(TEXT, "", "User name, if etcd's authentication is on.")
    etcd_password: str = setting(TEXT, "", "Password of that user.", secret=True)
    etcd_ca: str = setting(
        TEXT, "", "PEM file of the CA that signed etcd's certificates. Empty: the system's CAs."
    )
    etcd_cert: str = setting(TEXT, "", "PEM file of Babygun's client certificate for etcd.")
    etcd_key: str = setting(TEXT, "", "PEM file of the private key of `etcd_cert`.")
    etcd_timeout: float = setting(
        DURATION,
        "5s",
        "The longest time that one request to etcd may take. If etcd does not answer, a call of "
        "the API gets 503 at most a second later.",
        minimum=0.1,
    )
    etcd_quota: int = setting(
        SIZE,
        "8GiB",
        "etcd's database quota, used if etcd does not report it (before 3.6). Near the quota, old "
        "e-mails are deleted early.",
    )
    prefix: str = setting(
        TEXT, "/babygun/", "Prefix of all keys in etcd. It begins and ends with a slash."
    )
    secrets_key_file: str = setting(
        TEXT,
        "",
        "File with the keys that seal secrets in etcd, such as DKIM keys: each line has 32 random "
        "bytes in base64. The first one seals, all of them open. Without a key no sending domain "
        "can be made. Keep a copy apart from the backups of etcd.",
    )
    secrets_keys: tuple[str, ...] = setting(
        LIST, "", "The keys themselves, in place of `secrets_key_file`.", secret=True
    )
    cluster: str = setting(
        TEXT,
        "",
        "A name for this installation. If it is set, a process with another name refuses to work "
        "on the same prefix.",
    )
    # API and worker
    processes: int = setting(
        NUMBER,
        "1",
        "Processes that one `babygun api` or `babygun worker` runs, at most 64. 0: one for each "
        "core.",
        minimum=0,
        maximum=_MOST_PROCESSES,
    )
    watchdog: float = setting(
        DURATION,
        "1m",
        "A process that stands still for so long says where, and ends. The supervisor, systemd or "
        "Docker then starts another. 0: it goes on standing still.",
        minimum=0,
    )
    # the API
    api_host: str = setting(TEXT, "127.0.0.1", "Address that the API listens on. 0.0.0.0: all.")
    api_port: int = setting(NUMBER, "8080", "Port that the API listens on. 0: any free port.")
    api_process_port: int = setting(
        NUMBER,
        "0",
        "A second port of the API that processes do not share, for the /metrics of each. With "
        "several processes, the first takes this port, the others the ports after it. 0: none.",
    )
    api_cert: str = setting(
        TEXT,
        "",
        "PEM file of the API's certificate. If it is set, the API speaks https only. A changed "
        "file is read again.",
    )
    api_key: str = setting(TEXT, "", "PEM file of the private key of `api_cert`.")
    public_url: str = setting(
        PUBLIC_URL,
        "",
        "The https URL at which recipients reach the API, such as https://mail.example.com. Links "
        "to unsubscribe lead there. Empty: no e-mail can have one.",
    )
    unsubscribe_retention: float = setting(
        DURATION,
        "365d",
        "How long a link to unsubscribe works after its e-mail was sent, at least. It counts for "
        "keys that are made from now on: a new one every 30 days.",
        minimum=86400,
    )
    return_path_retention: float = setting(
        DURATION,
        "90d",
        "How long a return path counts after it was last used: later bounce messages and "
        "complaints are not read. It counts for keys that are made from now on.",
        minimum=86400,
    )
    trusted_proxies: tuple[Network, ...] = setting(
        NETWORKS,
        "",
        "Networks of the HTTP proxies before the API. `X-Forwarded-For` and `X-Forwarded-Proto` "
        "are believed from these, and from nobody else.",
    )
    proxy_protocol: tuple[Network, ...] = setting(
        NETWORKS,
        "",
        "Networks of the load balancers that pass TCP on. Their connections to `api_port` must "
        "begin with a PROXY header, version 2, which names the caller's address.",
    )
    token_ttl: float = setting(DURATION, "1h", "How long a token is valid.", minimum=1)
    signing_key_period: float = setting(
        DURATION,
        "30d",
        "How long one key signs tokens. Then an API process makes a new one; the old one verifies "
        "its tokens until the last of them has ended. 0: for ever.",
    )
    token_rate: int = setting(
        NUMBER,
        "100",
        "Tokens and sign-ins a second that one API process gives to a client. For wrong secrets "
        "the limit is a tenth of that, by address and by client id. Above it the answer is 429.",
        minimum=1,
    )
    require_domains: bool = setting(
        FLAG,
        "yes",
        "A client may send only from the sending domains that it holds, and from their subdomains. "
        "no: from any domain, as in `babygun dev`.",
    )
    max_recipients: int = setting(
        NUMBER,
        "1000",
        "Recipients of one e-mail, at most 1000: its record has to fit one etcd request.",
        minimum=1,
        maximum=1000,
    )
    max_body: int = setting(
        SIZE, "5MiB", "Size of the text of one e-mail, and of its HTML, each at most this."
    )
    max_attachments: int = setting(
        SIZE, "20MiB", "Size of all attachments of one e-mail together, decoded."
    )
    max_request: int = setting(SIZE, "40MiB", "Size of one HTTP request.")
    api_memory: int = setting(
        SIZE,
        "256MiB",
        "Bodies and answers above 64 KiB that one API process holds at a time. Further ones wait, "
        "then get 503. One client gets no more than it leaves free for others: half, if it is "
        "alone. One body that is larger than this is held alone. Smaller bodies get a quarter of "
        "this beside it.",
        minimum=1,
    )
    request_timeout: float = setting(
        DURATION,
        "2m",
        "The longest time that a request's body may take to arrive; then the answer is 408. A "
        "client has as long to take an answer; then it is cut off.",
        minimum=0.1,
    )
    api_connections: int = setting(
        NUMBER,
        "4000",
        "Connections that one API process keeps on its port at a time. Further ones get 503.",
        minimum=1,
    )
    api_connections_per_address: int = setting(
        NUMBER,
        "2000",
        "Connections that one API process keeps from one address. A balancer is one address, too: "
        "it should limit each client to fewer.",
        minimum=1,
    )
    idempotency_retention: float = setting(
        DURATION, "24h", "How long an Idempotency-Key is remembered.", minimum=60
    )
    audit_retention: float = setting(
        DURATION,
        "365d",
        "How long the audit is kept: who changed what. It is not deleted early if etcd fills up.",
        minimum=3600,
    )
    suppress_hard_bounces: float = setting(
        DURATION,
        "90d",
        "How long no mail goes to an address after a server said that there is no such mailbox. "
        "0: such a reply suppresses nothing.",
    )
    suppress_others: float = setting(
        DURATION,
        "0",
        "How long other addresses are suppressed: after a complaint, after the owner has "
        "unsubscribed, or when added by hand. 0: for ever.",
    )
    max_suppressions: int = setting(
        NUMBER,
        "1000000",
        "Suppressions that a client may have; further ones by its calls and imports are refused. "
        "Bounces, complaints and people who unsubscribe go beyond it. Each takes about 300 bytes "
        "of etcd. 0: any number.",
    )
    upload_lease: float = setting(
        DURATION,
        "5m",
        "How long the stored parts of a large e-mail stay if its acceptance never completes.",
        minimum=1,
    )
    # delivery
    relay_url: str = setting(
        TEXT,
        "",
        "The default relay: smtp://user:password@host:port or smtps://… (TLS from the start). "
        "smtp:// with a password needs STARTTLS and a certificate that is checked, except on this "
        "machine; without one, STARTTLS is used if offered.",
        secret=True,
    )
    routes: dict[str, Any] = setting(
        OBJECT,
        "",
        "Routes by name, each with a relay's url or with mx, and with domains, tls, "
        "retry_intervals and more (docs/delivery.md). The first one that matches takes a "
        "recipient's mail.",
        secret=True,
    )
    relays: dict[str, Any] = setting(
        OBJECT, "", "The earlier name of `routes`. Not both can be set.", secret=True
    )
    default: str = setting(
        one_of("", "mx"),
        "",
        "mx: the mail of all domains that no route takes goes straight to their mail hosts. It "
        "stands in the place of `relay_url`.",
    )
    resolvers: tuple[str, ...] = setting(
        RESOLVERS,
        "",
        "The DNS resolvers that are asked for mail hosts, in this order. Empty: the system's.",
    )
    dane_resolver: str = setting(
        LOCAL_RESOLVER,
        "",
        "A resolver on this machine that checks signatures (DNSSEC), such as Unbound. It is asked "
        "for mail hosts in place of `resolvers`, and DANE is used. Empty: there is no DANE.",
    )
    tls_policies: dict[str, Any] = setting(
        OBJECT,
        "",
        "By recipient domain, the policy for its mail hosts, instead of the domain's own policy: "
        "none, encrypted, dane, or a list of mail hosts (docs/delivery.md).",
    )
    sts_ca: str = setting(
        TEXT,
        "",
        "PEM file of the CAs that MTA-STS trusts, for policies and for mail hosts. Empty: the "
        "system's CAs. Another one is for tests.",
    )
    sts_port: int = setting(
        NUMBER,
        "443",
        "Port of the hosts that have MTA-STS policies. Another one is for tests.",
        minimum=1,
        maximum=LAST_PORT,
    )
    source_addresses: tuple[str, ...] = setting(
        ADDRESSES,
        "",
        "Our own addresses from which mail goes to mail hosts, of all workers' machines. Each "
        "worker uses those of its machine. Empty: the system's choice.",
    )
    warm_up: str = setting(
        one_of("both", "addresses", "domains", "off"),
        "both",
        "Which new sources warm up: those of `source_addresses`, sending domains, or both. They "
        "send little to each provider at first, and more each day. It is about mail that goes "
        "straight to mail hosts. `babygun dev` sets it to off.",
    )
    warm_up_table: tuple[int, ...] = setting(
        NUMBERS,
        "50, 100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 102400",
        "The most recipients that a new source has at each provider on its first day, on its "
        "second, and so on (UTC). After the last one it is warm: there is no ceiling.",
    )
    warm_up_began: dict[str, date] = setting(
        DATES,
        "",
        "The first days of sources that have sent before, such as 192.0.2.7=2026-01-31, "
        "example.com=2026-01-31. Other sources begin when they are first used.",
    )
    spf_include: str = setting(
        TEXT,
        "",
        "The domain whose SPF record names the addresses of your relays, such as "
        "_spf.relay.example. The SPF records of sending domains have to include it.",
    )
    bounce_hostname: str = setting(
        TEXT,
        "",
        "The name of the host to which bounce messages come back. The MX record of each return "
        "path names it. Empty: sending domains have no return path.",
    )
    tls_reports: bool = setting(
        FLAG,
        "no",
        "yes: domains that ask for TLS reports (RFC 8460) get one each day: how connections to "
        "their mail hosts used TLS. It needs `tls_report_sender`.",
    )
    tls_report_sender: str = setting(
        TEXT,
        "",
        "The sender of TLS reports, such as tls-reports@example.com. A client has to hold its "
        "sending domain: the reports are e-mails of that client.",
    )
    tls_report_organization: str = setting(
        TEXT, "", "Your name in TLS reports. Empty: the sender's domain."
    )
    tls_report_contact: str = setting(
        TEXT, "", "The e-mail address for questions about TLS reports. Empty: the sender."
    )
    allow_networks: tuple[Network, ...] = setting(
        NETWORKS,
        "",
        "Networks that are not public, and that DNS may still lead mail into. For mail hosts of "
        "your own, and for tests.",
    )
    mx_port: int = setting(
        NUMBER,
        "25",
        "Port of the mail hosts. Another one is for tests.",
        minimum=1,
        maximum=LAST_PORT,
    )
    providers: str = setting(
        TEXT,
        "",
        "TOML file with limits of large providers. Its entries come before those of "
        "babygun/routing/providers.toml.",
    )
    retry_intervals: tuple[float, ...] = setting(
        DURATIONS,
        "10m, 10m",
        "The waits between tries by a relay. Two waits make three tries.",
    )
    mx_retry_intervals: tuple[float, ...] = setting(
        DURATIONS,
        "5m, 15m, 30m, 1h, 2h, 4h, 6h",
        "The same of mail that goes straight to mail hosts. Each wait is up to 20 % longer or "
        "shorter. The last one is repeated until all add up to `mx_expires_after`.",
    )
    mx_expires_after: float = setting(
        DURATION,
        "5d",
        "How long mail that goes straight to mail hosts is tried, if its request has no "
        "`expires_at`.",
        minimum=1,
    )
    hold_expires_after: float = setting(
        DURATION,
        "2d",
        "How long an e-mail may wait for a held site, if its request has no `expires_at`. Then it "
        "is expired.",
        minimum=1,
    )
    reply_rules: str = setting(
        TEXT,
        "",
        "TOML file with rules for the class of a server's reply. They come before those of "
        "babygun/smtp/replies.toml.",
    )
    smtp_hostname: str = setting(TEXT, "", "Babygun's name in EHLO. Empty: this host's name.")
    feedback_id: str = setting(
        SENDER_ID,
        "",
        "Your name in the header `Feedback-ID`, by which Gmail Postmaster Tools counts complaints. "
        "An e-mail's first tag, its list and its client stand before it. Empty: no such header.",
    )
    smtp_connect_timeout: float = setting(
        DURATION,
        "30s",
        "The longest time that connecting to a mail server may take, with TLS and login. All "
        "servers of a domain together: four times as long.",
        minimum=0.1,
    )
    smtp_timeout: float = setting(
        DURATION,
        "5m",
        "The longest wait for a reply to a command (RFC 5321, 4.5.3.2).",
        minimum=0.1,
    )
    smtp_data_timeout: float = setting(
        DURATION,
        "10m",
        "The longest wait for the reply to the message (RFC 5321, 4.5.3.2.6).",
        minimum=0.1,
    )
    smtp_idle: float = setting(
        DURATION, "30s", "How long an unused connection to a mail server stays open.", minimum=0
    )
    # the worker
    worker_concurrency: int = setting(
        NUMBER, "500", "Jobs that one worker sends at a time, all queues together.", minimum=1
    )
    worker_memory: int = setting(
        SIZE,
        "128MiB",
        "Content that one worker holds at a time. One larger e-mail may be sent beside it.",
        minimum=1,
    )
    worker_ready: int = setting(
        NUMBER,
        "5000",
        "Ready jobs of one client in one site (a relay is one) that a worker knows by name. When"
        " few are left, it reads more. It knows at most 200,000 in all.",
        minimum=100,
    )
    expected_workers: int = setting(
        NUMBER,
        "1",
        "How many workers are to be alive. With fewer, the API warns (/readyz, log), and so does"
        " `babygun doctor`. 0: it never does.",
        maximum=10_000,
    )
    lease_ttl: float = setting(
        DURATION, "10s", "How long a silent worker keeps its jobs; whole seconds.", minimum=2
    )
    reconcile_interval: float = setting(
        DURATION,
        "30s",
        "How often a worker compares the jobs that it has with etcd.",
        minimum=0.1,
    )
    drain_timeout: float = setting(
        DURATION, "30s", "How long a stopping worker waits for the jobs in flight.", minimum=0
    )
    worker_host: str = setting(
        TEXT, "127.0.0.1", "Address that the worker's HTTP server listens on. 0.0.0.0: all."
    )
    worker_port: int = setting(
        NUMBER,
        "0",
        "Port of the worker's HTTP server, for /healthz, /readyz and /metrics. With several "
        "processes, the first takes this port, the others the ports after it. 0: no server.",
    )
    # what comes back
    bounce_host: str = setting(
        TEXT, "", "Address that `babygun bounced` takes bounce messages on. Empty: all."
    )
    bounce_port: int = setting(
        NUMBER,
        "25",
        "Its port. Mail servers know no other than 25. 0: any free port.",
        maximum=LAST_PORT,
    )
    bounce_cert: str = setting(
        TEXT,
        "",
        "PEM file of its certificate, for STARTTLS. Empty: mail servers reach it without TLS. A "
        "changed file is read again.",
    )
    bounce_key: str = setting(TEXT, "", "PEM file of the private key of `bounce_cert`.")
    bounce_connections: int = setting(
        NUMBER,
        "200",
        "Connections that it keeps at a time, of one address a tenth of them. Each takes up to "
        "1 MiB of memory.",
        minimum=10,
    )
    complaint_addresses: tuple[str, ...] = setting(
        LIST,
        "",
        "Addresses that feedback loops send complaints to. Empty: complaints@ `bounce_hostname`.",
    )
    bounce_probe_host: str = setting(
        TEXT,
        "127.0.0.1",
        "Address that the HTTP server of `babygun bounced` listens on. 0.0.0.0: all.",
    )
    bounce_probe_port: int = setting(
        NUMBER,
        "0",
        "Port of that server, for /healthz, /readyz and /metrics. 0: no server.",
        maximum=LAST_PORT,
    )
    # retention
    retention: float = setting(
        DURATION, "7d", "How long the record and log of a final e-mail are kept.", minimum=1
    )
    contents_retention: float = setting(
        DURATION,
        "1d",
        "How long the content of a delivered e-mail is kept. 0: it is deleted with the delivery.",
        minimum=0,
    )
    # webhooks
    webhook_allow_http: bool = setting(
        FLAG,
        "no",
        "yes: a webhook's URL may be http://, not only https://. Its events then cross the "
        "network unencrypted.",
    )
    webhook_allow_networks: tuple[Network, ...] = setting(
        NETWORKS,
        "",
        "Networks that are not public, and that webhooks may call all the same. Without them a "
        "client can't make Babygun call your own network.",
    )
    webhook_connections: int = setting(
        NUMBER,
        "8",
        "Connections to one webhook at a time; one while it answers no request with success.",
        minimum=1,
        maximum=100,
    )
    webhook_timeout: float = setting(
        DURATION,
        "15s",
        "The longest time that one request to a webhook may take, with connecting.",
        minimum=0.1,
    )
    webhook_retry_intervals: tuple[float, ...] = setting(
        DURATIONS,
        "5s, 1m, 5m, 30m, 2h, 6h, 12h",
        "The waits between tries of an event. Seven waits make eight tries; then it has failed.",
    )
    webhook_disable_after: float = setting(
        DURATION,
        "5d",
        "A webhook that answers no request with success for so long is disabled.",
        minimum=1,
    )
    webhook_retention: float = setting(
        DURATION,
        "3d",
        "How long an event is kept after it was sent to a webhook, or has failed. Until then it "
        "can be sent again.",
        minimum=1,
    )
    # the command line's own way to the API
    api_url: str = setting(
        TEXT,
        "",
        "The API that these commands call: token, send, emails, suppressions, recipients, "
        "domains, workers, sites, warm-ups, tls-reports, webhooks, audit. Empty: the one in "
        ".babygun/dev.json, else the API's host and port.",
    )
    api_ca: str = setting(
        TEXT,
        "",
        "PEM file of the CA that signed the API's certificate. Empty: the one in "
        ".babygun/dev.json, else the system's CAs.",
    )
    client_id: str = setting(
        TEXT, "", "The API client that these commands are. Empty: the one in .babygun/dev.json."
    )
    client_secret: str = setting(TEXT, "", "Secret of that client.", secret=True)
    # logs and metrics
    log_level: str = setting(
        one_of("debug", "info", "warning", "error"), "info", "The lowest level that is logged."
    )
    log_format: str = setting(
        one_of("text", "json"), "text", "text for people, or json (an object a line)."
    )
    metrics_token: str = setting(
        TEXT,
        "",
        "The token that /metrics asks for, as Authorization: Bearer <token>. Empty: /metrics needs "
        "none, and `api_port` answers it to callers on this machine only.",
        secret=True,
    )

    def __post_init__(self) -> None:
        for row in table():
            value = getattr(self, row.name)
            if row.minimum is not None and value < row.minimum:
                raise SettingsError(
                    f"{row.name} is {value:g}, which is below the least allowed, {row.minimum:g}"
                )
            if row.maximum is not None and value > row.maximum:
                raise SettingsError(f"{row.name} is {value}; the most is {row.maximum:g}")
        self._check_ports()
        self._check_waits()
        if self.tls_reports and "@" not in self.tls_report_sender:
            raise SettingsError(
                "tls_reports is yes, and tls_report_sender is no address: set it, such as"
                " tls-reports@example.com"
            )
        if not re.fullmatch(r"/([A-Za-z0-9._-]+/)+", self.prefix):
            raise SettingsError(
                f"prefix is {self.prefix!r}; it must begin and end with a slash, as /babygun/ does"
            )
        if not re.fullmatch(r"[ -~]{0,100}", self.cluster):
            raise SettingsError("cluster is a name of at most 100 printable ASCII characters")
        if not self.etcd_endpoints:
            raise SettingsError("etcd_endpoints names no endpoint")
        for endpoint in self.etcd_endpoints:
            if not re.fullmatch(r"https?://[^/\s]+:\d+/?", endpoint):
                raise SettingsError(
                    f"etcd_endpoints has {endpoint!r}, which is not of the form http://host:port"
                )
        if self.lease_ttl != int(self.lease_ttl):
            raise SettingsError(
                f"lease_ttl is {self.lease_ttl:g}; etcd's leases count whole seconds"
            )
        for name in ("api", "bounce", "etcd"):
            pair = (f"{name}_cert", f"{name}_key")
            if bool(getattr(self, pair[0])) != bool(getattr(self, pair[1])):
                raise SettingsError(f"{pair[0]} and {pair[1]} go together: set both or neither")

    def _check_waits(self) -> None:
        for name in ("retry_intervals", "mx_retry_intervals"):
            if not (waits := getattr(self, name)):
                raise SettingsError(f"{name} is empty: give one wait at least, such as 10m")
            if not all(wait > 0 for wait in waits):
                raise SettingsError(f"{name} has a wait of 0")

    def _check_ports(self) -> None:
        for name in ("api_port", *_OWN_PORTS):
            port, count = getattr(self, name), self.process_count
            if port > LAST_PORT:
                raise SettingsError(f"{name} is {port}; a port is at most {LAST_PORT}")
            if name in _OWN_PORTS and port and port + count - 1 > LAST_PORT:
                raise SettingsError(
                    f"{name} is {port}, and {count} processes need as many ports from there on;"
                    f" a port is at most {LAST_PORT}"
                )

    @property
    def process_count(self) -> int:
        """``processes``; 0 becomes the number of cores that this process may run on."""
        if self.processes:
            return self.processes
        cores = (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
        return min(cores, _MOST_PROCESSES)

    def of_process(self, number: int) -> Settings:
        """The settings of one of several processes: one process, with ports of its own.

        ``number``: 1, 2, ….
        """
        ports = {
            name: getattr(self, name) + number - 1 for name in _OWN_PORTS if getattr(self, name)
        }
        return replace(self, processes=1, **ports)


def table() -> list[Row]:
    return _TABLE


def load(environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Reads the settings from the environment and the TOML file that it names.

    ``overrides`` (values, not texts) win. Raises SettingsError.
    """
    environ = os.environ if environ is None else environ
    rows = {row.name: row for row in table()}
    values: dict[str, Any] = {}
    path = environ.get("BABYGUN_CONFIG", "")
    if path:
        for name, value in _read_file(path).items():
            if name not in rows:
                near = get_close_matches(name, rows, 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise SettingsError(f"{path}: there is no setting {name!r}{hint}")
            values[name] = _from_toml(rows[name], value, f"{path}: {name}")
    for name, row in rows.items():
        if row.variable in environ:
            values[name] = row.read(environ[row.variable], row.variable)
    _refuse_unknown(environ, rows)
    return Settings(**{**values, **overrides})


def _refuse_unknown(environ: Mapping[str, str], rows: Collection[str]) -> None:
    """A variable with a typing error would be ignored, and the default used in its place."""
    for name in sorted(environ):
        setting = name.removeprefix("BABYGUN_").lower()
        if setting in rows or not name.startswith("BABYGUN_") or name in OTHER_VARIABLES:
            continue
        if not _of_kubernetes(f"{name}={environ[name]}"):
            near = get_close_matches(setting, rows, 1)
            hint = f"; did you mean BABYGUN_{near[0].upper()}?" if near else ""
            raise SettingsError(f"there is no setting {name}{hint}")


def _read_file(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"BABYGUN_CONFIG: {path}: {error}") from None


def _from_toml(row: Row, value: Any, where: str) -> Any:
    """A value of its natural type (25, ["a"]), or the text that the variable would hold."""
    if row.type is OBJECT:
        if isinstance(value, dict):
            return value
        raise SettingsError(f"{where}: must be a table")
    if isinstance(value, dict):
        raise SettingsError(f"{where}: must not be a table")
    return row.read(", ".join(map(str, value)) if isinstance(value, list) else str(value), where)


_TABLE = [Row(each.name, *each.metadata["row"]) for each in fields(Settings)]
