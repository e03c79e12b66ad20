"""Writes what becomes of a hold: its begin, what a probe was answered, its end.

Each step that etcd has taken is logged and counted here. A hold that could not be written is
written again with the next fault or probe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from babygun.email.reasons import quoted_to_others
from babygun.email.tries import RecipientResult
from babygun.errors import EtcdError
from babygun.routing.destination import Destination
from babygun.routing.sites import MX
from babygun.runtime import metrics
from babygun.runtime.clock import utc_now
from babygun.runtime.logs import get_logger
from babygun.store import Store
from babygun.store.records import Hold
from babygun.store.sites import holds as store_holds
from babygun.store.sites.holds import Holds
from babygun.worker.results import SessionFault

log = get_logger("worker")


class HoldWriter:
    """Decides nothing: :class:`SiteHolds` says when.

    ``followed``: the holds that are known; it learns what was written. ``worker_id``: asked for
    this worker's present id. ``recovered``: called with each hold that :meth:`end` has ended.
    """

    def __init__(
        self,
        store: Store,
        followed: Holds,
        destinations: Mapping[str, Destination],
        *,
        worker_id: Callable[[], str],
        recovered: Callable[[Hold], None],
    ) -> None:
        self._store, self._followed, self._destinations = store, followed, destinations
        self._worker_id, self._recovered = worker_id, recovered
        self._beginning: dict[str, asyncio.Task[None]] = {}  # by name

    def begin(
        self,
        site: str,
        reply: RecipientResult,
        *,
        sender: str = "",
        first_probe: float | None = None,
    ) -> None:
        """Starts to write a hold of a site, or of one sender domain there, unless there is one.

        Many tries meet the same fault at once: one of them writes it. ``first_probe``: in how many
        seconds, if not as usual.
        """
        name = f"{site}/{sender}" if sender else site
        if name not in self._followed.by_name and name not in self._beginning:
            task = asyncio.create_task(
                self._begin(site, reply, sender, first_probe), name=f"hold {name}"
            )
            self._beginning[name] = task
            task.add_done_callback(lambda _: self._beginning.pop(name, None))

    async def begun(self, site: str) -> None:
        """Waits until a hold of the site that is being begun is written, if there is one."""
        if task := self._beginning.get(site):
            await asyncio.shield(task)

    async def _begin(
        self, site: str, reply: RecipientResult, sender: str, first_probe: float | None
    ) -> None:
        try:
            held = await store_holds.begin(
                self._store,
                site,
                reply,
                worker_id=self._worker_id(),
                sender=sender,
                first_probe=first_probe,
            )
            if held is None:  # another worker was first
                await self._followed.read()
                return
        except EtcdError as error:  # the tries wait for etcd too, and the next fault comes here
            log.warning("site not held", site=site, error=str(error))
            return
        self._followed.learn(held)
        metrics.SITE_HOLDS[_label(site), "begun"].inc()
        hold, destination = held.hold, self._destinations.get(site)
        log.error(
            "site held",
            site=site,
            sender=sender,
            relay=destination.endpoint if destination else "",
            user=destination.username if destination else "",
            reply_class=hold.reason,
            code=hold.status_code,
            enhanced_code=hold.enhanced_code,
            text=hold.status_reason,
        )

    async def quote(self, site: str, fault: SessionFault) -> None:
        """A probe did not get through: the hold says what the server says now."""
        metrics.SITE_HOLDS[_label(site), "probed"].inc()
        log.info(
            "site probed",
            site=site,
            reply_class=fault.result.reply_class,
            code=fault.result.status_code,
            text=quoted_to_others(fault.result.reason, 200),
        )
        held = self._followed.by_name.get(site)
        if held is not None and not held.hold.by_operator:
            try:
                if quoted := await store_holds.quote(self._store, held, fault.result):
                    self._followed.learn(quoted)
            except EtcdError as error:
                log.warning("site not held", site=site, error=str(error))

    async def end(self, site: str) -> None:
        """Ends the hold after a probe that got through. This worker learns it by its watch.

        An operator's hold stays: it may have come since the probe began.
        """
        held, ended = self._followed.by_name.get(site), False
        try:
            while not (held is None or held.hold.by_operator or ended):
                ended = await store_holds.end(self._store, held)
                if not ended:  # it has changed, or it is gone
                    await self._followed.read()
                    held = self._followed.by_name.get(site)
        except EtcdError as error:  # the next probe does it
            log.warning("hold not ended", site=site, error=str(error))
            return
        if held is not None and ended:
            metrics.SITE_HOLDS[_label(site), "ended"].inc()
            seconds = (utc_now() - held.hold.since).total_seconds()
            log.info("hold ended", site=site, probes=held.hold.probes, seconds=round(seconds))
            self._recovered(held.hold)


def _label(site: str) -> str:
    """How metrics name a site: by provider, since there are too many others."""
    return f"{MX}default" if site.startswith(MX) and "." in site else site
