"""Reads the routes from the settings: which domains, and where their mail goes."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Literal, NamedTuple, get_args

from babygun.email.domains import ascii_domain
from babygun.email.retry import Schedule
from babygun.errors import SettingsError
from babygun.routing.destination import Destination
from babygun.routing.relays import RELAY_FIELDS, read_relay
from babygun.routing.schedules import mx_schedule, relay_schedule
from babygun.routing.server import TLS_MINS, TlsMin, TlsMode
from babygun.runtime.settings import Settings

# Whose the return path is: each recipient's own, one for all of a queue, or the sender itself.
ReturnPathMode = Literal["recipient", "queue", "off"]

_FIELDS = {
    "domains",
    "tls",
    "tls_min",
    "retry_intervals",
    "expires_after",
    "source_addresses",
    "return_path",
}
_MX_TLS: tuple[TlsMode, ...] = ("none", "opportunistic", "encrypted")


class Route(NamedTuple):
    """Some domains, as patterns (``*.example.org``), and where their mail goes.

    The patterns are in ASCII and in lower case, as addresses are compared. ``relay``: the
    destination of all of it. None: it goes to the mail hosts of each domain, by ``tls`` of version
    ``tls_min`` or newer, and from ``sources``: addresses of ours, with none the system's choice.
    """

    name: str
    domains: tuple[str, ...]
    schedule: Schedule
    relay: Destination | None = None
    tls: TlsMode = "opportunistic"
    tls_min: TlsMin = "1.2"
    sources: tuple[str, ...] = ()
    return_path: ReturnPathMode = "off"


def read_routes(settings: Settings) -> list[Route]:
    """The routes in the settings' order; the one that takes all other domains comes last.

    Raises SettingsError, which names the route and the field.
    """
    if settings.routes and settings.relays:
        raise SettingsError("routes and relays are both set. relays is the earlier name: keep one")
    name_of_setting = "relays" if settings.relays else "routes"
    given = settings.routes or settings.relays
    routes = [
        _route(name, value, settings, f"{name_of_setting}.{name}") for name, value in given.items()
    ]
    if settings.relay_url and settings.default:
        raise SettingsError("relay_url and default are both set: keep the one to use")
    if settings.relay_url:
        if "default" in given:
            raise SettingsError(
                f"relay_url is set, and {name_of_setting} has one called 'default' too: keep one"
            )
        routes.append(_route("default", {"url": settings.relay_url}, settings, "relay_url"))
    elif settings.default:
        routes.append(_route("default", {"mx": True}, settings, "default"))
    return routes


def _route(name: str, value: Any, settings: Settings, where: str) -> Route:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", name):
        raise SettingsError(
            f"{where}: a route's name has lower-case letters, digits, dots and hyphens only,"
            " at most 63"
        )
    if not isinstance(value, dict) or ("url" in value) == (value.get("mx") is True):
        raise SettingsError(f"{where}: needs a url, or mx = true")
    by_mx = "url" not in value
    known = _FIELDS | ({"mx"} if by_mx else RELAY_FIELDS)
    if unknown := sorted(set(value) - known):
        kind = "an mx route" if by_mx else "a relay"
        raise SettingsError(f"{where}: {kind} has no field {unknown[0]!r}")
    domains = _domains(where, value)
    sources = _sources(where, value, settings)
    tls_min = _tls_min(where, value)
    return_path = _return_path(where, value, by_mx)
    if by_mx:
        schedule = mx_schedule(value, settings, where)
        tls = _mx_tls(where, value)
        return Route(name, domains, schedule, None, tls, tls_min, sources, return_path)
    schedule = relay_schedule(value, settings, where)
    if len(sources) > 1:
        raise SettingsError(f"{where}: source_addresses of a relay is one address")
    source = sources[0] if sources else ""
    relay = read_relay(name, value, where, source, tls_min)
    return Route(name, domains, schedule, relay, return_path=return_path)


def _domains(where: str, value: dict[str, Any]) -> tuple[str, ...]:
    domains = value.get("domains", ["*"])
    if isinstance(domains, str):
        domains = [domains]
    if (
        not isinstance(domains, list)
        or not domains
        or not all(isinstance(domain, str) and domain for domain in domains)
    ):
        raise SettingsError(
            f"{where}: domains must be a list of domains, such as ['example.com', '*.example.org']"
        )
    for domain in domains:
        if "@" in domain or ".." in domain:
            raise SettingsError(
                f"{where}: domains: {domain!r} matches no domain: give one such as 'example.com'"
            )
    try:
        return tuple(_ascii_pattern(domain.lower().removesuffix(".")) for domain in domains)
    except ValueError as error:
        raise SettingsError(f"{where}: domains: {error}") from None


def _ascii_pattern(pattern: str) -> str:
    """``*.bücher.example`` is ``*.xn--bcher-kva.example``."""
    return ".".join(label and ascii_domain(label) for label in pattern.split("."))


def _sources(where: str, value: dict[str, Any], settings: Settings) -> tuple[str, ...]:
    """The route's own; an mx route without any has those of the setting."""
    if "source_addresses" not in value:
        return settings.source_addresses if "url" not in value else ()
    given = value["source_addresses"]
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise SettingsError(
            f"{where}: source_addresses must be a list of addresses, such as ['192.0.2.7']"
        )
    try:
        return tuple(str(ipaddress.ip_address(each)) for each in given)
    except ValueError as error:
        raise SettingsError(f"{where}: source_addresses: {error}") from None


def _return_path(where: str, value: dict[str, Any], by_mx: bool) -> ReturnPathMode:
    """Many relays rewrite the envelope sender, so a relay has none by default."""
    mode: ReturnPathMode = value.get("return_path", "recipient" if by_mx else "off")
    if mode not in (modes := get_args(ReturnPathMode)):
        raise SettingsError(f"{where}: return_path must be one of {', '.join(modes)}")
    return mode


def _mx_tls(where: str, value: dict[str, Any]) -> TlsMode:
    tls: TlsMode = value.get("tls", "opportunistic")
    if tls not in _MX_TLS:
        raise SettingsError(f"{where}: tls of an mx route must be one of {', '.join(_MX_TLS)}")
    return tls


def _tls_min(where: str, value: dict[str, Any]) -> TlsMin:
    tls_min: TlsMin = value.get("tls_min", "1.2")
    if tls_min not in TLS_MINS:
        raise SettingsError(f"{where}: tls_min must be one of {', '.join(TLS_MINS)}, as text")
    return tls_min
