"""A store, e-mails accepted into it, and workers in this process or in processes of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from babygun.email.compose import new_email
from babygun.email.model import Content, Email, LogEntry, Recipient
from babygun.email.suppression import ALL_MAIL, Suppression
from babygun.etcd import Watch
from babygun.intake.ids import new_email_id
from babygun.routing.routes import load_routes
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings, table
from babygun.store import Store, codec
from babygun.store.emails.acceptance import accept
from babygun.store.emails.new_email import prepare
from babygun.store.emails.reading import get_email, get_log
from babygun.store.keys import range_end
from babygun.store.records import Worker as WorkerRecord
from babygun.store.suppressions.suppressions import add
from babygun.worker import Worker
from tests.support.processes import PATIENCE, Process, start_babygun

# s: the lease of a worker that a test pauses or cuts off from etcd. So the end of the lease
# comes soon, and a machine that stands still for 2 s does not bring it too early.
SHORT_LEASE = 4.0
LONG_LEASE = 60.0  # s: of a worker that a test kills and buries


class Rig:
    """One prefix of one etcd."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store, self.settings = store, settings
        self._routes = load_routes(settings)

    async def send(
        self,
        *to: str,
        sender: str = "me@example.com",
        subject: str = "hello",
        send_at: Any = None,
        **content: Any,
    ) -> str:
        """Accepts an e-mail as the API does; returns its id."""
        email, body = self.email(*to, sender=sender, subject=subject, send_at=send_at, **content)
        return (await accept(self.store, "client", prepare(self.store, email, body))).email_id

    async def send_wide(self, queues: int, **fields: Any) -> str:
        """Accepts an e-mail with one recipient in each of so many made-up queues."""
        email, content = self.wide_email(queues, **fields)
        return (await accept(self.store, "client", prepare(self.store, email, content))).email_id

    @staticmethod
    def wide_email(
        queues: int, *, domain: str = "d{:04}.example", body: str = "Hello\n", send_at: Any = None
    ) -> tuple[Email, Content]:
        """The e-mail to ``ann@d0000.example`` and so on. Queues: ``mx:d0000.example`` and so on."""
        names = [domain.format(number) for number in range(queues)]
        email = new_email(
            new_email_id(),
            client_id="client",
            sender="me@example.com",
            subject="hello",
            recipients=tuple(Recipient(f"ann@{name}", "to", f"mx:{name}") for name in names),
            now=utc_now(),
            send_at=send_at,
        )
        return email, Content("me@example.com", "hello", body=body)

    def email(
        self,
        *to: str,
        sender: str = "me@example.com",
        subject: str = "hello",
        send_at: Any = None,
        ignore_suppressions: bool = False,
        **content: Any,
    ) -> tuple[Email, Content]:
        email = new_email(
            new_email_id(),
            client_id="client",
            sender=sender,
            subject=subject,
            recipients=tuple(
                Recipient(address, "to", self._routes.queue_for(address)) for address in to
            ),
            now=utc_now(),
            send_at=send_at,
            ignore_suppressions=ignore_suppressions,
        )
        return email, Content(sender, subject, to, **({"body": "Hello\n"} | content))

    async def suppress(self, address: str, **fields: Any) -> Suppression:
        """Puts an address on a list of the client whose e-mails :meth:`send` accepts."""
        list_name = fields.pop("list_name", ALL_MAIL)
        given: dict[str, Any] = {"reason": "manual", "since": utc_now()} | fields
        suppression = Suppression(**given)
        await add(self.store, "client", address, suppression, list_name=list_name)
        return suppression

    async def get(self, email_id: str) -> Email:
        view = await get_email(self.store, email_id)
        assert view is not None, f"{email_id} is gone"
        return view.email

    async def log(self, email_id: str) -> list[LogEntry]:
        found = await get_log(self.store, email_id)
        assert found is not None
        return found[1]

    async def events(self, email_id: str) -> list[str]:
        return [entry.event for entry in await self.log(email_id)]

    async def ended(self, *email_ids: str, within: float = PATIENCE) -> list[Email]:
        """The records, once the statuses of all are final."""
        final: dict[str, Email] = {}
        async with asyncio.timeout(within), aclosing(self._values(self.store.keys.emails)) as news:
            async for values in news:
                for email in map(codec.decode_email, values):
                    if email.status != "incomplete":
                        final.setdefault(email.id, email)
                if final.keys() >= set(email_ids):
                    break
        return [final[email_id] for email_id in email_ids]

    async def logged(self, email_id: str, event: str, within: float = PATIENCE) -> LogEntry:
        """The first log entry of this event, once there is one."""
        record = self.store.keys.email(email_id)  # changes with every entry
        async with asyncio.timeout(within), aclosing(self._values(record)) as news:
            async for _ in news:
                for entry in await self.log(email_id):
                    if entry.event == event:
                        return entry
        raise AssertionError("the watch has ended")

    async def owned(self, email_id: str, within: float = PATIENCE) -> str:
        """The id of the worker that owns a job of the e-mail, once one does."""
        prefix = self.store.keys.email_owners(email_id)
        return str(await self.seen(prefix, lambda v: codec.decode_owner(v).worker_id, within))

    async def seen(self, prefix: bytes, pick: Any, within: float = PATIENCE) -> Any:
        """The first result of ``pick`` that is not None, for the values under the prefix."""
        async with asyncio.timeout(within), aclosing(self._values(prefix)) as news:
            async for values in news:
                for value in values:
                    if (picked := pick(value)) is not None:
                        return picked
        raise AssertionError("the watch has ended")

    async def written(self, prefix: bytes, words: bytes = b"") -> None:
        """Waits until a value under the prefix contains these words."""
        await self.seen(prefix, lambda value: True if words in value else None)

    async def _values(self, prefix: bytes) -> AsyncGenerator[list[bytes], None]:
        """The values under a prefix, and then those of each change."""
        client, end = self.store.client, range_end(prefix)
        found = await client.range(prefix, end)
        async with Watch(
            client, prefix, end, revision=found.revision + 1, deletes=False
        ) as batches:
            yield [kv.value for kv in found.kvs]
            async for batch in batches:
                yield [event.kv.value for event in batch.events]

    async def counted(self, prefix: bytes, count: int, within: float = PATIENCE) -> None:
        """Waits until there are ``count`` keys under the prefix."""
        client = self.store.client
        async with asyncio.timeout(within):
            found = await client.range(prefix, range_end(prefix), keys_only=True)
            keys = {kv.key for kv in found.kvs}
            async with Watch(
                client, prefix, range_end(prefix), revision=found.revision + 1
            ) as batches:
                while len(keys) != count:
                    for event in (await anext(batches)).events:
                        (keys.add if event.type == "put" else keys.discard)(event.kv.key)

    async def shares(self, worker_id: str, recipient: str = "works@example.org") -> None:
        """Waits until a worker knows of another one, and sends mail of its half.

        It has read its half by then. If the other one ends, it reads the rest as that one's jobs.
        """
        record = self.store.keys.worker(worker_id)
        await self.seen(record, lambda value: True if _has_half(value) else None)
        while (await self.ended(await self.send(recipient)))[0].worker_id != worker_id:
            pass

    async def bury(self, worker: WorkerProcess) -> None:
        """Ends the lease of a worker that the test has killed, as time would.

        Its lease can be long then: it does not end too early on a machine that stands still.
        """
        await worker.process.wait()
        record = await self.store.client.get(self.store.keys.worker(worker.id))
        assert record is not None, "its lease has ended by itself"
        await self.store.client.revoke(record.lease)

    async def emptied(self, prefix: bytes, within: float = PATIENCE) -> None:
        """Waits until there is no key under the prefix."""
        await self.counted(prefix, 0, within)

    @asynccontextmanager
    async def worker(self, **changes: Any) -> AsyncIterator[Worker]:
        """A worker in this process, once it has checked in."""
        worker = Worker(changed(self.settings, **changes))
        task = asyncio.create_task(worker.run(), name="worker")
        try:
            registered = asyncio.create_task(worker.membership.checked_in.wait())
            await asyncio.wait(
                [task, registered], return_when=asyncio.FIRST_COMPLETED, timeout=PATIENCE
            )
            assert registered.done() and not task.done(), "the worker did not start"
            yield worker
        finally:
            worker.stop()
            await asyncio.wait_for(task, PATIENCE)

    @asynccontextmanager
    async def worker_process(self, **changes: Any) -> AsyncIterator[WorkerProcess]:
        """A worker in a process of its own, once it has checked in.

        One that the test kills gets ``lease_ttl=LONG_LEASE``, and :meth:`bury` ends it. One that
        stands still or is cut off gets ``lease_ttl=SHORT_LEASE``.
        """
        worker = WorkerProcess(await start_babygun(changed(self.settings, **changes), "worker"))
        try:
            worker.id = await self.seen(
                self.store.keys.workers, lambda value: worker_of(value, worker.pid)
            )
            yield worker
        finally:
            await worker.end()


