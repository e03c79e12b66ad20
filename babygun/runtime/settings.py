"""The settings: one table with name, type, default and help. docs/settings.md is made from it and checked against it.

A setting ``x`` is read from, in this order: the variable ``BABYGUN_X``, the key ``x`` of the TOML file that
``BABYGUN_CONFIG`` names, its default. Relays are the one nested setting (see :mod:`babygun.routing.relays`).
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from babygun.errors import SettingsError

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_MOST_PROCESSES = 64
_OWN_PORTS = (
    "api_process_port",
    "worker_port",
)  # of several processes each has one: the first takes it, the others the ports after it
_SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def parse_duration(text: str) -> float:
    """Seconds from ``90``, ``90s``, ``10m``, ``1.5h``, ``7d``, ``250ms``; raises ValueError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?\s*", text)
    if not match:
        raise ValueError(f"{text!r} is not a duration such as 30s, 10m, 1h or 7d")
    return float(match[1]) * _UNITS[match[2] or "s"]


def parse_size(text: str) -> int:
    """Bytes from ``1048576``, ``512KiB``, ``25MiB``, ``8GiB``; raises ValueError."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(?:([kmg])i?b?)?b?\s*", text.lower())
    if not match:
        raise ValueError(f"{text!r} is not a size such as 65536, 512KiB or 25MiB")
    return int(float(match[1]) * _SIZES[match[2] or ""])


def _integer(text: str) -> int:
    if not re.fullmatch(r"\s*\d+\s*", text):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def _boolean(text: str) -> bool:
    try:
        return {
            "1": True,
            "true": True,
            "yes": True,
            "on": True,
            "0": False,
            "false": False,
            "no": False,
            "off": False,
        }[text.strip().lower()]
    except KeyError:
        raise ValueError(f"{text!r} is neither true nor false") from None


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in re.split(r"[,\s]+", text.strip()) if word)


def _durations(text: str) -> tuple[float, ...]:
    return tuple(parse_duration(word) for word in _words(text))


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text) if text.strip() else {}
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise ValueError(f"{text!r} is none of {', '.join(choices)}")
        return text

    parse.__name__ = "|".join(choices)
    return parse


def write_duration(seconds: float) -> str:
    """``10m``: what :func:`parse_duration` reads, in the largest unit that gives a whole number."""
    unit = next(
        (
            unit
            for unit, size in reversed(_UNITS.items())
            if seconds and round(seconds / size, 9).is_integer()
        ),
        "ms" if 0 < seconds < 1 else "s",
    )
    return f"{_plain_number(round(seconds / _UNITS[unit], 9))}{unit}"


def write_size(count: int) -> str:
    """``25MiB``: what :func:`parse_size` reads, in the largest unit that gives a whole number."""
    unit = next(
        (unit for unit, size in reversed(_SIZES.items()) if count and count % size == 0), ""
    )
    return f"{count // _SIZES[unit]}" + (f"{unit.upper()}iB" if unit else "")


def _plain_number(value: float) -> str:
    return str(int(value)) if value.is_integer() else str(value)


# The name of a type in the docs, by its parser.
TYPE_NAMES: dict[Any, str] = {
    str: "text",
    parse_duration: "duration",
    parse_size: "size",
    _integer: "number",
    _boolean: "true/false",
    _words: "list",
    _durations: "list of durations",
    _object: "table (JSON object in a variable)",
}


def setting(
    parse: Callable[[str], Any],
    default: str,
    help: str,
    *,
    secret: bool = False,
    minimum: float | None = None,
) -> Any:
    """One row of the table. ``default`` is written as a person would write it."""
    metadata = {
        "parse": parse,
        "default": default,
        "help": help,
        "secret": secret,
        "minimum": minimum,
    }
    return field(default_factory=lambda: parse(default), metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings; durations in seconds, sizes in bytes."""

    # etcd
    etcd_endpoints: tuple[str, ...] = setting(
        _words,
        "http://127.0.0.1:2379",
        "etcd's client addresses, http:// or https://; the next one is tried when one fails",
    )
    etcd_user: str = setting(str, "", "user name, where etcd's authentication is on")
    etcd_password: str = setting(str, "", "its password", secret=True)
    etcd_ca: str = setting(
        str, "", "PEM file of the CA that signed etcd's certificates; empty: the system's CAs"
    )
    etcd_cert: str = setting(str, "", "PEM file of our client certificate for etcd")
    etcd_key: str = setting(str, "", "PEM file of its private key")
    etcd_timeout: float = setting(
        parse_duration, "5s", "the longest that one request to etcd may take", minimum=0.1
    )
    etcd_quota: int = setting(
        parse_size,
        "8GiB",
        "etcd's database quota, where the server does not tell it (before 3.6); what the shedding under pressure goes by",
    )
    prefix: str = setting(
        str, "/babygun/", "the prefix of all keys in etcd; begins and ends with a slash"
    )
    cluster: str = setting(
        str,
        "",
        "a name for this installation; set: a process with another name does not work on the same prefix",
    )
    # API and worker
    processes: int = setting(
        _integer,
        "1",
        "processes that one babygun api or babygun worker runs, under a supervisor; 0: one for each core; at most 64",
        minimum=0,
    )
    # the API
    api_host: str = setting(str, "127.0.0.1", "address the API listens on; 0.0.0.0 for all")
    api_port: int = setting(_integer, "8080", "port the API listens on; 0 for any free one")
    api_process_port: int = setting(
        _integer,
        "0",
        "a further port of the API, which no other process shares, for each process's own /metrics; of several, the first takes it and the others the ports after it; 0: there is none",
    )
    api_cert: str = setting(
        str,
        "",
        "PEM file of the API's certificate; set: the API speaks https only, and reads the file again when it changes",
    )
    api_key: str = setting(str, "", "PEM file of its private key")
    token_ttl: float = setting(parse_duration, "1h", "how long a token is valid", minimum=1)
    max_recipients: int = setting(
        _integer,
        "1000",
        "recipients of one e-mail; at most 1000, so that its record fits one etcd request",
        minimum=1,
    )
    max_body: int = setting(
        parse_size, "5MiB", "size of the text and of the HTML of one e-mail, each"
    )
    max_attachments: int = setting(
        parse_size, "20MiB", "size of all attachments of one e-mail together, decoded"
    )
    max_request: int = setting(parse_size, "40MiB", "size of one HTTP request")
    api_memory: int = setting(
        parse_size,
        "256MiB",
        "bodies above 64 KiB that one API process holds at once; further ones wait, then get 503; one that is larger may go alone",
        minimum=1,
    )
    request_timeout: float = setting(
        parse_duration,
        "2m",
        "the longest that a request's body may take to come; then 408",
        minimum=0.1,
    )
    idempotency_retention: float = setting(
        parse_duration, "24h", "how long an Idempotency-Key is remembered", minimum=60
    )
    upload_lease: float = setting(
        parse_duration,
        "5m",
        "how long the first parts of a large e-mail stay if its acceptance never completes",
        minimum=1,
    )
    # delivery
    relay_url: str = setting(
        str,
        "",
        "the default relay: smtp://user:password@host:port (STARTTLS where offered) or smtps://… (TLS from the start)",
        secret=True,
    )
    relays: dict[str, Any] = setting(
        _object,
        "",
        "more relays by name, each with url, domains, tls, max_connections, chunking (docs/delivery.md)",
        secret=True,
    )
    retry_intervals: tuple[float, ...] = setting(
        _durations, "10m, 10m", "the waits between tries; two waits make three tries"
    )
    reply_rules: str = setting(
        str,
        "",
        "TOML file with rules that go before babygun/smtp/replies.toml when a server's reply is classified",
    )
    smtp_hostname: str = setting(str, "", "our name in EHLO; empty: this host's name")
    smtp_connect_timeout: float = setting(
        parse_duration,
        "30s",
        "the longest that connecting to a relay may take, TLS and login included",
        minimum=0.1,
    )
    smtp_timeout: float = setting(
        parse_duration,
        "5m",
        "the longest wait for a reply to a command (RFC 5321, 4.5.3.2)",
        minimum=0.1,
    )
    smtp_data_timeout: float = setting(
        parse_duration,
        "10m",
        "the longest wait for the reply to the message itself (RFC 5321, 4.5.3.2.6)",
        minimum=0.1,
    )
    smtp_idle: float = setting(
        parse_duration, "30s", "how long an unused connection to a relay is kept", minimum=0
    )
    # the worker
    worker_concurrency: int = setting(
        _integer, "500", "sends at once in one worker, all queues together", minimum=1
    )
    worker_memory: int = setting(
        parse_size,
        "128MiB",
        "content in flight in one worker; one e-mail that is larger may go beside it",
        minimum=1,
    )
    worker_ready: int = setting(
        _integer,
        "5000",
        "ready jobs whose names a worker keeps per queue; more are read when these are used up",
        minimum=100,
    )
    lease_ttl: float = setting(
        parse_duration, "10s", "how long a silent worker keeps its jobs; whole seconds", minimum=2
    )
    reconcile_interval: float = setting(
        parse_duration,
        "30s",
        "how often a worker compares what it holds with what etcd says",
        minimum=0.1,
    )
    drain_timeout: float = setting(
        parse_duration, "30s", "how long a stopping worker waits for what is in flight", minimum=0
    )
    worker_host: str = setting(
        str, "127.0.0.1", "address of the worker's own small HTTP server; 0.0.0.0 for all"
    )
    worker_port: int = setting(
        _integer,
        "0",
        "its port, for /healthz, /readyz and /metrics; of several processes, the first takes it and the others the ports after it; 0: there is none",
    )
    # retention
    retention: float = setting(
        parse_duration, "7d", "how long an ended e-mail's record and log are kept", minimum=1
    )
    contents_retention: float = setting(
        parse_duration,
        "1d",
        "how long a delivered e-mail's content is kept; 0: it goes with the delivery",
        minimum=0,
    )
    # the command line's own way to the API
    api_url: str = setting(
        str,
        "",
        "where babygun send, emails, token and workers find the API; empty: what .babygun/dev.json says, else the API's host and port",
    )
    api_ca: str = setting(
        str,
        "",
        "PEM file of the CA that signed the API's certificate; empty: dev.json's, else the system's CAs",
    )
    client_id: str = setting(str, "", "the API client that they speak for; empty: dev.json's")
    client_secret: str = setting(str, "", "its secret", secret=True)
    # logs and metrics
    log_level: str = setting(
        _one_of("debug", "info", "warning", "error"), "info", "the least level that is logged"
    )
    log_format: str = setting(
        _one_of("text", "json"), "text", "text for people, json (one object a line) for collectors"
    )
    metrics_token: str = setting(
        str,
        "",
        "what a scraper must send to /metrics as Authorization: Bearer <token>; empty: everybody may look",
        secret=True,
    )

    def __post_init__(self) -> None:
        for row in table():
            minimum, value = row.metadata["minimum"], getattr(self, row.name)
            if minimum is not None and value < minimum:
                raise SettingsError(
                    f"{row.name} is {value:g}, which is below the least allowed, {minimum:g}"
                )
        if self.processes > _MOST_PROCESSES:
            raise SettingsError(f"processes is {self.processes}; the most is {_MOST_PROCESSES}")
        for name in ("api_port", *_OWN_PORTS):
            if getattr(self, name) > 65535:
                raise SettingsError(f"{name} is {getattr(self, name)}; a port is at most 65535")
        for name in _OWN_PORTS:
            if getattr(self, name) and getattr(self, name) + self.process_count - 1 > 65535:
                raise SettingsError(
                    f"{name} is {getattr(self, name)}, and {self.process_count} processes need as many ports from there on; a port is at most 65535"
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
        if self.max_recipients > 1000:
            raise SettingsError(f"max_recipients is {self.max_recipients}; the most is 1000")
        if self.lease_ttl != int(self.lease_ttl):
            raise SettingsError(
                f"lease_ttl is {self.lease_ttl:g}; etcd's leases count whole seconds"
            )
        if not all(wait > 0 for wait in self.retry_intervals):
            raise SettingsError("retry_intervals has a wait of 0")
        for pair in (("api_cert", "api_key"), ("etcd_cert", "etcd_key")):
            if bool(getattr(self, pair[0])) != bool(getattr(self, pair[1])):
                raise SettingsError(f"{pair[0]} and {pair[1]} go together: set both or neither")

    @property
    def process_count(self) -> int:
        """``processes``, with the cores counted that this process may run on."""
        if self.processes:
            return self.processes
        cores = (
            len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count() or 1
        )
        return min(cores, _MOST_PROCESSES)

    def of_process(self, number: int) -> Settings:
        """The settings of one of several processes; ``number``: 1, 2, …. It is one, with the ports that are its own."""
        ports = {
            name: getattr(self, name) + number - 1 for name in _OWN_PORTS if getattr(self, name)
        }
        return replace(self, processes=1, **ports)

    @property
    def max_tries(self) -> int:
        return len(self.retry_intervals) + 1


def table() -> tuple[Field[Any], ...]:
    """The rows, each a dataclass field whose ``metadata`` has parse, default, help, secret and minimum."""
    return fields(Settings)


def write(row: Field[Any], value: Any) -> str:
    """A setting's value as a variable would hold it; the default as the table has it."""
    parse, default = row.metadata["parse"], str(row.metadata["default"])
    if value == parse(default):
        return default
    if parse is parse_duration:
        return write_duration(value)
    if parse is parse_size:
        return write_size(value)
    if parse is _boolean:
        return "true" if value else "false"
    if parse is _object:
        return json.dumps(value)
    if isinstance(value, tuple):
        return ", ".join(write_duration(item) if parse is _durations else item for item in value)
    return str(value)


def load(environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Settings from the environment and the TOML file it names; ``overrides`` (already typed) win. Raises SettingsError."""
    environ = os.environ if environ is None else environ
    rows = {row.name: row for row in table()}
    values: dict[str, Any] = {}
    path = environ.get("BABYGUN_CONFIG", "")
    if path:
        for name, value in _read_file(path).items():
            if name not in rows:
                raise SettingsError(f"{path}: there is no setting {name!r}")
            values[name] = _from_toml(rows[name], value, f"{path}: {name}")
    for name, row in rows.items():
        variable = f"BABYGUN_{name.upper()}"
        if variable in environ:
            values[name] = _parse(row, environ[variable], variable)
    return Settings(**{**values, **overrides})


def _read_file(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"BABYGUN_CONFIG: {path}: {error}") from None


def _from_toml(row: Field[Any], value: Any, where: str) -> Any:
    """A TOML value may be of its natural type (true, 25, ["a"]) or the text that the variable would hold."""
    if row.metadata["parse"] is _object:
        if isinstance(value, dict):
            return value
        raise SettingsError(f"{where}: must be a table")
    if isinstance(value, list):
        value = ", ".join(str(item) for item in value)
    if isinstance(value, dict):
        raise SettingsError(f"{where}: must not be a table")
    return _parse(row, str(value).lower() if isinstance(value, bool) else str(value), where)


def _parse(row: Field[Any], text: str, where: str) -> Any:
    try:
        return row.metadata["parse"](text)
    except ValueError as error:
        raise SettingsError(
            f"{where}: {'(the value is not shown)' if row.metadata['secret'] else error}"
        ) from None
