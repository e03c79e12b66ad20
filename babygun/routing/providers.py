"""Reads the table of providers: ``providers.toml``, whose head explains it, and one's own file."""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from babygun.errors import SettingsError
from babygun.runtime.setting_types import parse_duration

DEFAULT = "default"
_RATE = re.compile(r"([1-9][0-9]*)/(s|min|h)")
_END = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


class Rate(msgspec.Struct, frozen=True):
    """At most ``messages`` in any ``seconds``."""

    messages: int
    seconds: float

    def __str__(self) -> str:
        unit = next(unit for unit, seconds in _SECONDS.items() if seconds == self.seconds)
        return f"{self.messages}/{unit}"


def parse_rate(text: str) -> Rate:
    """``10/s``, ``20/min``, ``500/h``. Raises ValueError."""
    match = _RATE.fullmatch(text)
    if match is None:
        raise ValueError(f"rate {text!r} is not of the form 10/s or 20/min")
    return Rate(int(match[1]), _SECONDS[match[2]])


class Limits(msgspec.Struct, frozen=True):
    """What a site takes. ``connections``: at once, of all workers together."""

    connections: int
    messages_per_connection: int
    rate: Rate

    def within(self, other: Limits) -> Limits:
        """The smaller of both, limit by limit."""
        slower = min(self.rate, other.rate, key=lambda rate: rate.messages / rate.seconds)
        return Limits(
            min(self.connections, other.connections),
            min(self.messages_per_connection, other.messages_per_connection),
            slower,
        )


class ReplyRule(msgspec.Struct, frozen=True):
    """A reply that asks for less. ``slow``: the limits while it counts; None: no mail goes.

    ``times``: how many within an hour make it count. ``lasts``: seconds.
    """

    texts: tuple[str, ...]
    times: int
    slow: Limits | None
    lasts: float

    def matches(self, text: str) -> bool:
        """For the text of a reply, code and all."""
        lower = text.lower()
        return any(each in lower for each in self.texts)


class Provider(msgspec.Struct, frozen=True):
    """Who runs the mail hosts of many domains. ``ends``: of the names of its hosts."""

    name: str
    ends: tuple[str, ...]
    limits: Limits
    tls_required: bool
    replies: tuple[ReplyRule, ...]

    def runs(self, host: str) -> bool:
        """Whether a host, by its name in lower case, is one of the provider's."""
        return any(host == end or host.endswith("." + end) for end in self.ends)


class _ReplyRow(msgspec.Struct, forbid_unknown_fields=True):
    """A reply as the file has it."""

    text: list[str]
    then: Literal["slow", "hold"]
    lasts: str
    times: int = 1
    connections: int | None = None
    messages_per_connection: int | None = None
    rate: str | None = None


class _Row(msgspec.Struct, forbid_unknown_fields=True):
    """A provider as the file has it."""

    mx: list[str]
    connections: int | None = None
    messages_per_connection: int | None = None
    rate: str | None = None
    tls_required: bool = False
    why: str = ""
    reply: list[_ReplyRow] = []


class Providers:
    """All providers by name; one's own come first, and ``default`` is what holds for the others."""

    def __init__(self, by_name: dict[str, Provider]) -> None:
        self.by_name = by_name
        self.default = by_name[DEFAULT]

    def of(self, hosts: tuple[str, ...]) -> Provider | None:
        """The provider that runs all of a domain's mail hosts; None: none of the table's."""
        for provider in self.by_name.values():
            if hosts and all(map(provider.runs, hosts)):
                return provider
        return None


def load_providers(own: str = "", where: str = "providers") -> Providers:
    """Our table, and before it the text of one's own. Raises SettingsError."""
    ours = _rows(files("babygun.routing").joinpath("providers.toml").read_text(), "providers.toml")
    theirs = _rows(own, where)
    default = theirs.get(DEFAULT, ours[DEFAULT])
    fallback = _default_limits(default, where if DEFAULT in theirs else "providers.toml")
    found = {name: _provider(name, row, fallback, where) for name, row in theirs.items()}
    for name, row in ours.items():
        if name not in found:
            found[name] = _provider(name, row, fallback, "providers.toml")
    last = found[DEFAULT].replies
    return Providers(
        {
            name: each if name == DEFAULT else replace(each, replies=each.replies + last)
            for name, each in found.items()
        }
    )


def _rows(text: str, where: str) -> dict[str, _Row]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{where}: {error}") from None
    rows: dict[str, _Row] = {}
    for name, raw in document.items():
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name):
            raise SettingsError(
                f"{where}: {name}: a provider's name has lower-case letters, digits and hyphens"
                " only, at most 63"
            )
        try:
            rows[name] = msgspec.convert(raw, _Row)
        except msgspec.ValidationError as error:
            raise SettingsError(f"{where}: {name}: {error}") from None
    return rows


def _default_limits(row: _Row, where: str) -> Limits:
    if row.connections is None or row.messages_per_connection is None or row.rate is None:
        raise SettingsError(
            f"{where}: {DEFAULT}: needs connections, messages_per_connection and rate"
        )
    return _limits(row, Limits(1, 1, Rate(1, 1)), f"{where}: {DEFAULT}")


def _provider(name: str, row: _Row, fallback: Limits, where: str) -> Provider:
    place = f"{where}: {name}"
    if not row.mx and name != DEFAULT:
        raise SettingsError(f"{place}: mx must name the ends of its hosts' names")
    ends = tuple(end.lower().strip(".") for end in row.mx)
    if wrong := [end for end in ends if not _END.fullmatch(end)]:
        raise SettingsError(
            f"{place}: mx: {wrong[0]!r} is no end of a host's name, such as 'mail.example.org'"
        )
    limits = _limits(row, fallback, place)
    return Provider(
        name,
        ends,
        limits,
        row.tls_required,
        tuple(_reply(each, limits, place) for each in row.reply),
    )


def _reply(row: _ReplyRow, limits: Limits, where: str) -> ReplyRule:
    changes = (row.connections, row.messages_per_connection, row.rate)
    if row.then == "slow" and changes == (None, None, None):
        raise SettingsError(f"{where}: a reply with 'slow' needs a limit")
    if row.then == "hold" and changes != (None, None, None):
        raise SettingsError(f"{where}: a reply with 'hold' has no limits")
    if row.times < 1 or not all(each.strip() for each in row.text) or not row.text:
        raise SettingsError(f"{where}: a reply needs a text, and times above 0")
    try:
        lasts = parse_duration(row.lasts)
    except ValueError as error:
        raise SettingsError(f"{where}: lasts: {error}") from None
    slow = _limits(row, limits, where).within(limits) if row.then == "slow" else None
    return ReplyRule(tuple(each.lower() for each in row.text), row.times, slow, lasts)


def _limits(row: _Row | _ReplyRow, fallback: Limits, where: str) -> Limits:
    given: dict[str, Any] = {}
    for name in ("connections", "messages_per_connection"):
        value = getattr(row, name)
        if value is not None:
            if value < 1:
                raise SettingsError(f"{where}: {name} must be above 0")
            given[name] = value
    if row.rate is not None:
        try:
            given["rate"] = parse_rate(row.rate)
        except ValueError as error:
            raise SettingsError(f"{where}: {error}") from None
    return replace(fallback, **given)
