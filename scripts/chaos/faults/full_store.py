"""etcd is full: filled by somebody else up to its NOSPACE alarm, or by mail that can't be sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from random import Random
from typing import TypeVar

from babygun.errors import EtcdError, OutOfSpace
from babygun.runtime.processes.interpreter import python_command
from babygun.store.keys import range_end
from scripts.bench.processes import BenchError, run
from scripts.chaos.faults import Broken, Fault
from scripts.chaos.faults.meanwhile import Ending, ending
from scripts.chaos.stage import Stage

QUOTA = 96 << 20  # bytes
_FOREIGN = b"/somebody-else/"
_VALUE = 1 << 20  # bytes of one foreign key
_LARGE = 200_000  # bytes of an attachment of the flood
_SENDERS = 4
_OPEN = 24  # calls that may be open; each is repeated until it is accepted

T = TypeVar("T")


class FilledByOthers(Fault):
    """Foreign keys fill etcd. At the healing they go, and an operator makes room as documented."""

    name = "store-filled-by-others"
    sentence = (
        "Foreign keys fill etcd until it raises its NOSPACE alarm. At the healing they are deleted,"
        " and `babygun doctor --make-room` is run, as docs/operations.md says."
    )
    seconds = (3.0, 6.0)
    touches = frozenset({"etcd"})
    alone = True

    def possible(self, stage: Stage) -> str:
        return possible(stage)

    def prepare(self, stage: Stage) -> None:
        limit(stage)

    async def inject(self, stage: Stage, random: Random) -> Broken:
        try:
            await fill(stage, random)
        except BaseException:  # it took too long
            await empty(stage)
            raise

        async def heal() -> None:
            await empty(stage)
            said = await asyncio.to_thread(
                run,
                python_command("babygun", "doctor", "--make-room"),
                environment=stage.environment(),
            )
            if await stage.etcd.alarms():
                raise BenchError(f"the alarm is still on after --make-room:\n{said}")

        return Broken("the alarm is on", heal)


class FilledByMail(Fault):
    """Large e-mails at full speed, while every site is held. The alarm must not come."""

    name = "store-filled-by-mail"
    sentence = (
        "Large e-mails come at full speed while every relay refuses the session, so nothing ends."
        " etcd must not raise its alarm. All is sent after the healing."
    )
    seconds = (6.0, 12.0)
    touches = frozenset({"etcd", "api", "worker", "relay"})
    alone = True

    def possible(self, stage: Stage) -> str:
        return possible(stage)

    def prepare(self, stage: Stage) -> None:
        limit(stage)

    async def inject(self, stage: Stage, random: Random) -> Broken:
        for relay in stage.relays:
            relay.receiver.greeting = "554 5.3.2 no service"
            relay.receiver.cut()
        end_watch, alarms = _watch_for_alarms(stage)
        end_flood = ending(_flood(stage, random))

        async def heal() -> None:
            await end_flood()
            for relay in stage.relays:
                relay.receiver.normal()
            for worker in stage.workers:  # one that starts ends the holds
                await worker.terminate()
                await worker.start()
            await end_watch()
            if alarms:
                raise BenchError("etcd raised its NOSPACE alarm by Babygun's own writes")

        return Broken(f"e-mails of {_LARGE} bytes from {_SENDERS} senders", heal)


def possible(stage: Stage) -> str:
    """Why it can't be done on this stage, or empty."""
    return "a soak's etcd is as large as its mail makes it" if stage.spared else ""


def limit(stage: Stage) -> None:
    """Gives etcd's members a quota that a run can reach."""
    for member in stage.members:
        member.quota = min(member.quota, QUOTA)


async def fill(stage: Stage, random: Random) -> None:
    """Writes foreign keys until the alarm is on."""
    value, number = random.randbytes(_VALUE), 0
    while not await _patiently(stage.etcd.alarms):
        number += 1
        key = _FOREIGN + b"%06d" % number
        with suppress(OutOfSpace):
            await _patiently(partial(stage.etcd.put, key, value))


async def empty(stage: Stage) -> int:
    """Deletes the foreign keys, which is allowed under the alarm; returns how many there were."""
    etcd = stage.etcd
    found = await _patiently(partial(etcd.range, _FOREIGN, range_end(_FOREIGN), keys_only=True))
    for kv in found.kvs:
        await _patiently(partial(etcd.delete, kv.key))
    return len(found.kvs)


async def _patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Asks again while etcd is too busy to answer. Raises OutOfSpace."""
    while True:
        try:
            return await ask()
        except OutOfSpace:
            raise
        except EtcdError:
            await asyncio.sleep(0.2)


def _watch_for_alarms(stage: Stage) -> tuple[Ending, list[str]]:
    found: list[str] = []

    async def watch() -> None:
        while True:
            with suppress(EtcdError):
                found.extend(await stage.etcd.alarms())
            await asyncio.sleep(0.2)

    return ending(watch()), found


async def _flood(stage: Stage, random: Random) -> None:
    clients = stage.clients
    assert clients is not None, "the load has not begun"
    drafts = clients.drafts(random, "flood")

    async def send() -> None:
        while True:
            if clients.open >= _OPEN:
                await asyncio.sleep(0.02)
                continue
            draft = drafts.one(now=stage.recorder.now(), size=_LARGE)
            await clients.send([draft], key=False)

    async with asyncio.TaskGroup() as group:
        for _ in range(_SENDERS):
            group.create_task(send())


FULL_STORE = (FilledByOthers(), FilledByMail())
