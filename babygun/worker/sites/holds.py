"""What a worker does about held sites: when it holds one, probes it, and ends the hold.

:mod:`hold_writer` writes it. The keys and their compares are in :mod:`babygun.store.sites.holds`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import NoReturn

from msgspec.structs import replace

from babygun.email.tries import RecipientResult
from babygun.errors import EtcdError
from babygun.routing.destination import Destination
from babygun.routing.sites import MX, NO_ROUTE
from babygun.runtime.clock import utc_now
from babygun.runtime.logs import get_logger
from babygun.store import Store
from babygun.store.emails.claims import Claim
from babygun.store.records import Hold
from babygun.store.sites import holds as store_holds
from babygun.store.sites.holds import Held, Holds
from babygun.worker.results import Sent, SessionFault
from babygun.worker.sites.hold_writer import HoldWriter
from babygun.worker.sites.refused_senders import RefusedSenders

log = get_logger("worker")

_READ_AGAIN = 0.5  # s, after a read that failed
_EARLIER = 5.0  # s after a hold's end, for which replies may come from tries before it
_MOST_ENDED = 1000  # holds whose end is remembered for longer than that
_MOST_SENDERS = 1000  # sender domains that are held at once: a client may have very many
_SENDER = 900.0  # s, for which one sender domain's mail is held


class SiteHolds:
    """Run :meth:`run` as a task.

    ``followed``: the holds as etcd has them. ``known``: they have been read; before that nothing is
    to be claimed. ``wake`` is called when :attr:`known` becomes true, ``due`` with a site that may
    be probed now, ``ended`` with the name of each hold that has ended, ``recovered`` with a hold
    that a probe of this worker ended. ``worker_id``: asked for this worker's present id. ``to_mx``:
    a route goes to mail hosts.
    """

    def __init__(
        self,
        store: Store,
        destinations: Mapping[str, Destination],
        *,
        worker_id: Callable[[], str],
        wake: Callable[[], None],
        due: Callable[[str], None],
        ended: Callable[[str], None],
        recovered: Callable[[Hold], None] = lambda _: None,
        to_mx: bool = False,
    ) -> None:
        self._store, self._destinations, self._to_mx = store, destinations, to_mx
        self._worker_id, self._wake = worker_id, wake
        self._call_due, self._ended = due, ended
        self.followed = Holds(store, self._changed)
        self._writer = HoldWriter(
            store, self.followed, destinations, worker_id=worker_id, recovered=recovered
        )
        self._ended_at: dict[str, float] = {}  # by name, time.monotonic()
        self._due: set[str] = set()  # held sites that may be probed now
        self._senders: set[str] = set()  # names of holds of one sender domain
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._unused: set[str] = set()  # sites whose turn this worker has still to use
        self._route_back: asyncio.Task[None] | None = None
        self.refused_senders = RefusedSenders(store)
        self.by_operator: set[str] = set()  # sites whose hold, or last one, is an operator's
        self.known = False

    @property
    def by_name(self) -> Mapping[str, Held]:
        return self.followed.by_name

    def is_held(self, name: str) -> bool:
        """Whether a site is held, or one sender domain there (``<site>/<sender>``)."""
        return name in self.followed.by_name

    def of_mail_hosts(self) -> list[str]:
        """The held sites whose mail DNS may lead to other hosts by now."""
        return [
            name
            for name, held in self.by_name.items()
            if name.startswith(MX) and name != NO_ROUTE and not held.hold.sender
        ]

    def is_logged(self, claimed: Claim, site: str) -> bool:
        """Whether the e-mail's log says already that its site is held."""
        put_back = claimed.email.queues[claimed.ref.queue].held
        held = self.by_name.get(site)
        return put_back is not None and (held is None or put_back >= held.hold.since)

    async def run(self) -> NoReturn:
        """Follows the holds until cancelled.

        Relays that are held at the start are probed at once: new settings may have solved it.
        """
        while not self.known:
            try:
                await self.followed.read()
                self.known = True
            except EtcdError as error:
                log.warning("held sites not read", error=str(error))
                await asyncio.sleep(_READ_AGAIN)
        self._wake()
        await self.followed.run()

    # --- probes ---

    def is_due(self, site: str) -> bool:
        """Whether a held site may be probed now, and this worker sends to it."""
        may = site in self._due or site in self._unused
        return may and (site in self._destinations or site.startswith(MX))

    async def take_turn(self, site: str) -> int:
        """Whether this worker probes the site now: nobody else does before the next turn.

        Returns the turn, as :meth:`keep_turn` takes it; 0: it does not.
        """
        held = self.by_name.get(site)
        if held is not None and site in self._unused:
            self._unused.remove(site)
            return held.revision
        self._due.discard(site)  # another turn comes with the next change of the hold
        if held is None or held.hold.by_operator:
            return 0
        try:
            turn = await store_holds.take_turn(self._store, held, worker_id=self._worker_id())
            if turn is None:  # another worker has it, or the hold has ended
                await self.followed.read()
        except EtcdError as error:
            log.warning("site not probed", site=site, error=str(error))
            self._set_timer(site, _READ_AGAIN)
            return 0
        if turn is None:
            return 0
        self.followed.learn(turn)
        return turn.revision

    def keep_turn(self, site: str, turn: int) -> None:
        """The turn was used by no e-mail: none was there, could be claimed, or went to the site.

        Names of jobs that were cancelled or ended stay known until somebody claims them. Without
        this, each would use up a turn. One that is over does not come back: another worker may
        have the next one.
        """
        held = self.by_name.get(site)
        if held is not None and held.revision == turn:
            self._unused.add(site)
            self._call_due(site)

    # --- the ends of tries ---

    async def settle(
        self, claimed: Claim, sent: Sent, *, site: str, probe: bool, started: float
    ) -> dict[str, RecipientResult]:
        """The results of a try as they are to be written; begins or ends the site's hold.

        ``site``: the one that it went to, since the queue may have another by now. ``probe``: the
        try was this site's probe. It ends the hold if the server said anything about the e-mail; if
        not, it uses up no try, whatever the reason. ``started``: when the try began, on
        time.monotonic().
        """
        fault = sent.fault
        if fault is None or not (fault.holds or probe):
            if sent.answered and (probe or self.refused_senders.any):
                await self._got_through(site, claimed.email.sender, probe)
            return sent.results
        if fault.at_mail and fault.holds:
            self.refused_senders.met(site, claimed.email.sender)
        if probe:
            await self._writer.quote(site, fault)
        elif (
            fault.at_mail
            and not self.is_held(site)
            and self.refused_senders.is_refused(site, claimed)
        ):
            return _with_action(sent.results, "hold", "retry")
        else:
            await self._begin(site, fault, started)
        return _with_action(sent.results, "retry", "hold") if not fault.holds else sent.results

    async def _got_through(self, site: str, sender: str, probe: bool) -> None:
        self.refused_senders.got_through(site, sender, probe=probe)
        if probe:
            await self._writer.end(site)

    # --- begin ---

    def hold(self, site: str, reply: RecipientResult, first_probe: float | None = None) -> None:
        """A reply asks for a hold. Tries from before the last hold's end ask for none.

        ``first_probe``: in how many seconds, if not as usual.
        """
        if time.monotonic() >= self._ended_at.get(site, -_EARLIER) + _EARLIER:
            self._writer.begin(site, reply, first_probe=first_probe)

    def hold_sender(self, site: str, sender: str, reply: RecipientResult) -> None:
        """Holds one sender domain at a site. Nobody probes: the hold ends by itself."""
        if len(self._senders) < _MOST_SENDERS:
            self._writer.begin(site, reply, sender=sender, first_probe=_SENDER)

    async def _begin(self, site: str, fault: SessionFault, started: float) -> None:
        if started >= self._ended_at.get(site, 0.0):  # others say nothing about now
            self._writer.begin(site, fault.result)
        await self._writer.begun(site)

    # --- following ---

    def _changed(self, name: str) -> None:
        """A hold has begun, changed or ended."""
        self._unused.discard(name)
        self._due.discard(name)
        if timer := self._timers.pop(name, None):
            timer.cancel()
        held = self.by_name.get(name)
        if held is None:
            self._senders.discard(name)
            now = time.monotonic()
            if len(self._ended_at) >= _MOST_ENDED:
                later = now - _EARLIER
                self._ended_at = {each: at for each, at in self._ended_at.items() if at > later}
            self._ended_at[name] = now
            self.refused_senders.hold_ended(name)
            self._ended(name)
            return
        (self.by_operator.add if held.hold.by_operator else self.by_operator.discard)(name)
        if held.hold.sender:
            self._senders.add(name)
        elif not held.hold.by_operator:
            at_once = not self.known and (name in self._destinations or name == NO_ROUTE)
            wait = 0.0 if at_once else (held.hold.probe_at - utc_now()).total_seconds()
            self._set_timer(name, max(0.0, wait))

    def _set_timer(self, name: str, wait: float) -> None:
        """The site may be probed in so many seconds."""
        if timer := self._timers.pop(name, None):
            timer.cancel()
        loop = asyncio.get_running_loop()
        self._timers[name] = loop.call_later(wait, self._may_be_probed, name)

    def _may_be_probed(self, name: str) -> None:
        self._timers.pop(name, None)
        if name == NO_ROUTE:
            if self._to_mx:  # this mail has sites again, so nothing would ever probe
                self._route_back = asyncio.create_task(
                    self._writer.end(name), name=f"end hold {name}"
                )
            return
        self._due.add(name)
        self._call_due(name)


def _with_action(
    results: Mapping[str, RecipientResult], old: str, new: str
) -> dict[str, RecipientResult]:
    return {
        address: replace(result, action=new) if result.action == old else result
        for address, result in results.items()
    }
