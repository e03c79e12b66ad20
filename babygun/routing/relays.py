"""Reads the relays from the settings. A relay is a destination that takes mail for many domains."""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from babygun.email.domains import ascii_domain
from babygun.errors import SettingsError
from babygun.routing.destination import DEFAULT_CONNECTIONS, Destination, to_relay
from babygun.routing.server import TLS_POLICIES, Server, TlsPolicy
from babygun.runtime.settings import Settings

_FIELDS = {"url", "domains", "tls", "tls_ca", "max_connections", "pipelining", "chunking"}
_PORTS = {"smtp": 25, "smtps": 465}


class Relay(NamedTuple):
    """A destination and the domains whose mail it takes, as patterns (``*.example.org``).

    The patterns are in ASCII and in lower case, as addresses are compared.
    """

    destination: Destination
    domains: tuple[str, ...]


def read_relays(settings: Settings) -> list[Relay]:
    """The relays in the settings' order; the one from ``relay_url`` (``default``) comes last.

    Raises SettingsError, which names the relay and the field.
    """
    relays = [_relay(name, value) for name, value in settings.relays.items()]
    if settings.relay_url:
        if "default" in settings.relays:
            raise SettingsError(
                "relay_url is set, and relays has a relay called 'default' too: keep one"
            )
        relays.append(_relay("default", {"url": settings.relay_url}))
    return relays


def _relay(name: str, value: Any) -> Relay:
    where = f"relays.{name}"
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", name):
        raise SettingsError(
            f"{where}: a relay's name has lower-case letters, digits, dots and hyphens only,"
            " at most 63"
        )
    if not isinstance(value, dict) or "url" not in value:
        raise SettingsError(f"{where}: needs a url")
    if unknown := sorted(set(value) - _FIELDS):
        raise SettingsError(f"{where}: there is no field {unknown[0]!r}")
    url, host, port = _url(where, str(value["url"]))
    server = Server(
        host=host,
        port=port,
        username=unquote(url.username or ""),
        password=unquote(url.password or ""),
        tls=_tls(where, value, url, host),
        tls_ca=str(value.get("tls_ca", "")),
        pipelining=_switch(where, value, "pipelining"),
        chunking=_switch(where, value, "chunking"),
    )
    destination = to_relay(name, server, max_connections=_max_connections(where, value))
    return Relay(destination, _domains(where, value))


def _url(where: str, text: str) -> tuple[SplitResult, str, int]:
    """The URL, its host in ASCII, and its port."""
    try:
        url = urlsplit(text)
        host, port = ascii_domain(url.hostname or ""), url.port
    except ValueError as error:
        raise SettingsError(f"{where}: url: {error}") from None
    if (
        url.scheme not in _PORTS
        or not host
        or url.path not in ("", "/")
        or url.query
        or url.fragment
    ):
        raise SettingsError(
            f"{where}: url must be of the form smtp://user:password@host:port or smtps://…"
        )
    return url, host, port or _PORTS[url.scheme]


def _tls(where: str, value: dict[str, Any], url: SplitResult, host: str) -> TlsPolicy:
    tls: TlsPolicy = value.get("tls", "implicit" if url.scheme == "smtps" else "opportunistic")
    if tls not in TLS_POLICIES:
        raise SettingsError(f"{where}: tls must be one of {', '.join(TLS_POLICIES)}")
    if (url.scheme == "smtps") != (tls == "implicit"):
        raise SettingsError(f"{where}: smtps:// and tls = 'implicit' go together")
    if url.username and tls == "opportunistic" and not _is_loopback(host):
        return "required"  # so that nobody on the way reads the password
    return tls


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


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
    try:
        return tuple(_ascii_pattern(domain.lower().removesuffix(".")) for domain in domains)
    except ValueError as error:
        raise SettingsError(f"{where}: domains: {error}") from None


def _ascii_pattern(pattern: str) -> str:
    """``*.bücher.example`` is ``*.xn--bcher-kva.example``."""
    return ".".join(label and ascii_domain(label) for label in pattern.split("."))


def _max_connections(where: str, value: dict[str, Any]) -> int:
    connections = value.get("max_connections", DEFAULT_CONNECTIONS)
    if not isinstance(connections, int) or isinstance(connections, bool) or connections < 1:
        raise SettingsError(f"{where}: max_connections must be a whole number above 0")
    return connections


def _switch(where: str, value: dict[str, Any], field: str) -> bool:
    on = value.get(field, True)
    if not isinstance(on, bool):
        raise SettingsError(f"{where}: {field} must be true or false")
    return on
