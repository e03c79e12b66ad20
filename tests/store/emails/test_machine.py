"""The store's operations beside a plain model, on a real etcd, with faults at any request.

One API process and two workers. Their requests get lost, come late or stay unanswered, processes
die between two requests, leases end at any time, and a second operation runs amid the first. After
each step the keys in etcd are those of the model. Where nobody can know whether an operation took
effect, they are those before it or those after it, and nothing in between.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from babygun.email import wide
from babygun.errors import EtcdUnavailable, OutcomeUnknown
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.store import Store, codec
from babygun.store.emails import acceptance, late, write_loop
from babygun.store.emails import change as emails_change
from babygun.store.records import Client
from tests.store.emails.operations import Operations, Seat, Spec
from tests.store.emails.world import NOTHING, UNKNOWN, Done, Operation, World, outcomes, seen, view
from tests.support import email_model as model
from tests.support.faulty_etcd import FAULTS, Died, Fault, FaultyProcess, LateRequest
from tests.support.machines import run_machine
from tests.support.rig import changed

API, WORKERS = 0, (1, 2)
KINDS = [
    *("claim", "claim", "claim", "claim", "finish", "finish", "finish", "finish"),
    *("accept", "reclaim", "release", "reconcile", "due", "cancel", "retry", "expire"),
    *("send_now", "edit"),
    *("webhook", "no webhook", "switch"),
    *("suppress", "bounce", "bounce", "complaint"),
]
ACTIONS = st.sampled_from(
    [model.DELIVER, model.FAIL, model.GONE, model.RETRY, model.HOLD, model.PUT_OFF, model.SUPPRESS]
)
SPECS = st.builds(
    Spec,
    st.sampled_from(KINDS),
    st.sampled_from(WORKERS),
    st.integers(0, 1),
    st.sampled_from(["a", "b"]),
    st.tuples(ACTIONS, ACTIONS, ACTIONS),
    st.booleans(),
)
NUMBERS = st.sampled_from([1, 1, 2, 2, 3, 4])
FAULTY = st.dictionaries(NUMBERS, st.sampled_from(FAULTS), min_size=1, max_size=2)


class Emails(RuleBasedStateMachine):
    """``runner`` and ``settings``: the test's."""

    runner: asyncio.Runner
    settings: Settings

    def __init__(self) -> None:
        super().__init__()
        prefix = f"/machine-{secrets.token_hex(6)}/"
        self.mine = changed(self.settings, prefix=prefix, retry_intervals=model.INTERVALS)
        self.world = World()
        self.workers = 0
        self.leases: dict[str, int] = {}  # by worker
        self.late: list[tuple[FaultyProcess, LateRequest, Operation]] = []
        self.seats = [Seat() for _ in (API, *WORKERS)]
        self.operations = Operations(self.seats)
        self.processes: list[FaultyProcess] = []
        self._run(self._start())

    def teardown(self) -> None:
        async def close() -> None:
            for lease in self.leases.values():
                await self.watching.client.revoke(lease)
            for process in self.processes:
                await process.close()
            await self.watching.close()

        self._run(close())

    @initialize(outcomes=st.tuples(ACTIONS, ACTIONS, ACTIONS), queue=st.sampled_from(["a", "b"]))
    def accept(self, outcomes: tuple[str, str, str], queue: str) -> None:
        self._step(Spec("accept", WORKERS[0], 0, queue, outcomes, True))

    @rule(spec=SPECS)
    def operation(self, spec: Spec) -> None:
        self._step(spec)

    @rule(spec=SPECS)
    def another_operation(self, spec: Spec) -> None:
        """The same. So most operations are whole, and much happens."""
        self._step(spec)

    @rule(spec=SPECS, faults=FAULTY)
    def faulty_operation(self, spec: Spec, faults: dict[int, Fault]) -> None:
        self._step(spec, faults)

    @rule(spec=SPECS, other=SPECS, at=NUMBERS)
    def operation_amid_another(self, spec: Spec, other: Spec, at: int) -> None:
        self._step(spec, None, other, at)

    @rule(spec=SPECS, other=SPECS, at=NUMBERS, faults=FAULTY)
    def operation_amid_a_faulty_one(
        self, spec: Spec, other: Spec, at: int, faults: dict[int, Fault]
    ) -> None:
        self._step(spec, faults, other, at)

    @rule(number=st.integers(0, 9))
    def lease_ends(self, number: int) -> None:
        """Of a worker that is dead or stands still. It may have results that it will write."""
        ended = self.operations.ended
        alive = [worker for worker in self.leases if worker not in ended]
        busy = [seat.worker_id for seat in self.seats if seat.hand and seat.worker_id in alive]
        worker = (busy or alive)[number % len(busy or alive)]
        ended.add(worker)
        self._run(self.watching.client.revoke(self.leases[worker]))
        claims = {n for n, owner in self.operations.worker_of.items() if owner == worker}
        mails = self.world.mails.items()
        after = {i: model.lease_ends(m, claims) for i, m in mails}
        self.world = replace(self.world, mails=after)
        freed = {i: model.lease_ends(m, claims) for i, m in mails}
        self.world = replace(self.world, mails=freed)
        self._run(self._compare([]))
        for seat in self.seats:
            if seat.worker_id == worker:  # it checks in again, and its tries go on
                self._run(self._checked_in(seat))

    @rule(number=st.integers(0, 9))
    def process_dies(self, number: int) -> None:
        if number in WORKERS:
            self._run(self._seated(number))

    @rule(number=st.integers(0, 2))
    def late_request_arrives(self, number: int) -> None:
        if number < len(self.late):
            process, request, operation = self.late.pop(number)
            self._run(process.arrive(request))
            nobody_waits = operation._replace(then=lambda world, expected, answer: None)
            self._run(self._compare([Done(nobody_waits, UNKNOWN)]))

    # What the rules do

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.runner.run(coroutine)

    async def _start(self) -> None:
        self.watching = Store(self.mine)
        await self.watching.start()
        client = Client("client", "tests", (), "", utc_now())
        key = self.watching.keys.client(client.id)
        await self.watching.client.put(key, codec.encode_state(client))
        for number in (API, *WORKERS):
            await self._seated(number)

    async def _seated(self, number: int) -> None:
        """A new process takes the seat."""
        seat = self.seats[number]
        seat.process, seat.hand, seat.records = FaultyProcess(self.mine), {}, {}
        self.processes.append(seat.process)
        await seat.process.store.start()
        if number in WORKERS:
            await self._checked_in(seat)

    async def _checked_in(self, seat: Seat) -> None:
        self.workers += 1
        seat.worker_id = f"w{self.workers}"
        seat.lease = self.leases[seat.worker_id] = await self.watching.client.grant(3600)

    def _step(
        self,
        spec: Spec,
        faults: Mapping[int, Fault] | None = None,
        other: Spec | None = None,
        at: int = 0,
    ) -> None:
        operation = self.operations.made(spec, self.world)
        amid = other and self.operations.made(other, self.world)
        if operation and (other is None or (amid and amid.process != operation.process)):
            self._run(self._perform(operation, faults or {}, amid, at))

    async def _perform(
        self, operation: Operation, faults: Mapping[int, Fault], amid: Operation | None, at: int
    ) -> None:
        done: list[Done] = []

        async def meanwhile() -> None:
            assert amid
            done.append(Done(amid, await self._answer(amid)))

        done.append(
            Done(operation, await self._answer(operation, faults, {at: meanwhile} if amid else {}))
        )
        await self._compare(done)

    async def _answer(
        self,
        operation: Operation,
        faults: Mapping[int, Fault] | None = None,
        meanwhile: Mapping[int, Any] | None = None,
    ) -> Any:
        process = self.seats[operation.process].process
        try:
            return await process.do(operation.real, faults=faults or {}, meanwhile=meanwhile or {})
        except EtcdUnavailable:
            return UNKNOWN if operation.claims else NOTHING
        except OutcomeUnknown:
            return UNKNOWN
        except Died:
            await self._seated(operation.process)
            return UNKNOWN
        finally:
            self.late += ((process, request, operation) for request in process.late)
            process.late = []

    async def _compare(self, done: list[Done]) -> None:
        """Takes the world that etcd holds for the one after what was done."""
        there = await seen(self.watching)
        worker_of, possible = self.operations.worker_of, []
        for world, answers in outcomes(self.world, done):
            if (shown := view(world, worker_of)) == there:
                self.world = world
                for (operation, answer), expected in zip(done, answers, strict=True):
                    operation.then(world, expected, answer)
                return
            possible.append(shown)
        answers = [answer for _, answer in done]
        raise AssertionError(f"after {answers} etcd holds\n{there}\nand not one of\n{possible}")


@pytest.mark.parametrize("most_queues", [wide.MOST_QUEUES, 0], ids=["usual", "wide"])
def test_machine_of_the_store_goes_with_the_model_whatever_fails(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, most_queues: int
) -> None:
    """With 0, each e-mail is a wide one."""
    monkeypatch.setattr(wide, "MOST_QUEUES", most_queues)
    monkeypatch.setattr(acceptance, "_PAUSE", 0.001)
    monkeypatch.setattr(emails_change, "_PAUSE", 0.001)
    monkeypatch.setattr(late, "_PATIENCE", 0.0)
    monkeypatch.setattr(write_loop.Pause, "_seconds", 0.001)
    with asyncio.Runner() as runner:
        bound = type("Emails", (Emails,), {"runner": runner, "settings": settings})
        run_machine(bound, examples=25 if most_queues else 16, steps=40)
