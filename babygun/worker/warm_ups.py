"""Keeps the mail of new sources within the ceilings of their warm-up, over all workers together.

    a try ─reserve─▶ recipients ─send─▶ settle: what was not used goes back
              │                           │
        warm_up_parts: what this worker has taken from etcd, up to 50 recipients at once

An e-mail counts for the sending domain that covers its sender, and for the address of ours that it
goes from. :mod:`babygun.routing.warm_up` decides how many, :mod:`babygun.store.warm_ups` counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime

from msgspec import Struct, field

from babygun.email.model import Email
from babygun.email.tries import RecipientResult
from babygun.errors import EtcdError
from babygun.routing.destination import Destination
from babygun.routing.warm_up import Plan, is_address, older_sources, seconds_left, why_full
from babygun.runtime.metrics import WARM_UP_RECIPIENTS
from babygun.smtp import NotSent, Outcome
from babygun.store import Store
from babygun.worker.warm_up_parts import Full, Granted, WarmUpParts

WARM_UP = "warm_up"  # the class of a recipient that is put off


class NotCounted(NotSent):
    """etcd did not answer, so nobody knows whether an e-mail may go. ``reason`` is its error."""

    def __init__(self, reason: EtcdError) -> None:
        super().__init__(f"the warm-up's counts can't be read: {reason}")
        self.reason = reason


class Reservation(Struct, gc=False):
    """How many recipients a try may send to, and from where.

    ``destination``: with those of our addresses that it may go from. ``recipients``: so many may be
    sent to. ``otherwise``: the result of the others, and ``full`` its cause. ``reserved``: by
    source, those whose ceiling counts. ``used``: by our address, recipients whose message a server
    took.
    """

    destination: Destination
    day: date
    recipients: int
    otherwise: RecipientResult | None = None
    full: Full | None = None
    reserved: dict[str, int] = field(default_factory=dict)
    used: Counter[str] = field(default_factory=Counter)

    def note(self, outcome: Outcome) -> None:
        """Notes what a transaction did."""
        taken = sum(
            reply.uncertain or (reply.phase == "message" and 200 <= (reply.code or 0) < 300)
            for reply in outcome.replies.values()
        )
        if taken:
            self.used[outcome.server.source if outcome.server else ""] += taken


class WarmUps:
    """``parts``: to be run by a task, and closed. ``workers``: how many are alive."""

    def __init__(self, store: Store, plan: Plan, workers: Callable[[], int]) -> None:
        self._store, self._plan = store, plan
        self.parts = WarmUpParts(store, plan, workers)

    async def reserve(
        self, email: Email, destination: Destination, for_email: str, wanted: int
    ) -> Reservation | None:
        """What a try may do. None: no ceiling counts for it. Raises NotCounted.

        ``wanted``: recipients. ``for_email``: as :meth:`Destination.servers` takes it.
        """
        now = await self._store.clock.now()
        found = Reservation(destination, now.date(), wanted)
        try:
            full = await self._reserve(found, await self._domain_of(email), for_email, now)
        except BaseException as error:
            self.settle(found, 0)
            if isinstance(error, EtcdError):
                raise NotCounted(error) from error
            raise
        if full is not None:
            why = why_full(full.source, full.day, full.ceiling, destination.site.name)
            found.full = full
            found.otherwise = RecipientResult(
                "put_off", WARM_UP, reason=why, retry_after=seconds_left(now)
            )
        moved = found.destination is not destination  # maybe to a warm address: it has no ceiling
        return found if found.reserved or full is not None or moved else None

    def put_off(self, found: Reservation, count: int) -> RecipientResult:
        """The result of recipients that can't be sent to. They are counted."""
        assert found.full is not None and found.otherwise is not None
        source, site = found.full.source, found.destination.site.name
        self.parts.put_off(source, site, found.day, count)
        WARM_UP_RECIPIENTS[_kind(source), "put_off"].inc(count)
        return found.otherwise

    def settle(self, found: Reservation, taken: int) -> None:
        """A try has ended. ``taken``: recipients whose message a server took, or may have taken."""
        unknown = max(0, taken - found.used.total())  # nobody knows from which address
        for source, reserved in found.reserved.items():
            used = taken
            if is_address(source):
                used = found.used[source] + found.used[""] + unknown
            WARM_UP_RECIPIENTS[_kind(source), "sent"].inc(min(used, reserved))
            self._give_back(found, source, reserved - used)

    async def _domain_of(self, email: Email) -> str:
        """The sending domain that covers an e-mail's sender; empty: there is none."""
        domains = self._store.domains
        if not self._plan.domains:
            return ""
        await domains.ready.wait()
        domain = domains.of_sender(email.client_id, email.sender)
        return domain.name if domain else ""

    async def _reserve(
        self, found: Reservation, domain: str, for_email: str, now: datetime
    ) -> Full | None:
        """Reserves of the domain and of an address. Returns the ceiling that leaves too few."""
        full: Full | None = None
        if domain:
            found.recipients, full, _ = await self._take(found, domain, found.recipients, now)
        if found.recipients and self._plan.addresses and found.destination.sources:
            before = found.recipients
            full = await self._reserve_addresses(found, for_email, now) or full
            self._give_back(found, domain, before - found.recipients)
        return full

    async def _reserve_addresses(
        self, found: Reservation, for_email: str, now: datetime
    ) -> Full | None:
        """Reserves of an address for each version of IP: which one is used, DNS says later.

        Returns the ceiling that leaves too few recipients.
        """
        sources, wanted = found.destination.sources, found.recipients
        began = {source: await self.parts.began(source, now) for source in sources}
        if all(day == date.min for day in began.values()):
            return None
        chosen: dict[str, int] = {}
        full: Full | None = None
        for candidates in older_sources(sources, for_email, began.__getitem__).values():
            source, count, why = await self._take_best(found, candidates, wanted, now)
            full = full or why
            if count:
                chosen[source] = count
        found.recipients = most = max(chosen.values(), default=0)
        for source, count in chosen.items():
            if count < most:
                self._give_back(found, source, count)
        of = tuple(each for each in sources if most and chosen.get(each) == most)
        if of and len(of) < len(sources):
            pool = found.destination.pool  # as that of the e-mails whose own address it is
            pool = f"{pool} {of[0]}" if len(of) == 1 else pool
            found.destination = replace(found.destination, sources=of, pool=pool)
        return full if most < wanted else None

    async def _take_best(
        self, found: Reservation, candidates: Sequence[str], wanted: int, now: datetime
    ) -> tuple[str, int, Full | None]:
        """Reserves of the first address that has enough, else of the one that has the most.

        Returns that one, how many recipients it has, and the ceiling of the first one.
        """
        best, most, first_full = candidates[0], 0, None
        for source in candidates:
            count, full, _ = await self._take(found, source, wanted, now)
            first_full = first_full or full
            if count > most:
                self._give_back(found, best, most)
                best, most = source, count
            else:
                self._give_back(found, source, count)
            if most == wanted:
                break
        if most and best != candidates[0]:
            WARM_UP_RECIPIENTS["address", "moved"].inc(most)
        return best, most, first_full

    async def _take(self, found: Reservation, source: str, wanted: int, now: datetime) -> Granted:
        """Reserves of one source. A warm one needs no reservation."""
        granted = await self.parts.take(source, found.destination.site.name, wanted, now)
        if granted.counted and granted.recipients:
            found.reserved[source] = granted.recipients
        return granted

    def _give_back(self, found: Reservation, source: str, count: int) -> None:
        if count > 0 and source in found.reserved:
            found.reserved[source] -= count
            self.parts.give_back(source, found.destination.site.name, found.day, count)


def _kind(source: str) -> str:
    return "address" if is_address(source) else "domain"
