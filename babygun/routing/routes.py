"""The queue of each recipient, and the destination of each queue."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from fnmatch import translate
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from babygun.email.domains import ascii_domain
from babygun.email.retry import Schedule
from babygun.errors import SettingsError
from babygun.routing.destination import Destination, NoDestination
from babygun.routing.providers import DEFAULT, Limits, Providers, load_providers
from babygun.routing.route_settings import ReturnPathMode, Route, read_routes
from babygun.routing.sites import ALL_MX, MX, NO_ROUTE, Site, site_of_relay
from babygun.routing.tls_overrides import read_overrides
from babygun.runtime.settings import Settings
from babygun.runtime.tls import client_context

if TYPE_CHECKING:
    from babygun.dns import Resolver
    from babygun.routing.domain_policies import FoundSts, StsOf
    from babygun.routing.mx_destinations import MxDestinations

_WILDCARDS = re.compile(r"[*?\[]")
_REMEMBERED_DOMAINS = 10_000
# A worker's key holds the fingerprints; with more of them it would not fit one request to etcd.
MOST_FINGERPRINTS = 1000


class Routes:
    """Which queue a recipient belongs to, and where each queue's mail goes.

    The first route with a pattern that matches the recipient's domain takes the mail. A relay is a
    queue of its own; otherwise each domain is one. ``destinations``: the relays, by queue, in their
    order. ``sts_policy_of``: the MTA-STS policy of a domain; a worker sets it.
    """

    def __init__(self, routes: Iterable[Route], settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._routes = tuple(routes)
        self.destinations = {each.name: each.relay for each in self._routes if each.relay}
        self._by_relay = {each.name: each for each in self._routes if each.relay}
        self._to_mx = [each for each in self._routes if not each.relay]
        read = bool(self._to_mx or self._settings.providers)  # a mistake is refused in any case
        providers = load_own_providers(self._settings) if read else None
        self._providers = providers if self._to_mx else None
        self._exact: dict[str, int] = {}  # by domain: the place of its route
        self._patterns: list[tuple[int, re.Pattern[str]]] = []
        for place, route in enumerate(self._routes):
            for domain in route.domains:
                if _WILDCARDS.search(domain):
                    self._patterns.append((place, re.compile(translate(domain))))
                else:
                    self._exact.setdefault(domain, place)
        self._overrides = read_overrides(self._settings)
        self.sts_policy_of: StsOf = _no_sts
        self._queue_of = lru_cache(_REMEMBERED_DOMAINS)(self._find_queue)
        self._mx_route_of = lru_cache(_REMEMBERED_DOMAINS)(self._find_mx_route)

    @cached_property
    def _mx(self) -> MxDestinations:
        from babygun.routing.mx_destinations import MxDestinations  # few processes need DNS

        assert self._providers
        return MxDestinations(
            self._settings,
            self._providers,
            self._overrides,
            lambda domain: self.sts_policy_of(domain),
        )

    @property
    def has_destinations(self) -> bool:
        """Whether the mail of some domain has a destination."""
        return bool(self._routes)

    @property
    def to_mx(self) -> bool:
        """Whether the mail of some domain goes to its mail hosts."""
        return bool(self._to_mx)

    @property
    def resolver(self) -> Resolver:
        """The one that is asked for mail hosts, where mail goes to some."""
        return self._mx.resolver

    @property
    def sources(self) -> tuple[str, ...]:
        """All addresses of ours from which mail goes to mail hosts, of whatever machine."""
        return tuple(dict.fromkeys(each for route in self._to_mx for each in route.sources))

    @property
    def provider_sites(self) -> list[str]:
        """The names of the sites that the table of providers lists."""
        names = self._providers.by_name if self._providers else ()
        return [MX + name for name in names if name != DEFAULT]

    def require_machine(self) -> None:
        """Raises SettingsError where this machine lacks what a route needs to send.

        That is its CA file, or one at least of its source addresses.
        """
        files = {
            f"tls_ca of route {name}": relay.server.tls_ca
            for name, relay in self.destinations.items()
            if relay.server
        }
        if self._to_mx:
            files["sts_ca"] = self._settings.sts_ca
        for what, ca in files.items():
            try:
                if ca:
                    client_context(ca)
            except OSError as error:
                raise SettingsError(f"{what}: {ca}: {error}") from None
        for route in self._to_mx:
            if route.sources and not _here(route.sources):
                raise SettingsError(
                    f"source_addresses of route {route.name}: none of"
                    f" {', '.join(route.sources)} is an address of this machine"
                )

    # --- acceptance ---

    def queue_for(self, address: str) -> str:
        """The queue of a recipient. Raises SettingsError where no route takes its domain."""
        return self._queue_of(address.rpartition("@")[2].lower())

    def _find_queue(self, given: str) -> str:
        domain = ascii_domain(given)  # as the routes' domains are
        route = self._route(domain)
        if route is None:
            raise SettingsError(f"no route takes mail for {given}")
        if route.relay:
            return route.name
        if domain.startswith("["):
            raise SettingsError(
                f"mail to an address literal such as {given} is not sent: give the name of a"
                " domain, or let a relay take it"
            )
        return MX + domain

    def _route(self, domain: str) -> Route | None:
        """The first route that takes the domain."""
        place = self._exact.get(domain, len(self._routes))
        for earlier, pattern in self._patterns:
            if earlier >= place:
                break
            if pattern.match(domain):
                return self._routes[earlier]
        return self._routes[place] if place < len(self._routes) else None

    # --- delivery ---

    def known_site(self, queue: str) -> Site | None:
        """The site of a queue, without asking anybody; it may be a little old.

        None: :meth:`destination` has to find it first.
        """
        if (destination := self.destinations.get(queue)) is not None:
            return destination.site
        if not queue.startswith(MX):
            return site_of_relay(queue, None)  # it has no destination here, and its try says so
        return self._mx.known_site(queue) if self._to_mx else site_of_relay(NO_ROUTE, None)

    def label(self, queue: str) -> str:
        """How metrics call a queue: a relay by its name, a domain by what its site is."""
        site = self.known_site(queue)
        return site.label if site else ALL_MX

    def label_of_site(self, site: str) -> str:
        """How metrics call a site, by its name."""
        if not site.startswith(MX):
            return site
        known = self._providers is not None and site.removeprefix(MX) in self._providers.by_name
        return site if known else MX + DEFAULT

    def limits_of_site(self, site: str) -> Limits | None:
        """A site's own limits, by its name. None: it has none, or it is a relay of no route."""
        if (destination := self.destinations.get(site)) is not None:
            return destination.site.limits
        if not site.startswith(MX) or self._providers is None:
            return None
        providers = self._providers
        return providers.by_name.get(site.removeprefix(MX), providers.default).limits

    async def destination(self, queue: str) -> Destination:
        """Where a queue's mail goes. Then :meth:`known_site` knows its site.

        Raises NoDestination where the settings have none. Raises NoMailHost where DNS has none, and
        LookupFailed where DNS does not answer.
        """
        destination = self.destinations.get(queue)
        if destination is not None:
            return destination
        if not queue.startswith(MX):
            raise NoDestination(f"no relay called {queue} is configured here")
        if not self._to_mx:
            raise NoDestination(f"no route here sends mail to MX hosts, as {queue} needs")
        return await self._mx.find(queue, self._mx_route_of(queue))

    async def find_site(self, queue: str) -> Site:
        """The site of a queue, looked up; sooner than :meth:`destination`. Raises as that does."""
        if queue.startswith(MX) and self._to_mx and queue not in self.destinations:
            return await self._mx.find_site(queue)
        return (await self.destination(queue)).site

    async def find_site_again(self, queue: str) -> Site | None:
        """The site of a known queue, looked up once more; None: nobody can say now."""
        if queue.startswith(MX) and self._to_mx and queue not in self.destinations:
            return await self._mx.find_site_again(queue)
        return self.known_site(queue)

    def schedule(self, queue: str) -> Schedule:
        """When the mail of a queue is tried again. One without a route has that of a relay."""
        if queue.startswith(MX) and self._to_mx:
            return self._mx_route_of(queue).schedule
        route = self._by_relay.get(queue)
        return route.schedule if route else Schedule(self._settings.retry_intervals)

    def return_path(self, queue: str) -> ReturnPathMode:
        """Which return path the mail of a queue has."""
        if queue.startswith(MX) and self._to_mx:
            return self._mx_route_of(queue).return_path
        route = self._by_relay.get(queue)
        return route.return_path if route else "off"

    def _find_mx_route(self, queue: str) -> Route:
        """The first mx route, where the settings let a relay take the domain by now."""
        route = self._route(queue.removeprefix(MX))
        return route if route and not route.relay else self._to_mx[0]

    def max_connections(self, queue: str) -> int:
        """The most connections of one worker to a queue's destination; 0 where there is none."""
        if (destination := self.destinations.get(queue)) is not None:
            return destination.max_connections
        site = self.known_site(queue) if self._to_mx and queue.startswith(MX) else None
        return site.limits.connections if site and site.limits else 0

    # --- comparison of processes ---

    def fingerprints(self) -> dict[str, str]:
        """By queue, a short hash of its destination's address; nothing with too many queues.

        Two processes that send a queue to the same server have the same fingerprint. ``mx:`` stands
        for all queues of domains.
        """
        if len(self.destinations) > MOST_FINGERPRINTS:
            return {}
        names = [*self.destinations, *([MX] if self._to_mx else [])]
        return {
            name: hashlib.sha256(self.endpoint(name).lower().encode()).hexdigest()[:8]
            for name in names
        }

    def endpoint(self, name: str) -> str:
        """To where the mail of a name of :meth:`fingerprints` goes, in words."""
        if name == MX:
            return f"port {self._settings.mx_port} of each domain's mail hosts"
        return self.destinations[name].endpoint


async def _no_sts(_domain: str) -> FoundSts:
    from babygun.routing.domain_policies import FoundSts  # as above

    return FoundSts()


def _here(sources: tuple[str, ...]) -> tuple[str, ...]:
    from babygun.routing.mx_destinations import here  # few processes need it

    return here(sources)


def sends(fingerprints: Mapping[str, str], queue: str) -> bool:
    """Whether a process with these :meth:`Routes.fingerprints` sends a queue."""
    return queue in fingerprints or (queue.startswith(MX) and MX in fingerprints)


def load_routes(settings: Settings) -> Routes:
    """The routes of the settings. Raises SettingsError, which names the route and the field."""
    return Routes(read_routes(settings), settings)


def load_own_providers(settings: Settings) -> Providers:
    """The table of providers, with the operator's own entries. Raises SettingsError."""
    path = settings.providers
    try:
        own = Path(path).read_text(encoding="utf-8") if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"providers: {path}: {error}") from None
    return load_providers(own, f"providers: {path}")
