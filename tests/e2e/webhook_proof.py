"""E-mails of a client with a webhook, while API processes and workers are killed at random.

The receiver of the events sees the product from outside: it verifies each request by the official
library, remembers what it took, and answers 500 or stalls at times.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import aiohttp
from aiohttp import web
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from babygun.runtime.settings import Settings
from babygun.store.access.clients import create_client
from babygun.store.keys import range_end
from tests.support.etcd_server import free_ports
from tests.support.killed import Killed
from tests.support.processes import PATIENCE, Process
from tests.support.rig import Rig, changed, rig_for, worker_of
from tests.support.smtp_server import MisbehavingServer

SCOPES = ("emails:send", "emails:read", "webhooks", "suppressions")
TIMEOUT = 2.0  # s, that a request to the webhook may take
DEAD = 5  # addresses that bounce; each is written to again and again
BLOCKED = "blocked@example.org"  # suppressed by hand, before the first e-mail
OUTAGE = (0.5, 1.5)  # s, that the receiver refuses all requests
BETWEEN_OUTAGES = (3.0, 8.0)  # s
RESULTS = ("delivered", "deferred", "bounced", "expired")
# Most are delivered. Some are deferred, some bounce, some are suppressed.
RECIPIENTS = {
    ("fine-{number}",): 60,
    ("flaky-1-{number}",): 12,
    ("soft-{number}",): 3,
    ("softdata-{number}",): 2,
    ("harddata-{number}",): 3,
    ("hard-{dead}",): 5,
    ("fine-{number}", "hard-{dead}"): 6,
    ("fine-{number}", "flaky-2-{number}", "hard-of-{number}"): 6,
    ("blocked", "fine-{number}"): 2,
    ("blocked",): 1,
}


def drawn(random: Random, times: Mapping[Any, int]) -> Iterator[Any]:
    """Each so many times, in an order by chance, and then again: none is left out."""
    while True:
        all_of_them = [each for each, count in times.items() for _ in range(count)]
        random.shuffle(all_of_them)
        yield from all_of_them


class Receiver:
    """``taken``: the event of each id that was answered 204, with how often it came.

    ``bounced_at``: when it first heard that an address bounced. ``problems``: what must not be.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self.secret = ""
        self.taken: dict[str, dict[str, Any]] = {}
        self.times: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.bounced_at: dict[str, float] = {}
        self.problems: list[str] = []
        self._answers = drawn(random, {"takes": 96, "fails": 3, "stalls": 1})
        self._digests: dict[str, bytes] = {}
        self._out_until = 0.0

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        event_id = request.headers.get("webhook-id", "")
        try:
            Webhook(self.secret).verify(body, {k.lower(): v for k, v in request.headers.items()})
        except WebhookVerificationError as error:
            self.problems.append(f"{event_id}: {error}")
            return web.Response(status=400)
        digest = hashlib.sha256(body).digest()
        if self._digests.setdefault(event_id, digest) != digest:
            self.problems.append(f"{event_id} came with another body")
        how = self._how()
        self.answers[how] += 1
        if how == "stalls":
            await asyncio.sleep(TIMEOUT + 0.5)
        elif how == "takes":
            self._take(event_id, json.loads(body))
            return web.Response(status=204)
        return web.Response(status=500, text="not now")

    def _how(self) -> str:
        if time.monotonic() < self._out_until:
            return "is out"
        return next(self._answers)

    def _take(self, event_id: str, event: dict[str, Any]) -> None:
        if event["data"]["event_id"] != event_id:
            self.problems.append(f"{event_id} calls itself {event['data']['event_id']}")
        self.taken[event_id] = event
        self.times[event_id] += 1
        if event["type"] == "bounced":
            for recipient in event["data"]["recipients"]:
                self.bounced_at.setdefault(recipient["email"], time.monotonic())

    async def break_down(self) -> None:
        """Refuses everything for a while, now and then."""
        while True:
            await asyncio.sleep(self._random.uniform(*BETWEEN_OUTAGES))
            self._out_until = time.monotonic() + self._random.uniform(*OUTAGE)


