"""Reads a relay from the settings: a destination that takes mail for many domains."""

from __future__ import annotations

from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from babygun.email.domains import ascii_domain
from babygun.errors import SettingsError
from babygun.routing.destination import DEFAULT_CONNECTIONS, Destination, to_relay
from babygun.routing.providers import Limits, Rate, parse_rate
from babygun.routing.server import TLS_MODES, Server, TlsMin, TlsMode

RELAY_FIELDS = {
    "url",
    "tls_ca",
    "max_connections",
    "connections",
    "rate",
    "pipelining",
    "chunking",
}
_PORTS = {"smtp": 25, "smtps": 465}
_PLENTY = 1_000_000  # of connections or messages: where the settings have no limit


def read_relay(
    name: str, value: dict[str, Any], where: str, source: str = "", tls_min: TlsMin = "1.2"
) -> Destination:
    """The relay of a route that has a ``url``. ``source``: our address to dial from.

    Raises SettingsError. ``where`` is named in it.
    """
    url, host, port = _url(where, str(value["url"]))
    server = Server(
        host=host,
        port=port,
        source=source,
        username=unquote(url.username or ""),
        password=unquote(url.password or ""),
        tls=_tls(where, value, url, host),
        tls_min=tls_min,
        tls_ca=str(value.get("tls_ca", "")),
        pipelining=_switch(where, value, "pipelining"),
        chunking=_switch(where, value, "chunking"),
    )
    most = _number(where, value, "max_connections", DEFAULT_CONNECTIONS)
    return to_relay(name, server, max_connections=most, limits=_limits(where, value))


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


def _tls(where: str, value: dict[str, Any], url: SplitResult, host: str) -> TlsMode:
    tls: TlsMode = value.get("tls", "implicit" if url.scheme == "smtps" else "opportunistic")
    if tls not in TLS_MODES:
        raise SettingsError(f"{where}: tls must be one of {', '.join(TLS_MODES)}")
    if (url.scheme == "smtps") != (tls == "implicit"):
        raise SettingsError(f"{where}: smtps:// and tls = 'implicit' go together")
    if url.username and tls == "opportunistic" and not _is_loopback(host):
        return "required"  # so that nobody on the way reads the password
    return tls


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _limits(where: str, value: dict[str, Any]) -> Limits | None:
    """Those for all workers together; None: there are none."""
    if "connections" not in value and "rate" not in value:
        return None
    rate = Rate(_PLENTY, 1.0)
    if "rate" in value:
        try:
            rate = parse_rate(str(value["rate"]))
        except ValueError as error:
            raise SettingsError(f"{where}: {error}") from None
    return Limits(_number(where, value, "connections", _PLENTY), _PLENTY, rate)


def _number(where: str, value: dict[str, Any], field: str, default: int) -> int:
    number = value.get(field, default)
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise SettingsError(f"{where}: {field} must be a whole number above 0")
    return number


def _switch(where: str, value: dict[str, Any], field: str) -> bool:
    on = value.get(field, True)
    if not isinstance(on, bool):
        raise SettingsError(f"{where}: {field} must be true or false")
    return on
