"""Sends the notices of one webhook: in order, over a few connections.

feed ─▶ backlog ─▶ connection: request, answer ─▶ tries: what follows ─▶ results: one write

Only the owner of the webhook has a lane for it. A worker that dies anywhere loses no notice: its
lease runs out, and the next owner sends again what is not written. So a notice may come twice,
under the same ``webhook-id``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any

from msgspec import Struct

from babygun.consumer.side_tasks import SideTasks
from babygun.runtime import metrics
from babygun.runtime.logs import get_logger
from babygun.store.webhooks.notices import MOST_RESULTS, Outcome, StoredNotice, Taken
from babygun.store.webhooks.records import SWITCHED_OFF, Notice, Webhook, WebhookSecret
from babygun.webhooks.answers import Answer
from babygun.webhooks.backlog import Backlog
from babygun.webhooks.connection import Connection
from babygun.webhooks.connections import Connections
from babygun.webhooks.disabling import disable
from babygun.webhooks.endpoint import Unreachable
from babygun.webhooks.feed import Feed, decoded
from babygun.webhooks.health import Health
from babygun.webhooks.requests import Requests
from babygun.webhooks.results import Results
from babygun.webhooks.shared import Shared
from babygun.webhooks.tries import judge

log = get_logger("webhooks")

_MOST_UNWRITTEN = 2 * MOST_RESULTS  # results; then nothing is sent until etcd takes them
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 10.0  # s, between two tries while none is a success
_READ, _GIVE_UP, _DISABLE = "read", "give up", "disable"


class _Sending(Struct):
    """A notice on its way. ``webhook``: as it was then. ``began``: by time.perf_counter()."""

    stored: StoredNotice
    notice: Notice
    webhook: Webhook
    began: float
    requests: Requests | None


class Lane:
    """Call :meth:`look` some times a second.

    ``lost``: this worker is no longer the owner. ``stopping``: it starts no more tries; ``quiet``
    is set when the results of the others are written.
    """

    def __init__(
        self,
        shared: Shared,
        client_id: str,
        webhook: Webhook,
        taken: Taken,
    ) -> None:
        self._shared, self._settings = shared, shared.store.settings
        self._client_id, self.webhook, self.token = client_id, webhook, taken.token
        self._secret = taken.secret
        self._loop = asyncio.get_running_loop()
        self.backlog = Backlog(shared.room)
        self._feed = Feed(shared, webhook.id, self.backlog)
        self.health = Health(taken.health, self._settings.webhook_connections)
        self._results = Results(
            shared.store,
            webhook.id,
            taken.token,
            self.health,
            written=self._written,
            lost=self._lose,
            rests=self._pump,
        )
        self._side = SideTasks(self._pump)
        self._connections = Connections(shared, webhook.id, self._answered)
        self._in_flight: dict[Connection, _Sending] = {}
        self._opening = 0
        self._not_before = 0.0  # the loop's time
        self.stopping = self.lost = False
        self.quiet = asyncio.Event()
        self._requests: Requests | None = None
        self._refused = ""  # why there are none
        self.change(webhook)

    @property
    def failure(self) -> BaseException | None:
        """The error of a part that crashed."""
        return self._side.failure

    @property
    def ready_since(self) -> datetime | None:
        """When what the first notice says has happened; None: nothing is ready here."""
        first = self.backlog.first
        notice = decoded(first) if first is not None else None
        return notice.since if notice is not None else None

    # --- what it is to do ---

    def change(self, webhook: Webhook, secret: WebhookSecret | None = None) -> None:
        """The webhook is now this one, and its secret, if one is given."""
        if webhook.enabled != self.webhook.enabled:
            self.backlog.look_again()
        if (webhook.enabled, webhook.url) != (self.webhook.enabled, self.webhook.url):
            self._not_before = 0.0
        self.webhook, self._secret = webhook, secret or self._secret
        self._connections.close_idle()
        allow_http = self._settings.webhook_allow_http
        try:
            self._requests = Requests(webhook.url, self._secret, allow_http=allow_http)
        except Unreachable as error:
            self._requests, self._refused = None, str(error)
        self._pump()

    def change_secret(self, secret: WebhookSecret) -> None:
        self.change(self.webhook, secret)

    def arrived(self, stored: StoredNotice) -> None:
        """A notice of the webhook has become ready."""
        if self.webhook.enabled:
            self.backlog.arrived(stored)
        else:
            self.backlog.more = True
        self._pump()

    def read_again(self) -> None:
        """Some notices may have become ready unseen."""
        self.backlog.look_again()
        self._pump()

    def look(self) -> None:
        """Does what is due by now."""
        self._connections.close_unused()
        self._results.flush()
        self._pump()

    # --- the end ---

    def stop(self) -> None:
        """Starts no more tries."""
        self.stopping = True
        self._side.cancel(_READ)
        self._side.cancel(_GIVE_UP)
        self._results.flush(at_last=True)
        self._pump()

    async def close(self) -> None:
        """Ends what still runs. What was not written is sent again by the next owner."""
        self.stopping = True
        await asyncio.gather(self._side.close(), self._results.close())
        self._connections.close_idle()
        for connection in self._in_flight:
            connection.close()
        self._in_flight.clear()
        self.backlog.clear()

    def _lose(self) -> None:
        self.lost = self.stopping = True
        self.quiet.set()

    # --- tries ---

    def _pump(self) -> None:
        """Starts what may start."""
        if self.stopping:
            if not (self._in_flight or self._opening or self._results.writing):
                self.quiet.set()
            return
        if not self.webhook.enabled:
            if self.backlog.more:
                client_id, token = self._client_id, self.token
                self._begin(_GIVE_UP, lambda: self._feed.give_up(client_id, token, SWITCHED_OFF))
            return
        while self._may_start() and (stored := self.backlog.take()) is not None:
            if (notice := decoded(stored)) is None:
                self.backlog.ended(stored)
                continue
            began = time.perf_counter()
            sending = _Sending(stored, notice, self.webhook, began, self._requests)
            if sending.requests is None:
                self._judge(sending, None, self._refused)
            elif connection := self._connections.take_idle():
                self._send(connection, sending, self._settings.webhook_timeout)
            else:
                self._opening += 1
                self._side.start(stored.event_id, self._open(sending, sending.requests))
        if self._feed.wanted:
            self._begin(_READ, self._feed.read)

    def _may_start(self) -> bool:
        most = 1 if self.health.only_fails else self._settings.webhook_connections
        now = self._loop.time()
        return (
            len(self.backlog) > 0
            and len(self._in_flight) + self._opening < most
            and now >= self._not_before
            and len(self._results) < _MOST_UNWRITTEN
            and self._shared.may_send()
            and self._shared.share.is_free(now)
        )

    async def _open(self, sending: _Sending, requests: Requests) -> None:
        """Makes a connection, and sends a notice over it."""
        seconds, began = self._settings.webhook_timeout, self._loop.time()
        connection, reason = None, ""
        try:
            connection = await self._connections.open(requests.endpoint, seconds)
        except Unreachable as error:
            reason = str(error)
        finally:
            self._opening -= 1
        if connection is None:
            self._judge(sending, None, reason)
        elif self.stopping or requests is not self._requests:
            connection.close()
            self.backlog.put_back(sending.stored)
        else:
            self._send(connection, sending, began + seconds - self._loop.time())

    def _send(self, connection: Connection, sending: _Sending, seconds: float) -> None:
        assert self._requests is not None
        event_id, body = sending.stored.event_id, bytes(sending.notice.event)
        try:
            request = self._requests.make(event_id, body, self._shared.now())
        except ValueError as error:  # somebody wrote the secret by hand
            connection.close()
            self._judge(sending, None, f"the secret can't sign: {error}")
            return
        self._in_flight[connection] = sending
        connection.send(request, seconds)
        self._shared.share.use(time.perf_counter() - sending.began)

    def _answered(self, connection: Connection, answer: Answer | None, error: str) -> None:
        now = time.perf_counter()
        sending = self._in_flight.pop(connection)
        if connection.stale:
            self.backlog.put_back(sending.stored)
        else:
            metrics.NOTICE_SECONDS.observe(now - sending.began)
            if answer is not None and answer.again:
                self._keep(connection, sending)
            self._judge(sending, answer, error)
        self._shared.share.use(time.perf_counter() - now)
        self._pump()

    def _keep(self, connection: Connection, sending: _Sending) -> None:
        """The connection can be used again, unless the webhook has changed meanwhile."""
        if self.stopping or sending.requests is not self._requests:
            connection.close()
        else:
            self._connections.keep(connection)

    def _judge(self, sending: _Sending, answer: Answer | None, error: str) -> None:
        now = self._shared.now()
        judged = judge(
            sending.stored,
            sending.notice,
            answer,
            error,
            now=now,
            intervals=self._settings.webhook_retry_intervals,
        )
        outcome = judged.outcome
        metrics.NOTICES["deferred" if outcome.due else outcome.notice.state].inc()
        if judged.success:
            self._succeeded(now)
        else:
            self._failed(now, error or f"the endpoint answered {answer.status if answer else ''}")
        if sending.webhook.url == self.webhook.url:  # an old endpoint has no say about the new one
            self._not_before = max(self._not_before, self._loop.time() + judged.pause)
            if judged.gone:
                self._disable(sending.webhook, "gone", "the endpoint answered 410 Gone")
        self.backlog.ended(sending.stored)
        self._results.add(outcome)

    def _succeeded(self, now: datetime) -> None:
        failed_before = self.health.only_fails
        self.health.success(now)
        if failed_before:
            log.info("webhook answers again", webhook_id=self.webhook.id)
            self.backlog.limit(few=False)
            self._not_before = 0.0

    def _failed(self, now: datetime, error: str) -> None:
        failed_before = self.health.only_fails
        self.health.failure(now, error)
        since = max(self.health.failing_since or now, self.webhook.updated_at)
        if (now - since).total_seconds() >= self._settings.webhook_disable_after:
            reason = f"no request was answered with success since {since:%c} UTC"
            self._disable(self.webhook, "failing", reason)
        if self.health.only_fails:
            if not failed_before:
                log.warning("webhook only fails", webhook_id=self.webhook.id, error=error)
                self.backlog.limit(few=True)
            pause = _FIRST_PAUSE * 2.0 ** min(self.health.failures, 20)
            until = self._loop.time() + min(_LONGEST_PAUSE, pause)
            self._not_before = max(self._not_before, until)

    # --- etcd ---

    def _begin(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Starts a side task, if none of this name runs."""
        if name not in self._side:
            self._side.start(name, work())

    def _written(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            self.backlog.written(outcome.stored)
            if outcome.due is not None:
                self._feed.note_due(outcome.due)
                self.backlog.more |= not self.webhook.enabled  # to be ended like the others
        self._pump()

    def _disable(self, seen: Webhook, why: str, reason: str) -> None:
        """``seen``: the webhook that this was decided by. ``why``: as metrics name it."""
        store, client_id, token = self._shared.store, self._client_id, self.token
        self._begin(_DISABLE, lambda: disable(store, client_id, seen, token, why, reason))
