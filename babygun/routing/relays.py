"""Which way a recipient's mail goes: the relays from the settings, and the queue of each recipient.

A relay is a queue of its own. Its name appears in keys, records, logs and metrics; the first relay, in the settings'
order, one of whose ``domains`` patterns matches the recipient's domain carries the mail; the default relay takes the rest.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal
from urllib.parse import SplitResult, unquote, urlsplit

from babygun.errors import SettingsError
from babygun.runtime.settings import Settings

# none: never.  opportunistic: STARTTLS where offered, certificate not checked.  required: STARTTLS or nothing, checked.
# implicit: TLS from the first byte, checked.
TlsPolicy = Literal["none", "opportunistic", "required", "implicit"]
_POLICIES = ("none", "opportunistic", "required", "implicit")
_FIELDS = {"url", "domains", "tls", "tls_ca", "max_connections", "chunking"}
DEFAULT_CONNECTIONS = (
    20  # what Postfix allows to one destination by default; relays often cap a client at 50
)


@dataclass(frozen=True)
class Relay:
    """An SMTP server that carries mail on. ``name`` is its queue."""

    name: str
    host: str
    port: int
    username: str = ""
    password: str = field(default="", repr=False)
    tls: TlsPolicy = "opportunistic"
    tls_ca: str = ""  # PEM file; empty: the system's CAs
    max_connections: int = DEFAULT_CONNECTIONS  # of one worker
    chunking: bool = True  # use BDAT where the server offers it
    domains: tuple[str, ...] = ("*",)


class Routes:
    """The relays, and the queue that a recipient belongs to."""

    def __init__(self, relays: tuple[Relay, ...]) -> None:
        self.relays = {relay.name: relay for relay in relays}
        self._exact: dict[str, str] = {}

    def fingerprints(self) -> dict[str, str]:
        """Of each queue, a short fingerprint of where its relay is: two processes that send it to the same server have the same."""
        return {
            relay.name: hashlib.sha256(f"{relay.host.lower()}:{relay.port}".encode()).hexdigest()[
                :8
            ]
            for relay in self.relays.values()
        }

    def queue_for(self, address: str) -> str:
        """The queue of a recipient's address. Raises SettingsError where no relay takes its domain."""
        domain = address.rpartition("@")[2].lower()
        queue = self._exact.get(domain)
        if queue is None:
            for relay in self.relays.values():
                if any(fnmatchcase(domain, pattern) for pattern in relay.domains):
                    queue = relay.name
                    break
            else:
                raise SettingsError(f"no relay takes mail for {domain}")
            if len(self._exact) > 10_000:  # bounds the memory; a domain is looked up anew then
                self._exact.clear()
            self._exact[domain] = queue
        return queue


def load_routes(settings: Settings) -> Routes:
    """The relays of ``settings``; the one from ``relay_url`` comes last, is called ``default`` and takes the rest."""
    relays = [_relay(name, value) for name, value in settings.relays.items()]
    if settings.relay_url:
        if "default" in settings.relays:
            raise SettingsError(
                "relay_url is set, and relays has a relay called 'default' too: keep one"
            )
        relays.append(_relay("default", {"url": settings.relay_url}))
    return Routes(tuple(relays))


def _relay(name: str, value: Any) -> Relay:
    where = f"relays.{name}"
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?", name):
        raise SettingsError(
            f"{where}: a relay's name has lower-case letters, digits, dots and hyphens only, at most 63"
        )
    if not isinstance(value, dict) or "url" not in value:
        raise SettingsError(f"{where}: needs a url")
    if unknown := sorted(set(value) - _FIELDS):
        raise SettingsError(f"{where}: there is no field {unknown[0]!r}")
    try:
        url = urlsplit(str(value["url"]))
        port = url.port
    except ValueError as error:
        raise SettingsError(f"{where}: url: {error}") from None
    if (
        url.scheme not in ("smtp", "smtps")
        or not url.hostname
        or url.path not in ("", "/")
        or url.query
        or url.fragment
    ):
        raise SettingsError(
            f"{where}: url must be of the form smtp://user:password@host:port or smtps://…"
        )
    tls = _tls(where, value, url)
    domains = value.get("domains", ["*"])
    if isinstance(domains, str):
        domains = [domains]
    if (
        not isinstance(domains, list)
        or not domains
        or not all(isinstance(d, str) and d for d in domains)
    ):
        raise SettingsError(
            f"{where}: domains must be a list of domains, such as ['example.com', '*.example.org']"
        )
    connections = value.get("max_connections", DEFAULT_CONNECTIONS)
    if not isinstance(connections, int) or isinstance(connections, bool) or connections < 1:
        raise SettingsError(f"{where}: max_connections must be a whole number above 0")
    chunking = value.get("chunking", True)
    if not isinstance(chunking, bool):
        raise SettingsError(f"{where}: chunking must be true or false")
    if url.username and tls == "opportunistic" and not _is_loopback(url.hostname):
        tls = "required"  # a password never goes over a line that can be read
    return Relay(
        name=name,
        host=url.hostname,
        port=port or (465 if tls == "implicit" else 25),
        username=unquote(url.username or ""),
        password=unquote(url.password or ""),
        tls=tls,
        tls_ca=str(value.get("tls_ca", "")),
        max_connections=connections,
        chunking=chunking,
        domains=tuple(d.lower() for d in domains),
    )


def _tls(where: str, value: dict[str, Any], url: SplitResult) -> TlsPolicy:
    tls: TlsPolicy = value.get("tls", "implicit" if url.scheme == "smtps" else "opportunistic")
    if tls not in _POLICIES:
        raise SettingsError(f"{where}: tls must be one of {', '.join(_POLICIES)}")
    if (url.scheme == "smtps") != (tls == "implicit"):
        raise SettingsError(f"{where}: smtps:// and tls = 'implicit' go together")
    return tls


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")
