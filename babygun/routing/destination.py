"""What a destination is: the place to which a queue's mail goes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from babygun.errors import BabygunError
from babygun.routing.providers import Limits
from babygun.routing.server import Server
from babygun.routing.sites import Site, site_of_relay

# Postfix allows as many to one destination by default. Servers often limit a client to 50.
DEFAULT_CONNECTIONS = 20


def picked_sources(sources: Sequence[str], for_email: str) -> dict[int, str]:
    """The source address of an e-mail, by version of IP.

    The same e-mail gets the same one for as long as that is there, whatever the others are: a
    greylisting server knows the try by it.
    """
    found: dict[int, str] = {}
    for source in ranked_sources(sources, for_email):
        found.setdefault(6 if ":" in source else 4, source)
    return dict(sorted(found.items()))


def ranked_sources(sources: Sequence[str], for_email: str) -> list[str]:
    """Our addresses in an e-mail's own order: each e-mail has another one at the front."""

    def weight(source: str) -> tuple[bytes, str]:
        return blake2b(f"{source} {for_email}".encode(), digest_size=8).digest(), source

    return sorted(sources, key=weight, reverse=True)


class NoDestination(BabygunError):
    """A queue has no destination in this process. The text says why."""


class NoSource(BabygunError):
    """None of our source addresses reaches a domain's servers. The text names the setting."""


@dataclass(frozen=True)
class Destination:
    """Where a queue's mail goes: to one of its servers. A relay has one server only.

    ``name``: the queue. It appears in keys, records, logs and metrics. It has no slash, which
    separates the parts of a key. ``site``: whose limits hold. Destinations with the same ``pool``
    share connections: they have the same hosts, TLS policy and source addresses.
    """

    name: str
    site: Site
    pool: str
    max_connections: int  # of one worker
    server: Server | None = None  # the relay's
    sources: tuple[str, ...] = ()  # addresses of ours to dial from; none: the system's choice

    async def servers(self, *, for_email: str = "") -> AsyncGenerator[Server, None]:
        """The servers, in the order in which to try them.

        ``for_email``: picks the source address, so that each try of an e-mail comes from the same.
        Raises NoMailHost and LookupFailed if there is none, NoSource if none of ours reaches one.
        """
        if self.server is not None:
            yield self.server

    @property
    def is_mx(self) -> bool:
        """Whether its servers are the mail hosts of a domain."""
        return self.server is None

    @property
    def picks_source(self) -> bool:
        """Whether e-mails go from several addresses of ours."""
        return len(self.sources) > 1

    def pool_for(self, for_email: str) -> str:
        """The pool of an e-mail: all connections of one come from the same address of ours."""
        if not self.picks_source:
            return self.pool
        return " ".join([self.pool, *picked_sources(self.sources, for_email).values()])

    @property
    def endpoint(self) -> str:
        """How logs name it: ``host:port`` of a relay, otherwise the site."""
        return self.server.endpoint if self.server else self.site.name

    @property
    def username(self) -> str:
        """Whom a relay's login names; empty without one."""
        return self.server.username if self.server else ""


def to_relay(
    name: str,
    server: Server,
    *,
    max_connections: int = DEFAULT_CONNECTIONS,
    limits: Limits | None = None,
) -> Destination:
    """A destination with one server. ``limits``: for all workers together."""
    return Destination(name, site_of_relay(name, limits), name, max_connections, server)
