"""What a worker does about held queues: begins them, probes them, ends them.

The keys and their compares are in :mod:`babygun.store.sites.holds`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NoReturn

from msgspec.structs import replace

from babygun.email.tries import RecipientResult
from babygun.errors import EtcdError
from babygun.routing.destination import Destination
from babygun.runtime import metrics
from babygun.runtime.clock import utc_now
from babygun.runtime.logs import get_logger
from babygun.store import Store
from babygun.store.emails.claims import Claim
from babygun.store.emails.reading import read_senders
from babygun.store.keys import JobRef
from babygun.store.sites import holds as store_holds
from babygun.store.sites.holds import Held, Holds
from babygun.worker.results import Sent, SessionFault

log = get_logger("worker")

_READ_AGAIN = 0.5  # s, after a read that failed
_AT_ONCE = 100  # records of one read
_REFUSED = 3600.0  # s, for which a sender is remembered that alone is refused


class SiteHolds:
    """Run :meth:`run` as a task.

    ``known``: the holds have been read; before that nothing is to be claimed. ``wake`` is called
    when a probe is due and when :attr:`known` becomes true, ``ended`` with a queue whose hold has
    ended. ``worker_id``: asked for this worker's present id.
    """

    def __init__(
        self,
        store: Store,
        destinations: Mapping[str, Destination],
        *,
        worker_id: Callable[[], str],
        wake: Callable[[], None],
        ended: Callable[[str], None],
    ) -> None:
        self._store, self._destinations = store, destinations
        self._worker_id, self._wake, self._ended = worker_id, wake, ended
        self._holds = Holds(store, self._changed)
        self._beginning: dict[str, asyncio.Task[None]] = {}  # by queue
        self._ended_at: dict[str, float] = {}  # by queue, time.monotonic()
        self._probe_at: dict[str, float] = {}  # by held queue, time.monotonic()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._unused: set[str] = set()  # queues whose turn this worker has still to use
        self._at_mail: dict[str, set[str]] = {}  # by queue: senders that its hold has met at MAIL
        self._refused: dict[tuple[str, str], float] = {}  # by queue and sender: until when
        self.known = False

    @property
    def by_name(self) -> Mapping[str, Held]:
        return self._holds.by_name

    def is_held(self, queue: str) -> bool:
        return queue in self._holds.by_name

    def is_logged(self, claimed: Claim) -> bool:
        """Whether the e-mail's log says already that its queue is held."""
        put_back = claimed.email.queues[claimed.ref.queue].held
        held = self.by_name.get(claimed.ref.queue)
        return put_back is not None and (held is None or put_back >= held.hold.since)

    async def run(self) -> NoReturn:
        """Follows the holds until cancelled.

        Those that are there at the start are probed at once: new settings may have solved them.
        """
        while not self.known:
            try:
                await self._holds.read()
                self.known = True
            except EtcdError as error:
                log.warning("held queues not read", error=str(error))
                await asyncio.sleep(_READ_AGAIN)
        self._wake()
        await self._holds.run()

    # --- probes ---

    def due(self) -> Iterator[str]:
        """The held queues that may be probed now, and whose destination this worker has."""
        now = time.monotonic()
        for queue, probe_at in self._probe_at.items():
            if (probe_at <= now or queue in self._unused) and queue in self._destinations:
                yield queue

    async def take_turn(self, queue: str) -> bool:
        """Whether this worker probes the queue now: nobody else does before the next turn."""
        held = self.by_name.get(queue)
        if held is not None and queue in self._unused:
            self._unused.remove(queue)
            return True
        self._probe_at.pop(queue, None)  # another turn comes with the next change of the hold
        if held is None:
            return False
        try:
            turn = await store_holds.take_turn(self._store, held, worker_id=self._worker_id())
            if turn is None:  # another worker has it, or the hold has ended
                await self._holds.read()
        except EtcdError as error:
            log.warning("queue not probed", queue=queue, error=str(error))
            self._set_timer(queue, _READ_AGAIN)
            return False
        if turn is None:
            return False
        self._holds.learn(turn)
        return True

    async def best_probe(self, queue: str, jobs: Sequence[JobRef]) -> JobRef | None:
        """The first of these jobs whose sender was not refused at MAIL yet. None: any will do.

        If one sender alone is refused, only the mail of another can end the hold.
        """
        refused = self._at_mail.get(queue)
        for at in range(0, len(jobs) if refused else 0, _AT_ONCE):
            some = jobs[at : at + _AT_ONCE]
            try:
                senders = await read_senders(self._store, [ref.email_id for ref in some])
            except EtcdError as error:
                log.warning("queue not probed", queue=queue, error=str(error))
                return None
            for ref, sender in zip(some, senders, strict=True):
                if sender is not None and sender not in (refused or ()):
                    return ref
        return None

    def keep_turn(self, queue: str) -> None:
        """The turn was used by no e-mail: there was none, or it could not be claimed.

        Names of jobs that were cancelled or ended stay known until somebody claims them. Without
        this, each would use up a turn.
        """
        if self.is_held(queue):
            self._unused.add(queue)
            self._wake()

    # --- the ends of tries ---

    async def settle(
        self, claimed: Claim, sent: Sent, *, probe: bool, started: float
    ) -> dict[str, RecipientResult]:
        """The results of a try as they are to be written; begins or ends the queue's hold.

        ``probe``: the try was the queue's probe. It ends the hold if the server said anything about
        the e-mail; if not, it uses up no try, whatever the reason. ``started``: when the try began,
        on time.monotonic().
        """
        queue, fault = claimed.ref.queue, sent.fault
        if fault is None or not (fault.holds or probe):
            if sent.answered and (probe or self._refused):
                await self._got_through(claimed, probe)
            return sent.results
        if fault.at_mail and fault.holds:
            self._at_mail.setdefault(queue, set()).add(claimed.email.sender)
        if probe:
            await self._quote(queue, fault)
        elif fault.at_mail and not self.is_held(queue) and self._is_about_sender(claimed):
            return _with_action(sent.results, "hold", "retry")
        else:
            await self._begin(queue, fault, started)
        return _with_action(sent.results, "retry", "hold") if not fault.holds else sent.results

    def _is_about_sender(self, claimed: Claim) -> bool:
        """Whether a refusal at MAIL is about the sender, and no reason to hold the queue.

        It is if the e-mail was held, and another one has got through since. Otherwise each new
        e-mail of the sender would hold up all others.
        """
        queue, sender = claimed.ref.queue, claimed.email.sender
        if claimed.email.queues[queue].held:
            self._remember(queue, [sender])
        return self._refused.get((queue, sender), 0.0) > time.monotonic()

    def _remember(self, queue: str, senders: Iterable[str]) -> None:
        """These senders hold the queue no more for a while, unless they get through."""
        now = time.monotonic()
        self._refused = {each: until for each, until in self._refused.items() if until > now}
        self._refused |= {(queue, sender): now + _REFUSED for sender in senders}

    async def _got_through(self, claimed: Claim, probe: bool) -> None:
        queue, sender = claimed.ref.queue, claimed.email.sender
        self._refused.pop((queue, sender), None)
        if probe:
            if sender in self._at_mail.get(queue, ()):
                del self._at_mail[queue]  # it was refused, so it is the relay that has changed
            await self._end(queue)

    async def _begin(self, queue: str, fault: SessionFault, started: float) -> None:
        """Holds the queue. Many tries meet the same fault at once: one of them writes it."""
        if self.is_held(queue) or started < self._ended_at.get(queue, 0.0):
            return  # a try from before the last hold's end says nothing about now
        task = self._beginning.get(queue)
        if task is None:
            task = asyncio.create_task(self._write(queue, fault), name=f"hold {queue}")
            self._beginning[queue] = task
            task.add_done_callback(lambda _: self._beginning.pop(queue, None))
        await asyncio.shield(task)

    async def _write(self, queue: str, fault: SessionFault) -> None:
        try:
            held = await store_holds.begin(
                self._store, queue, fault.result, worker_id=self._worker_id()
            )
            if held is None:  # another worker was first
                await self._holds.read()
                return
        except EtcdError as error:  # the tries wait for etcd too, and the next fault comes here
            log.warning("queue not held", queue=queue, error=str(error))
            return
        self._holds.learn(held)
        metrics.QUEUE_HOLDS[queue, "begun"].inc()
        hold, destination = held.hold, self._destinations.get(queue)
        log.error(
            "queue held",
            queue=queue,
            relay=destination.endpoint if destination else "",
            user=destination.username if destination else "",
            reply_class=hold.reason,
            code=hold.status_code,
            enhanced_code=hold.enhanced_code,
            text=hold.status_reason,
        )

    async def _quote(self, queue: str, fault: SessionFault) -> None:
        metrics.QUEUE_HOLDS[queue, "probed"].inc()
        log.info(
            "queue probed",
            queue=queue,
            reply_class=fault.result.reply_class,
            code=fault.result.status_code,
            text=fault.result.reason,
        )
        if held := self.by_name.get(queue):
            try:
                if quoted := await store_holds.quote(self._store, held, fault.result):
                    self._holds.learn(quoted)
            except EtcdError as error:
                log.warning("queue not held", queue=queue, error=str(error))

    async def _end(self, queue: str) -> None:
        """Ends the hold after a probe that got through. This worker learns it by its watch."""
        held = self.by_name.get(queue)
        if held is None:
            return
        try:
            ended = await store_holds.end(self._store, held)
        except EtcdError as error:  # the next probe does it
            log.warning("hold not ended", queue=queue, error=str(error))
            return
        if ended:
            metrics.QUEUE_HOLDS[queue, "ended"].inc()
            seconds = (utc_now() - held.hold.since).total_seconds()
            log.info("hold ended", queue=queue, probes=held.hold.probes, seconds=round(seconds))

    # --- following ---

    def _changed(self, queue: str) -> None:
        """A hold has begun, changed or ended."""
        self._unused.discard(queue)
        self._probe_at.pop(queue, None)
        if timer := self._timers.pop(queue, None):
            timer.cancel()
        held = self.by_name.get(queue)
        if held is None:
            self._ended_at[queue] = time.monotonic()
            self._remember(queue, self._at_mail.pop(queue, ()))
            self._ended(queue)
        elif not held.hold.by_operator:
            wait = (held.hold.probe_at - utc_now()).total_seconds() if self.known else 0.0
            self._set_timer(queue, max(0.0, wait))

    def _set_timer(self, queue: str, wait: float) -> None:
        if timer := self._timers.pop(queue, None):
            timer.cancel()
        self._probe_at[queue] = time.monotonic() + wait
        self._timers[queue] = asyncio.get_running_loop().call_later(wait + 0.001, self._wake)


def _with_action(
    results: Mapping[str, RecipientResult], old: str, new: str
) -> dict[str, RecipientResult]:
    return {
        address: replace(result, action=new) if result.action == old else result
        for address, result in results.items()
    }