def _has_half(value: bytes) -> bool:
    return codec.decode_state(value, WorkerRecord).slice in ((0, 128), (128, 256))


def worker_of(value: bytes, pid: int) -> str | None:
    """The id in a worker's record, if it is of this process."""
    record = codec.decode_state(value, WorkerRecord)
    return record.id if record.pid == pid else None


class WorkerProcess(Process):
    """``id``: the worker's id at its first check-in."""

    id = ""
    _detached = False

    def detach(self) -> None:
        """The test ends it itself, after the block that started it."""
        self._detached = True

    async def end(self) -> None:
        if self._detached:
            self._detached = False
            return
        await super().end()


def wide_relays(queues: int, url: str = "smtp://127.0.0.1:1") -> dict[str, Any]:
    """Relays ``q0`` and so on, each for one domain, ``d0.example`` and so on."""
    return {f"q{n}": {"url": url, "domains": [f"d{n}.example"]} for n in range(queues)}


def changed(settings: Settings, **changes: Any) -> Settings:
    return Settings(**{row.name: getattr(settings, row.name) for row in table()} | changes)


def quick(settings: Settings, relays: dict[str, Any], **changes: Any) -> Settings:
    """Settings with these relays, and with short times."""
    short: dict[str, Any] = {
        "relays": relays,
        "lease_ttl": 10.0,
        "retry_intervals": (0.2, 0.2),
        "smtp_hostname": "babygun.test",
    }
    return changed(settings, **short | changes)


@asynccontextmanager
async def rig_for(settings: Settings) -> AsyncIterator[Rig]:
    async with Store(settings) as store:
        yield Rig(store, settings)
