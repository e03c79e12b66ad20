"""The batcher beside a plain model: callers join and leave, etcd answers, fails or says nothing.

Each transaction writes a key of its own, whatever its compares say. So its version says how often
it was applied, and a request says which transactions are in it.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
from aetcd import rpc
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from babygun.errors import EtcdUnavailable, LeaseNotFound, OutcomeUnknown
from babygun.etcd import Batcher, EtcdClient, Txn, TxnResult, absent, batch, delete, get, put
from tests.support.etcd_server import Etcd
from tests.support.machines import run_machine

KEYS = st.integers(0, 2)
DEAD_LEASE = 1  # etcd never gave it out
LEAST = 4  # transactions that are worth a second request in flight


@dataclass
class Caller:
    """One submitted transaction: what it is to do to which key, and how far it is.

    ``answer``: what its caller has to get, once that is known. ``gone``: nobody waits any more.
    """

    kind: str
    key: int
    task: asyncio.Task[TxnResult]
    has_deadline: bool
    sent: bool = False
    applied: bool = False
    gone: bool = False
    answer: Any = None

    def overtakes(self, earlier: Caller) -> bool:
        """Whether it is sent before an earlier one that it conflicts with."""
        waits = not (earlier.sent or earlier.gone or earlier.task.done())
        return waits and earlier.key == self.key and {earlier.kind, self.kind} != {"get"}


@dataclass
class Request:
    """A request that etcd has not got yet. ``fate``: what becomes of it."""

    numbers: list[int]
    fate: asyncio.Future[str]
    ended: asyncio.Event = field(default_factory=asyncio.Event)


class Batches(RuleBasedStateMachine):
    """``runner``, ``client``: the test's."""

    runner: asyncio.Runner
    client: EtcdClient

    def __init__(self) -> None:
        super().__init__()
        self.prefix = f"/batches-{secrets.token_hex(6)}/".encode()
        self.callers: list[Caller] = []
        self.requests: list[Request] = []
        self.values: dict[int, int] = {}  # by key, the number of the caller that wrote it

    @initialize(in_flight=st.integers(1, 2))
    def open(self, in_flight: int) -> None:
        self._send = EtcdClient._request.__get__(self.client)
        self.client._request = self._gate  # type: ignore[method-assign]
        self.batcher = Batcher(self.client, in_flight=in_flight)

    @rule(
        kinds=st.lists(
            st.tuples(
                st.sampled_from(["create", "create", "put", "delete", "get", "lease"]),
                KEYS,
                st.booleans(),
            ),
            min_size=1,
            max_size=6,
        )
    )
    def submit(self, kinds: list[tuple[str, int, bool]]) -> None:
        self._run(self._submit(kinds))

    @rule(number=st.integers(0, 100))
    def caller_leaves(self, number: int) -> None:
        waiting = [caller for caller in self.callers if not caller.task.done()]
        if waiting:
            caller = waiting[number % len(waiting)]
            caller.gone = True
            caller.task.cancel()
            self._run(self._settle())

    @rule()
    def deadlines_pass(self) -> None:
        late = [c for c in self.callers if c.has_deadline and not c.task.done()]
        for caller in late:
            caller.answer = OutcomeUnknown if caller.sent else EtcdUnavailable
        self._run(self._expire())
        assert all(caller.task.done() for caller in late)

    @rule(
        number=st.integers(0, 3),
        fate=st.sampled_from(["passes", "passes", "passes", "lost", "unanswered", "refused"]),
    )
    def etcd_gets_a_request(self, number: int, fate: str) -> None:
        if self.requests:
            self._run(self._end(self.requests.pop(number % len(self.requests)), fate))

    def teardown(self) -> None:
        if not hasattr(self, "batcher"):
            return
        try:
            while self.requests:
                self._run(self._end(self.requests.pop(0), "passes"))
            assert all(caller.task.done() for caller in self.callers)
            self._run(self._compare())
        finally:
            del self.client._request  # type: ignore[method-assign]

    # What the rules do

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self.runner.run(coroutine)

    async def _expire(self) -> None:
        self.batcher._expire()
        await self._settle()

    async def _submit(self, kinds: list[tuple[str, int, bool]]) -> None:
        for kind, key, has_deadline in kinds:
            txn = self._txn(kind, key, len(self.callers))
            deadline = 0.0 if has_deadline else None
            task = asyncio.create_task(self.batcher.submit(txn, deadline=deadline))
            self.callers.append(Caller(kind, key, task, has_deadline))
        await self._settle()

    def _txn(self, kind: str, key: int, number: int) -> Txn:
        name, mark = self.prefix + b"%d" % key, put(self.prefix + b"mark/%06d" % number, b"")
        value = b"%d" % number
        if kind == "create":
            return Txn([absent(name)], [mark, put(name, value)], [mark, get(name)])
        if kind == "lease":
            return Txn([], [mark, put(name, value, DEAD_LEASE)])
        op = {"put": put(name, value), "delete": delete(name), "get": get(name)}[kind]
        return Txn([], [mark, op])

    async def _gate(
        self,
        rpc_name: str,
        request: bytes,
        timeout: Any,  # noqa: ASYNC109 (the signature of what it stands for)
        write: bool,
        only: Any,
    ) -> Any:
        message = rpc.TxnRequest.FromString(request)
        txns = [op.request_txn for op in message.success if op.HasField("request_txn")]
        numbers = [
            int(txn.success[0].request_put.key.rpartition(b"/")[2]) for txn in txns or [message]
        ]
        held = Request(numbers, asyncio.get_running_loop().create_future())
        for number in numbers:
            caller = self.callers[number]
            assert not caller.gone or caller.sent, "its caller had left before it was sent"
            assert not caller.applied and not caller.task.done()
            assert not any(map(caller.overtakes, self.callers[:number])), "out of order"
            caller.sent = True
        self.requests.append(held)
        try:
            fate = await held.fate
            if fate == "refused":
                raise EtcdUnavailable("refused by the test")
            if fate in ("passes", "unanswered"):
                answer = await self._send(rpc_name, request, timeout, write, only)
                if fate == "passes":
                    return answer
            raise OutcomeUnknown("the answer was lost by the test")
        finally:
            held.ended.set()

    async def _end(self, request: Request, fate: str) -> None:
        """One request gets its fate, and its callers their answers."""
        callers = [(number, self.callers[number]) for number in request.numbers]
        refused = any(caller.kind == "lease" for _, caller in callers)
        halved = refused and fate in ("passes", "unanswered") and len(callers) > 1
        for number, caller in callers:
            expected: Any = None
            if fate in ("passes", "unanswered") and not refused:
                caller.applied = True
                expected = self._apply(number, caller)
            if fate != "passes" and not (refused and fate == "unanswered"):
                expected = EtcdUnavailable if fate == "refused" else OutcomeUnknown
            elif refused:
                expected = LeaseNotFound
            if not halved and caller.answer is None:
                caller.answer = expected
        request.fate.set_result(fate)
        await request.ended.wait()
        await self._settle()
        if not halved:
            assert all(caller.task.done() for _, caller in callers)

    def _apply(self, number: int, caller: Caller) -> tuple[bool, list[int]]:
        """What the model does, and answers: whether its compares held, and what it read."""
        known = [self.values[caller.key]] if caller.key in self.values else []
        if caller.kind == "put" or (caller.kind == "create" and not known):
            self.values[caller.key] = number
        elif caller.kind == "delete":
            self.values.pop(caller.key, None)
        reads = caller.kind == "get" or (caller.kind == "create" and bool(known))
        return caller.kind != "create" or not known, known if reads else []

    async def _settle(self) -> None:
        """Lets all that can run do so, then looks at each answer that has come."""
        for _ in range(12):
            await asyncio.sleep(0)
        for caller in self.callers:
            if caller.task.done() and not caller.gone:
                assert caller.answer is not None, "an answer before anything has happened"
                assert self._answer(caller) == caller.answer, caller

    @staticmethod
    def _answer(caller: Caller) -> Any:
        if (error := caller.task.exception()) is not None:
            return type(error)
        result = caller.task.result()
        reads = caller.kind == "get" or not result.succeeded
        return result.succeeded, [int(value) for value in result.values(1)] if reads else []

    async def _compare(self) -> None:
        """etcd holds what the model holds, and each transaction was applied once or never."""
        found = await self._send(
            "range",
            rpc.RangeRequest(key=self.prefix, range_end=self.prefix[:-1] + b"0"),
            None,
            False,
            None,
        )
        keys = {kv.key[len(self.prefix) :]: kv for kv in found.kvs}
        marks = {name: kv.version for name, kv in keys.items() if name.startswith(b"mark/")}
        applied = [number for number, caller in enumerate(self.callers) if caller.applied]
        assert marks == {b"mark/%06d" % number: 1 for number in applied}
        assert {int(n): int(kv.value) for n, kv in keys.items() if n not in marks} == self.values


def test_machine_of_the_batcher_gives_each_caller_its_own_answer_once(
    etcd_server: Etcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("_PACE", 0.0), ("_LOOK", 3600.0), ("_WORTH_ANOTHER", LEAST)):
        monkeypatch.setattr(batch, name, value)
    with asyncio.Runner() as runner:
        client = EtcdClient([etcd_server.endpoint])
        runner.run(client.start())
        try:
            runner.run(client.status())
            bound = type("Batches", (Batches,), {"runner": runner, "client": client})
            run_machine(bound, examples=60, steps=25)
        finally:
            runner.run(client.close())
