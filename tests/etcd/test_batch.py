"""Batches: what is sent together, what is kept apart, and that each transaction has its result."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from babygun.errors import (
    EtcdAway,
    EtcdError,
    EtcdUnavailable,
    LeaseNotFound,
    OutcomeUnknown,
    OutOfSpace,
)
from babygun.etcd import (
    Batcher,
    EtcdClient,
    Txn,
    TxnResult,
    absent,
    batch,
    delete,
    delete_range,
    get,
    get_range,
    keep,
    modified_at,
    only_if,
    present,
    put,
    range_absent,
    unless,
)
from babygun.etcd.versions import COUNTED_QUOTA
from babygun.etcd.wire import nest
from tests.etcd.conftest import OwnEtcd
from tests.support.etcd_server import EtcdServer, needs_ability


def create(key: bytes, value: bytes = b"v") -> Txn:
    return Txn([absent(key)], [put(key, value)])


async def together(batcher: Batcher, *txns: Txn) -> list[TxnResult | BaseException]:
    return await asyncio.gather(*(batcher.submit(txn) for txn in txns), return_exceptions=True)


def succeeded(results: list[TxnResult | BaseException]) -> list[bool]:
    assert all(isinstance(result, TxnResult) for result in results), results
    return [result.succeeded for result in results if isinstance(result, TxnResult)]


async def test_batch_of_many_decides_each_on_its_own(etcd: EtcdClient, etcd_prefix: str) -> None:
    p = etcd_prefix.encode()
    await etcd.put(p + b"1", b"there")
    batcher = Batcher(etcd)
    results = await together(
        batcher,
        *(
            Txn([absent(p + b"%d" % n)], [put(p + b"%d" % n, b"v")], [get(p + b"%d" % n)])
            for n in range(3)
        ),
    )
    assert succeeded(results) == [True, False, True]
    assert isinstance(results[1], TxnResult)
    assert [kv.value for kv in results[1].kvs(0)] == [b"there"]
    assert (batcher.rpcs, batcher.txns) == (1, 3)
    written = {kv.mod_revision for kv in (await etcd.range(p, p + b"z")).kvs if kv.value == b"v"}
    assert {result.revision for result in results if isinstance(result, TxnResult)} == written


async def test_single_transaction_goes_as_it_is(etcd: EtcdClient, etcd_prefix: str) -> None:
    p = etcd_prefix.encode()
    batcher = Batcher(etcd)
    wide = Txn([], [put(p + b"%d" % n, b"v") for n in range(128)])
    assert (await batcher.submit(wide)).succeeded  # 128 operations: nested, etcd would refuse it
    assert (batcher.rpcs, batcher.txns) == (1, 1)


async def test_batch_is_cut_at_127_transactions(etcd: EtcdClient, etcd_prefix: str) -> None:
    p = etcd_prefix.encode()
    batcher = Batcher(etcd)
    assert all(succeeded(await together(batcher, *(create(p + b"%d" % n) for n in range(254)))))
    assert batcher.rpcs == 2


async def test_nested_operations_are_done_together_or_not_at_all_in_a_batch_too(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    p = etcd_prefix.encode()
    await etcd.put(p + b"2/499", b"there")
    batcher = Batcher(etcd)
    parts = [
        Txn(
            [absent(p + b"%d/499" % n)],
            [put(p + b"%d/%03d" % (n, m), b"v") for m in range(500)],
            [get(p + b"%d/499" % n)],
            nested=20,
        )
        for n in range(5)
    ]
    assert succeeded(await together(batcher, *parts, create(p + b"x"))) == [
        True,
        True,
        False,
        True,
        True,
        True,
    ]
    assert batcher.rpcs == 1
    assert (await etcd.range(p, p + b"z")).count == 4 * 500 + 1 + 1


async def test_wide_transactions_count_their_operations_with_the_batch(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    p = etcd_prefix.encode()
    batcher = Batcher(etcd)
    wide = [Txn([], [put(p + b"%d/%d" % (n, m), b"v") for m in range(100)]) for n in range(40)]
    assert all(succeeded(await together(batcher, *wide)))
    assert batcher.rpcs == 2  # 28 of 100 operations each, then 12


async def test_batch_is_cut_at_its_bytes_and_a_larger_one_goes_alone(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    p = etcd_prefix.encode()
    batcher = Batcher(etcd, max_bytes=100_000)
    assert all(
        succeeded(
            await together(batcher, *(create(p + b"%d" % n, bytes(45_000)) for n in range(4)))
        )
    )
    assert batcher.rpcs == 2
    assert all(
        succeeded(
            await together(
                batcher, create(p + b"a"), create(p + b"b", bytes(1 << 20)), create(p + b"c")
            )
        )
    )
    assert batcher.rpcs == 5


async def test_batch_is_cut_at_the_bytes_that_it_brings_back(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    p = etcd_prefix.encode()
    batcher = Batcher(etcd)
    await asyncio.gather(
        *(batcher.submit(Txn([], [get(p + b"%d" % n)]), response_bytes=1 << 20) for n in range(8))
    )
    assert batcher.rpcs == 2


async def test_submitted_while_batches_are_in_flight_goes_as_one_when_one_returns(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    p = etcd_prefix.encode()
    batcher = Batcher(etcd, in_flight=1)
    first = asyncio.create_task(batcher.submit(create(p + b"first")))
    while not batcher.rpcs:  # noqa: ASYNC110
        await asyncio.sleep(0)
    later = [asyncio.create_task(batcher.submit(create(p + b"%d" % n))) for n in range(10)]
    await asyncio.gather(first, *later)
    assert batcher.rpcs == 2


@pytest.fixture
def slow_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """So slow that a paced batch waits for as long as the test runs."""
    monkeypatch.setattr(batch, "_PACE", 600.0)


async def after_several(etcd: EtcdClient, p: bytes) -> Batcher:
    """One that has sent a batch of five, so that the next one is paced."""
    batcher = Batcher(etcd)
    await together(batcher, *(create(p + b"%d" % n) for n in range(5)))
    return batcher


@pytest.mark.usefixtures("slow_pace")
async def test_batches_of_several_are_paced_so_that_what_comes_in_between_goes_together(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    p = etcd_prefix.encode()
    batcher = await after_several(etcd, p)
    first, later = batcher._last_start, []
    for n in range(5, 10):
        later.append(asyncio.create_task(batcher.submit(create(p + b"%d" % n))))
        await asyncio.sleep(0)
    assert batcher.rpcs == 1
    paced = batcher._paced
    assert paced is not None and paced.when() == first + batch._PACE
    batcher._flush()  # that time has come
    assert all(succeeded(list(await asyncio.gather(*later))))
    assert batcher.rpcs == 2


@pytest.mark.usefixtures("slow_pace")
async def test_few_at_once_never_wait_for_the_pace(etcd: EtcdClient, etcd_prefix: str) -> None:
    p = etcd_prefix.encode()
    batcher = Batcher(etcd)
    async with asyncio.timeout(30):
        for n in range(5):
            await together(
                batcher,
                create(p + b"%d" % n),
                create(p + b"%d/2" % n),
                create(p + b"%d/3" % n),
                create(p + b"%d/4" % n),
            )
    assert batcher.rpcs == 5


@pytest.mark.usefixtures("slow_pace")
async def test_many_that_wait_go_before_the_pace_lets_them(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    p = etcd_prefix.encode()
    batcher = await after_several(etcd, p)
    async with asyncio.timeout(30):
        await asyncio.gather(*(batcher.submit(create(p + b"many %d" % n)) for n in range(32)))
    assert batcher.rpcs == 2


@pytest.mark.usefixtures("slow_pace")
async def test_closing_does_not_wait_for_the_pace(etcd: EtcdClient, etcd_prefix: str) -> None:
    p = etcd_prefix.encode()
    batcher = await after_several(etcd, p)
    last = asyncio.create_task(batcher.submit(create(p + b"last")))
    await asyncio.sleep(0)
    assert batcher.rpcs == 1
    async with asyncio.timeout(30):
        await batcher.close()
        assert (await last).succeeded


async def test_writes_of_one_key_go_in_order_in_batches_of_their_own_and_hold_up_nobody(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    p = etcd_prefix.encode()
    batcher = Batcher(etcd, in_flight=1)
    order: list[str] = []

    async def write(name: str, key: bytes) -> None:
        await batcher.submit(Txn([], [put(key, name.encode())]))
        order.append(name)

    await asyncio.gather(
        write("a1", p + b"a"), write("a2", p + b"a"), write("a3", p + b"a"), write("b", p + b"b")
    )
    assert order == ["a1", "b", "a2", "a3"]
    assert batcher.rpcs == 3
    found = await etcd.get(p + b"a")
    assert found is not None and found.value == b"a3"


async def test_transaction_behind_one_that_waits_for_a_later_batch_waits_with_it(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    p = etcd_prefix.encode()
    batcher = Batcher(etcd, in_flight=1)
    await together(
        batcher,
        Txn([], [put(p + b"a", b"1")]),
        Txn([], [put(p + b"a", b"2"), put(p + b"b", b"2")]),
        Txn([], [put(p + b"b", b"3")]),
    )
    assert [kv.value for kv in (await etcd.range(p, p + b"z")).kvs] == [b"2", b"3"]
    assert batcher.rpcs == 3


@pytest.mark.parametrize("most", [126, 20])
@pytest.mark.parametrize("company", [0, 1])
async def test_result_says_which_operations_with_compares_of_their_own_were_done(
    etcd: EtcdClient, etcd_prefix: str, most: int, company: int
) -> None:
    """``most``: of them side by side. ``company``: other transactions of the batch."""
    p = etcd_prefix.encode()
    keys = [p + b"%02d" % n for n in range(60)]
    for key in keys[::3]:
        await etcd.put(key, b"there")
    ops = [only_if([absent(key)], put(key, b"1")) for key in keys[:30]]
    ops += [unless(present(key), unless(present(key), delete(key))) for key in keys[30:]]
    ops += [put(p + b"x", b""), get(keys[0])]
    txn = Txn([], ops, [get(keys[1])], nested=most)
    others = [create(p + b"y%d" % n) for n in range(company)]
    result, *_ = await together(Batcher(etcd), txn, *others)
    assert isinstance(result, TxnResult)
    there = [n % 3 == 0 for n in range(60)]
    assert [result.done(n) for n in range(62)] == [*(not one for one in there), True, True]
    assert result.values(61) == [b"there"]
    refused = await etcd.txn(Txn([present(p + b"z")], ops, [get(keys[1])], nested=most))
    assert refused.values(0) == [b"1"] and refused.done(0)


async def test_etcd_decides_nested_compares_against_the_state_before_all_of_them(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    """Why the batcher keeps apart what compares a key and what writes it.

    Here both take themselves for the first.
    """
    p = etcd_prefix.encode()
    response = await etcd.raw_txn(
        nest(
            [
                create(p + b"lock").encoded,
                Txn([absent(p + b"lock")], [put(p + b"other", b"")]).encoded,
            ]
        )
    )
    assert [op.response_txn.succeeded for op in response.responses] == [True, True]


async def test_compare_of_a_key_sees_what_was_submitted_before_it(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    p = etcd_prefix.encode()
    batcher = Batcher(etcd, in_flight=1)
    both = await together(
        batcher, create(p + b"lock"), Txn([absent(p + b"lock")], [put(p + b"other", b"")])
    )
    assert succeeded(both) == [True, False]
    crossed = await together(
        batcher,
        Txn([absent(p + b"x")], [put(p + b"y", b"")]),
        Txn([absent(p + b"y")], [put(p + b"x", b"")]),
    )
    assert succeeded(crossed) == [True, False]
    ranges = await together(
        batcher, create(p + b"r/1"), Txn([range_absent(p + b"r/", p + b"r0")], [put(p + b"z", b"")])
    )
    assert succeeded(ranges) == [True, False]


def pairs_that_conflict() -> list[tuple[str, Txn, Txn]]:
    k, one = b"k/1", create(b"k/1")
    return [
        ("put and put", one, Txn([], [put(k, b"")])),
        ("put and keep", one, Txn([], [keep(k, 0)])),
        ("put and delete", one, Txn([], [delete(k)])),
        ("put and put in a failure branch", one, Txn([present(b"o")], [], [put(k, b"")])),
        ("put and get", one, Txn([], [get(k)])),
        ("put and compare", one, Txn([modified_at(k, 1)], [put(b"o", b"")])),
        ("put and deleted range", one, Txn([], [delete_range(b"k/", b"k0")])),
        ("put and read range", one, Txn([], [get_range(b"k/", b"k0")])),
        ("put and compared range", one, Txn([range_absent(b"k/", b"k0")], [put(b"o", b"")])),
        ("deleted range and get", Txn([], [delete_range(b"k/", b"k0")]), Txn([], [get(k)])),
        (
            "deleted range and compare",
            Txn([], [delete_range(b"k/", b"k0")]),
            Txn([present(k)], [put(b"o", b"")]),
        ),
        (
            "deleted range and deleted range",
            Txn([], [delete_range(b"k/", b"k0")]),
            Txn([], [delete_range(b"a", b"k/2")]),
        ),
        (
            "deleted range and read range",
            Txn([], [delete_range(b"k/", b"k0")]),
            Txn([], [get_range(b"k/1", b"z")]),
        ),
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [p for _, a, b in pairs_that_conflict() for p in ((a, b), (b, a))],
    ids=[f"{n}-{d}" for n, *_ in pairs_that_conflict() for d in ("so", "turned")],
)
async def test_transactions_that_touch_what_the_other_writes_never_share_a_batch(
    first: Txn, second: Txn
) -> None:
    assert await batches_of(first, second) == [1, 1]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (create(b"k/1"), create(b"k/2")),
        (Txn([present(b"k")], [put(b"a", b"")]), Txn([present(b"k")], [put(b"b", b"")])),
        (Txn([], [get(b"k")]), Txn([], [get_range(b"k", b"l")])),
        (create(b"k/1"), Txn([], [delete_range(b"l/", b"l0")])),
        (Txn([], [delete_range(b"a", b"b")]), Txn([], [get_range(b"b", b"c")])),
    ],
)
async def test_transactions_that_only_read_the_same_or_touch_other_keys_share_a_batch(
    first: Txn, second: Txn
) -> None:
    assert await batches_of(first, second) == [2]


async def batches_of(*txns: Txn) -> list[int]:
    """How the batcher would divide these, by what it hands to a client that is not started."""

    class NotStarted(EtcdClient):
        async def ready(self, rpc_name: str) -> None:
            pass

    batcher = Batcher(NotStarted(["http://127.0.0.1:1"]), in_flight=1)
    sizes: list[int] = []

    async def counted() -> None:
        seen = 0
        while True:
            if batcher.txns > seen:
                sizes.append(batcher.txns - seen)
                seen = batcher.txns
            await asyncio.sleep(0)

    counter = asyncio.create_task(counted())
    results = await together(batcher, *txns)
    await asyncio.sleep(0)
    counter.cancel()
    assert all(isinstance(result, EtcdUnavailable) for result in results)
    return sizes


async def test_transaction_that_waited_until_its_deadline_is_never_sent(server: EtcdServer) -> None:
    async with EtcdClient([server.endpoint]) as client:
        await client.status()
        batcher = Batcher(client, in_flight=1)
        server.pause()
        end = time.monotonic() + 600.0
        sent = asyncio.create_task(batcher.submit(create(b"sent"), deadline=end))
        while not batcher.rpcs:  # noqa: ASYNC110
            await asyncio.sleep(0)
        waiting = asyncio.create_task(batcher.submit(create(b"waiting"), deadline=end))
        await asyncio.sleep(0)
        for one in (*batcher._queue, *itertools.chain(*batcher._out.values())):
            one.deadline = 0.0  # that time has come
        with pytest.raises(OutcomeUnknown):
            await sent
        with pytest.raises(EtcdUnavailable):
            await waiting
        server.resume()
        assert (await batcher.submit(create(b"next"))).succeeded
        assert await client.get(b"waiting") is None


async def test_more_than_may_wait_are_refused(etcd: EtcdClient, etcd_prefix: str) -> None:
    p = etcd_prefix.encode()
    batcher = Batcher(etcd, most_waiting=10)
    results = await together(batcher, *(create(p + b"%d" % n) for n in range(12)))
    assert all(succeeded(results[:10]))
    assert [type(result) for result in results[10:]] == [EtcdAway, EtcdAway]


async def test_dead_lease_in_a_batch_fails_only_the_transaction_that_names_it(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    p = etcd_prefix.encode()
    lease = await etcd.grant(60)
    await etcd.revoke(lease)
    batcher = Batcher(etcd)
    txns = [create(p + b"%d" % n) for n in range(20)]
    txns[7] = Txn([], [put(p + b"dead", b"", lease)])
    txns[13] = Txn([], [keep(p + b"no such key", 0)])
    results = await together(batcher, *txns)
    assert isinstance(results[7], LeaseNotFound)
    assert isinstance(results[13], EtcdError) and "key not found" in str(results[13])
    assert all(succeeded([r for n, r in enumerate(results) if n not in (7, 13)]))
    assert (await etcd.range(p, p + b"z")).count == 18


async def test_branch_not_taken_may_name_a_dead_lease(etcd: EtcdClient, etcd_prefix: str) -> None:
    p = etcd_prefix.encode()
    batcher = Batcher(etcd)
    results = await together(
        batcher, create(p + b"a"), Txn([present(p + b"b")], [put(p + b"b", b"", 4711)])
    )
    assert succeeded(results) == [True, False]
    assert batcher.rpcs == 1


async def test_silent_etcd_every_transaction_of_the_batch_has_an_unknown_outcome(
    server: EtcdServer,
) -> None:
    async with EtcdClient([server.endpoint]) as client:
        batcher = Batcher(client)
        assert all(succeeded(await together(batcher, create(b"a"), create(b"b"))))
        server.pause()
        patience, client.timeout = client.timeout, 3.0
        results = await together(batcher, create(b"c"), create(b"d"))
        assert all(isinstance(result, OutcomeUnknown) for result in results)
        client.timeout = patience
        server.resume()
        assert all(succeeded(await together(batcher, create(b"e"), create(b"f"))))


@needs_ability(COUNTED_QUOTA)
async def test_full_etcd_refuses_what_puts_and_serves_the_rest_of_the_batch(
    own_etcd: OwnEtcd,
) -> None:
    server = own_etcd("--quota-backend-bytes=4000000")
    async with EtcdClient([server.endpoint]) as client:
        with pytest.raises(OutOfSpace):
            for n in itertools.count():
                await client.put(b"k%d" % n, bytes(1 << 20))
        refused, deleted, read = await together(
            Batcher(client), create(b"a"), Txn([], [delete(b"k0")]), Txn([], [get(b"k1")])
        )
        assert isinstance(refused, OutOfSpace)
        assert succeeded([deleted, read]) == [True, True]
        assert await client.get(b"k0") is None


async def test_caller_cancelled_before_its_batch_left_takes_its_transaction_back(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    p = etcd_prefix.encode()
    batcher = Batcher(etcd, in_flight=1)
    first = asyncio.create_task(batcher.submit(create(p + b"first")))
    while not batcher.rpcs:  # noqa: ASYNC110
        await asyncio.sleep(0)
    given_up = asyncio.create_task(batcher.submit(create(p + b"given up")))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.gather(first, batcher.submit(create(p + b"last")))
    assert {kv.key for kv in (await etcd.range(p, p + b"z")).kvs} == {p + b"first", p + b"last"}
    assert batcher.txns == 2


async def test_caller_cancelled_after_its_batch_left_leaves_the_others_their_answers(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    p = etcd_prefix.encode()
    batcher = Batcher(etcd)
    tasks = [asyncio.create_task(batcher.submit(create(p + b"%d" % n))) for n in range(3)]
    while not batcher.rpcs:  # noqa: ASYNC110
        await asyncio.sleep(0)
    tasks[1].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[1], asyncio.CancelledError)
    assert succeeded([results[0], results[2]]) == [True, True]
    assert (await etcd.range(p, p + b"z")).count == 3


async def test_closed_batcher_has_settled_all_it_took_and_takes_no_more(
    etcd: EtcdClient, etcd_prefix: str
) -> None:
    p = etcd_prefix.encode()
    batcher = Batcher(etcd, in_flight=1)
    tasks = [asyncio.create_task(batcher.submit(create(p + b"%d" % n))) for n in range(300)]
    await asyncio.sleep(0)
    await batcher.close()
    assert all(task.done() or task.result().succeeded for task in tasks)
    assert all(succeeded(list(await asyncio.gather(*tasks))))
    with pytest.raises(EtcdUnavailable):
        await batcher.submit(create(p + b"late"))


async def test_thousands_at_once_all_commit_once_each(etcd: EtcdClient, etcd_prefix: str) -> None:
    p = etcd_prefix.encode()
    batcher = Batcher(etcd)
    twice = [p + b"%d" % (n // 2) for n in range(4000)]
    results = succeeded(await together(batcher, *map(create, twice)))
    assert sum(results) == 2000
    assert (await etcd.range(p, p + b"z", keys_only=True)).count == 2000
    assert batcher.rpcs < 100
