"""The queue of each recipient, and the destination of each queue."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from fnmatch import translate
from functools import lru_cache

from babygun.email.domains import ascii_domain
from babygun.errors import SettingsError
from babygun.routing.destination import Destination, NoDestination
from babygun.routing.relays import Relay, read_relays
from babygun.runtime.settings import Settings

_WILDCARDS = re.compile(r"[*?\[]")
_REMEMBERED_DOMAINS = 10_000
# A worker's key holds the fingerprints; with more of them it would not fit one request to etcd.
MOST_FINGERPRINTS = 1000


class Routes:
    """Which queue a recipient belongs to, and where each queue's mail goes.

    A relay is a queue of its own. The first relay with a pattern that matches the recipient's
    domain takes the mail. ``destinations``: those from the settings, by queue, in their order.
    """

    def __init__(self, relays: Iterable[Relay]) -> None:
        self.destinations: dict[str, Destination] = {}
        self._exact: dict[str, tuple[int, str]] = {}  # by domain: the relay's place, and its queue
        self._patterns: list[tuple[int, re.Pattern[str], str]] = []
        for place, (destination, domains) in enumerate(relays):
            self.destinations[destination.name] = destination
            for domain in domains:
                if _WILDCARDS.search(domain):
                    pattern = re.compile(translate(domain))
                    self._patterns.append((place, pattern, destination.name))
                else:
                    self._exact.setdefault(domain, (place, destination.name))
        self._queue_of = lru_cache(_REMEMBERED_DOMAINS)(self._find)

    @property
    def has_destinations(self) -> bool:
        """Whether the mail of some domain has a destination."""
        return bool(self.destinations)

    def queue_for(self, address: str) -> str:
        """The queue of a recipient. Raises SettingsError where no relay takes its domain."""
        return self._queue_of(address.rpartition("@")[2].lower())

    def _find(self, given: str) -> str:
        domain = ascii_domain(given)  # as the relays' domains are
        place, queue = self._exact.get(domain, (len(self.destinations), ""))
        for earlier, pattern, other in self._patterns:
            if earlier >= place:
                break
            if pattern.match(domain):
                return other
        if not queue:
            raise SettingsError(f"no relay takes mail for {given}")
        return queue

    async def destination(self, queue: str) -> Destination:
        """Where a queue's mail goes. Raises NoDestination.

        It is awaited so that a destination may be looked up outside of this process.
        """
        destination = self.destinations.get(queue)
        if destination is None:
            raise NoDestination(f"no relay called {queue} is configured here")
        return destination

    def max_connections(self, queue: str) -> int:
        """The most connections of one worker to a queue's destination; 0 where there is none."""
        destination = self.destinations.get(queue)
        return destination.max_connections if destination else 0

    def fingerprints(self) -> dict[str, str]:
        """By queue, a short hash of its destination's address; nothing with too many queues.

        Two processes that send a queue to the same server have the same fingerprint.
        """
        if len(self.destinations) > MOST_FINGERPRINTS:
            return {}
        return {
            queue: hashlib.sha256(destination.endpoint.lower().encode()).hexdigest()[:8]
            for queue, destination in self.destinations.items()
        }


def sends(fingerprints: Mapping[str, str], queue: str) -> bool:
    """Whether a process with these :meth:`Routes.fingerprints` sends a queue."""
    return queue in fingerprints


def load_routes(settings: Settings) -> Routes:
    """The routes of the settings. Raises SettingsError, which names the relay and the field."""
    return Routes(read_relays(settings))
