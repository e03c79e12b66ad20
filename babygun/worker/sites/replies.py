"""What a site's replies do: to its limits, to its holds, and to those of one sender domain."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from babygun.email.reasons import quoted_to_others
from babygun.email.tries import RecipientResult
from babygun.errors import EtcdError
from babygun.routing.providers import ReplyRule
from babygun.routing.sites import Site
from babygun.runtime.logs import get_logger
from babygun.runtime.tasks import cancel_all
from babygun.smtp.classifier import Classification
from babygun.smtp.replies import Reply
from babygun.worker.results import BEFORE_MAIL, result_of
from babygun.worker.sites.adaptation import FAILED_CONNECTS, Counts
from babygun.worker.sites.adapting import Adapting
from babygun.worker.sites.holds import SiteHolds
from babygun.worker.sites.permits import SitePermits

log = get_logger("worker")

_MOST_FAILED = 10_000  # sites whose failures in a row are counted
# Sites held in a row while no server says anything. More fail by this worker's own network.
MOST_SILENT = 20


class SiteReplies:
    """The provider's table comes first. A reply about a mailbox or a domain says nothing here.

    ``others``: asked how often a site's replies have asked the other workers for what the table
    says, by the first text of its row. At the end call :meth:`close`.
    """

    def __init__(
        self,
        permits: Mapping[str, SitePermits],
        adapting: Adapting,
        holds: SiteHolds,
        others: Callable[[str], Awaitable[Mapping[str, int]]],
    ) -> None:
        self._permits, self._adapting, self._holds = permits, adapting, holds
        self._others = others
        self._failed: dict[str, int] = {}  # by site: connections that failed in a row
        self._counts: Counts[tuple[str, str]] = Counts()  # by site and row of the table
        self._asking: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._silent = 0  # sites held since a server last said something

    def begin_again(self, site: str) -> None:
        """The site's hold has ended: what failed before does not count."""
        self._failed.pop(site, None)

    def take_in(self, site: Site, reply: Reply, found: Classification, sender: str) -> None:
        """A site has said something, or no connection to it came about.

        Called once for each reply of a transaction. ``sender``: the domain of the e-mail's sender.
        """
        permits = self._permits.get(site.name)
        if reply.code is not None:
            self._silent = 0
        if found.action == "deliver":
            self._failed.pop(site.name, None)
            if permits is not None:
                permits.sent += 1
                self._adapting.succeeded(site)
            return
        if permits is not None:
            permits.deferred += 1
        if site.provider is None:  # a relay is held by its faults, as its tries end
            return
        result = result_of(reply, found)
        if reply.phase not in BEFORE_MAIL:
            self._failed.pop(site.name, None)
        elif found.about in (None, "connections", "session", "site"):
            self._connect_failed(site.name, result)
        if found.about == "sender":
            if found.action == "retry" and sender:
                self._holds.hold_sender(site.name, sender, result)
        elif found.about not in ("domain", "mailbox") and not self._by_table(site, reply, result):
            self._by_class(site, found, result)

    def _by_table(self, site: Site, reply: Reply, result: RecipientResult) -> bool:
        """Does what the provider's table says of a reply. False: it says nothing."""
        rule = _rule_for(site, f"{reply.code} {reply.text}")
        if rule is None:
            return False
        key = site.name, rule.texts[0]
        if self._counts.add(key, time.monotonic()) >= rule.times:
            self._do(site, rule, result)
        elif site.shared and key not in self._asking:  # of others each worker learns by itself
            task = asyncio.create_task(
                self._ask_others(site, rule, result), name=f"replies of {site.name}"
            )
            self._asking[key] = task
            task.add_done_callback(lambda _: self._asking.pop(key))
        return True

    async def _ask_others(self, site: Site, rule: ReplyRule, result: RecipientResult) -> None:
        """All workers together may have got the reply often enough. Their reports are seconds old.

        It is asked rarely: a few replies within the hour are enough for each row of the table.
        """
        try:
            elsewhere = await self._others(site.name)
        except EtcdError as error:
            log.warning("site reports not read", error=str(error))
            return
        own = self._counts.of((site.name, rule.texts[0]), time.monotonic())
        if own and own + elsewhere.get(rule.texts[0], 0) >= rule.times:
            self._do(site, rule, result)

    def _do(self, site: Site, rule: ReplyRule, result: RecipientResult) -> None:
        self._counts.begin_again((site.name, rule.texts[0]))
        if rule.slow is None:
            self._holds.hold(site.name, result, rule.lasts)
        else:
            self._adapting.slow(site, rule.slow, rule.lasts, result)

    def asked(self) -> Mapping[str, dict[str, int]]:
        """By site, how often its replies have asked for what the provider's table says."""
        found: dict[str, dict[str, int]] = {}
        for (site, text), count in self._counts.all(time.monotonic()):
            found.setdefault(site, {})[text] = count
        return found

    async def close(self) -> None:
        await cancel_all(*self._asking.values())

    def _by_class(self, site: Site, found: Classification, result: RecipientResult) -> None:
        if found.about == "session":
            self._holds.hold(site.name, result)
        elif found.about == "connections":
            self._adapting.halve(site, "connections", result)
        elif found.about == "site":
            self._adapting.halve(site, "rate", result)

    def _connect_failed(self, site: str, result: RecipientResult) -> None:
        failed = self._failed.pop(site, 0) + 1
        if failed >= FAILED_CONNECTS:
            self._silent += result.status_code is None
            if self._silent <= MOST_SILENT:
                self._holds.hold(site, result)
            elif self._silent == MOST_SILENT + 1:
                log.error(
                    "no mail server answers", site=site, text=quoted_to_others(result.reason, 200)
                )
            return
        if len(self._failed) >= _MOST_FAILED:
            del self._failed[next(iter(self._failed))]
        self._failed[site] = failed


def _rule_for(site: Site, text: str) -> ReplyRule | None:
    """The row of the provider's table that knows a reply."""
    rules = site.provider.replies if site.provider is not None else ()
    return next((rule for rule in rules if rule.matches(text)), None)