@asynccontextmanager
async def listening(receiver: Receiver) -> AsyncIterator[str]:
    """The receiver's URL, while it listens."""
    app = web.Application()
    app.router.add_post("/hook", receiver.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    breaking_down = asyncio.create_task(receiver.break_down())
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    finally:
        breaking_down.cancel()
        await runner.cleanup()


class Apis:
    """The API processes behind one client, which asks the other where one does not answer."""

    def __init__(self, ports: list[int], session: aiohttp.ClientSession) -> None:
        self._urls = [f"http://127.0.0.1:{port}" for port in ports]
        self._session = session
        self.asked_again = 0

    async def call(self, method: str, path: str, **sent: Any) -> Any:
        """The answer's document. It must be one of success; a call that broke off is repeated."""
        headers = sent.pop("headers", {})
        data = json.dumps(sent).encode() if sent else None
        kind = {"Content-Type": "application/json"} if sent else {}
        async with asyncio.timeout(60):
            while True:
                self._urls.append(self._urls.pop(0))
                try:
                    async with self._session.request(
                        method, self._urls[0] + path, data=data, headers=headers | kind
                    ) as answer:
                        if answer.status < 300:
                            return await answer.json()
                        assert answer.status == 503, (path, await answer.text())
                except (aiohttp.ClientError, ConnectionError):
                    pass
                self.asked_again += 1
                await asyncio.sleep(0.05)

    async def ready(self, port: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    async with self._session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.05)

    async def authorize(self, client_id: str, secret: str) -> None:
        answer = await self.call("POST", "/tokens", client_id=client_id, client_secret=secret)
        self._session.headers["Authorization"] = f"Bearer {answer['token']}"


class Proof:
    """``accepted``: when the call for each e-mail began, and to whom it goes, by id."""

    def __init__(
        self, rig: Rig, apis: Apis, receiver: Receiver, smtp: MisbehavingServer, random: Random
    ) -> None:
        self.rig, self.apis, self.receiver, self.smtp = rig, apis, receiver, smtp
        self._random = random
        self._kinds = drawn(random, RECIPIENTS)
        self.places: list[Killed] = []
        self.accepted: dict[str, tuple[float, tuple[str, ...]]] = {}

    # --- mail ---

    def _recipients(self, number: int) -> tuple[str, ...]:
        dead = self._random.randrange(DEAD)
        return tuple(
            f"{name.format(number=number, dead=dead)}@example.org" for name in next(self._kinds)
        )

    async def post(self, number: int, *to: str) -> None:
        """Sends an e-mail to these, or to whom chance says."""
        to = to or self._recipients(number)
        began = time.monotonic()
        answer = await self.apis.call(
            "POST",
            "/emails",
            headers={"Idempotency-Key": f"number-{number}"},
            sender="me@example.com",
            to=list(to),
            subject=f"number {number}",
            body="Hello\n",
            tags=["proof"],
        )
        self.accepted[answer["id"]] = began, to

    async def send(self, count: int, seconds: float, say: Callable[[str], None]) -> None:
        """Sends e-mails evenly in so many seconds, or slower where the machine is."""
        began, every = time.monotonic(), seconds / count
        numbers = iter(range(count))

        async def client() -> None:
            for number in numbers:
                await asyncio.sleep(began + number * every - time.monotonic())
                await self.post(number)

        async def report() -> None:
            while True:
                await asyncio.sleep(5)
                say(self.figures())

        reporting = asyncio.create_task(report())
        try:
            async with asyncio.TaskGroup() as clients:
                for _ in range(20):
                    clients.create_task(client())
        finally:
            reporting.cancel()

    def figures(self) -> str:
        kills = sum(place.kills for place in self.places)
        again = sum(self.receiver.times.values()) - len(self.receiver.taken)
        return (
            f"{len(self.accepted)} e-mails accepted, {len(self.smtp.messages)} messages,"
            f" {len(self.receiver.taken)} events taken and {again} once more, {kills} kills,"
            f" {self.apis.asked_again} calls of the API repeated, {dict(self.receiver.answers)}"
        )

    async def killing(self, work: Callable[[], Any]) -> None:
        """Works while processes are killed; then all are killed at once, and started to stay."""
        keeping = [asyncio.create_task(place.keep()) for place in self.places]
        try:
            await work()
        finally:
            for place in self.places:
                place.calm()
            await asyncio.gather(*keeping)
        for place in self.places:
            await place.start()

    async def stop(self) -> None:
        """SIGTERM for all."""
        ended = await asyncio.gather(
            *(place.end() for place in self.places), return_exceptions=True
        )
        assert not any(ended), ended

    async def quiet(self, within: float) -> None:
        """Waits until every e-mail is final, and no notice is ready or waits."""
        await self.rig.ended(*self.accepted, within=within)
        keys = self.rig.store.keys
        async with asyncio.timeout(within):
            while True:
                for prefix in (keys.notices, keys.due_notices):
                    await self.rig.emptied(prefix, within)
                if not await self._held(keys.notices) | await self._held(keys.due_notices):
                    return

    async def _held(self, prefix: bytes) -> set[bytes]:
        found = await self.rig.store.client.range(prefix, range_end(prefix), keys_only=True)
        return {kv.key for kv in found.kvs}

    async def orphans(self) -> list[bytes]:
        """Keys of owners that are not on the lease of a worker that lives."""
        client, keys = self.rig.store.client, self.rig.store.keys
        workers = (await client.range(keys.workers, range_end(keys.workers))).kvs
        pids = {place.process.pid for place in self.places if place.process is not None}
        leases = {kv.lease for kv in workers if any(worker_of(kv.value, pid) for pid in pids)}
        owned = [
            kv
            for prefix in (keys.owners, keys.notice_owners)
            for kv in (await client.range(prefix, range_end(prefix))).kvs
        ]
        return [kv.key for kv in owned if kv.lease not in leases]

    # --- what came ---

    async def check_logs(self) -> None:
        """The log that GET /emails/{id}/log shows says what the events say, e-mail by e-mail."""
        told: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
        for event in self.receiver.taken.values():
            data = event["data"]
            told[data["email_id"]].update((event["type"], r["email"]) for r in data["recipients"])
        assert told.keys() == self.accepted.keys(), "an event is of an e-mail that nobody sent"
        ids = iter(self.accepted)

        async def reader() -> None:
            for email_id in ids:
                entries = (await self.apis.call("GET", f"/emails/{email_id}/log"))["entries"]
                logged = Counter(
                    (reply["status"], reply["email"])
                    for entry in entries
                    for reply in entry["replies"]
                )
                said = Counter({k: n for k, n in told[email_id].items() if k[0] in RESULTS})
                tried = Counter({k: n for k, n in logged.items() if k[0] in RESULTS})
                assert said == tried, (email_id, entries, told[email_id])

        async with asyncio.TaskGroup() as readers:
            for _ in range(10):
                readers.create_task(reader())

    def check_suppressed(self, emails: dict[str, Any]) -> int:
        """An e-mail to an address of whose bounce we had heard before was not tried there.

        Returns how many recipients that concerns.
        """
        known = 0
        for email_id, (began, _) in self.accepted.items():
            for recipient in emails[email_id].recipients:
                bounced_at = self.receiver.bounced_at.get(recipient.email)
                if recipient.email == BLOCKED or (bounced_at is not None and bounced_at < began):
                    known += 1
                    assert recipient.status == "suppressed" and not recipient.tries, recipient
        assert not self.smtp.attempts[BLOCKED], "mail went to an address suppressed by hand"
        return known


@asynccontextmanager
async def proof(
    settings: Settings, smtp: MisbehavingServer, random: Random, lives: tuple[float, float]
) -> AsyncIterator[Proof]:
    """Two API processes and two workers, ready to be killed, and a client with a webhook."""
    own = changed(
        settings,
        webhook_retry_intervals=(0.1, 0.3, *(1.0 for _ in range(60))),
        webhook_timeout=TIMEOUT,
        log_level="warning",
    )
    receiver, ports = Receiver(random), free_ports(2)
    async with (
        rig_for(own) as rig,
        listening(receiver) as url,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session,
    ):
        apis = Apis(ports, session)
        made = Proof(rig, apis, receiver, smtp, random)

        async def works(process: Process) -> None:
            workers = rig.store.keys.workers
            await rig.seen(workers, lambda value: worker_of(value, process.pid))

        for port in ports:
            made.places.append(
                Killed(
                    own,
                    *("api", "--port", str(port)),
                    up=lambda _, port=port: apis.ready(port),  # type: ignore[misc]
                    random=random,
                    lives=lives,
                )
            )
        for _ in range(2):
            made.places.append(Killed(own, "worker", up=works, random=random, lives=lives))
        client, secret = await create_client(rig.store, name="proof", scopes=SCOPES)
        try:
            await made.places[0].start()
            await apis.authorize(client.id, secret)
            await apis.call("POST", "/suppressions", email=BLOCKED)
            # One call: if it was cut off and repeated, there would be two webhooks.
            receiver.secret = (await apis.call("POST", "/webhooks", url=url))["secret"]
            await made.places[0].end()
            yield made
        finally:
            await made.stop()
