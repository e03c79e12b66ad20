"""The later chunks of a large content: no upload takes one from an e-mail that is stored."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import pytest
from msgspec.structs import replace

from babygun.email.ids import email_ids
from babygun.email.model import Content, Email
from babygun.errors import EtcdUnavailable, OutcomeUnknown
from babygun.etcd import Txn, delete_range
from babygun.store import Store
from babygun.store.codec import CHUNK_BYTES
from babygun.store.emails.acceptance import accept
from babygun.store.emails.batches import BatchOutcome, Prepared, accept_batch
from babygun.store.emails.new_email import prepare
from babygun.store.keys import range_end
from babygun.store.records import BatchRecord
from tests.store.emails.steps import claimed
from tests.support.faulty_etcd import FaultyProcess
from tests.support.invariants import check_invariants
from tests.support.processes import PATIENCE
from tests.support.rig import Rig, changed


@pytest.fixture
async def process(rig: Rig) -> AsyncIterator[FaultyProcess]:
    process = FaultyProcess(changed(rig.settings, etcd_timeout=PATIENCE))
    await process.store.start()
    yield process
    await process.close()


def _body(chunks: int) -> str:
    return "x" * (chunks * CHUNK_BYTES - 10_000)


async def _batch(rig: Rig, store: Store) -> BatchOutcome:
    """A call with an Idempotency-Key. Its second part is one e-mail with three chunks."""

    async def prepared(record: BatchRecord) -> Prepared:
        ids = email_ids(record.count, record.at_ns, record.seed)
        made = [rig.email("ann@example.org"), rig.email("bob@example.org", body=_body(3))]
        return [
            prepare(store, replace(email, id=email_id), content)
            for email_id, (email, content) in zip(ids, made, strict=True)
        ]

    record = BatchRecord(2, 1_800_000_000 * 10**9, bytes(16), ())
    return await accept_batch(
        store,
        "client",
        record,
        await prepared(record),
        idempotency_key="k",
        fingerprint="f",
        prepare_again=prepared,
    )


async def _accept(store: Store, *, email: Email, content: Content, key: str | None) -> None:
    await accept(store, "client", prepare(store, email, content), idempotency_key=key)


async def _clear(rig: Rig) -> None:
    prefix = rig.store.keys.prefix
    await rig.store.client.txn(Txn([], [delete_range(prefix, range_end(prefix))]))


async def test_two_calls_with_one_key_leave_a_large_email_whole_wherever_they_meet(
    rig: Rig, process: FaultyProcess
) -> None:
    for number in range(1, 16):
        await process.do(
            lambda store: _batch(rig, store),
            meanwhile={number: lambda: _batch(rig, rig.store)},
        )
        seen = await check_invariants(rig.store)
        assert sorted(seen.chunks.values()) == [1, 3], f"the other call came before {number}"
        large = max(seen.chunks, key=lambda email_id: seen.chunks[email_id])
        assert (await claimed(rig, large)).content.body == _body(3)
        await _clear(rig)


@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize("number", range(1, 9))
async def test_request_that_arrives_late_takes_no_chunk_from_a_large_email(
    rig: Rig, process: FaultyProcess, number: int, key: str | None
) -> None:
    for arrives_before in range(number + 1, 11):
        email, content = rig.email("ann@example.org", body=_body(2))
        own_key = key and f"{key}{arrives_before}"
        accepted = False

        async def arrive() -> None:
            for late in process.late:
                await process.arrive(late)
            process.late.clear()

        accepting = partial(_accept, email=email, content=content, key=own_key)
        try:
            await process.do(accepting, faults={number: "late"}, meanwhile={arrives_before: arrive})
            accepted = True
        except (EtcdUnavailable, OutcomeUnknown):
            pass
        await arrive()
        seen = await check_invariants(rig.store)
        assert not accepted or seen.chunks[email.id] == 2, f"it came before {arrives_before}"
        await _clear(rig)
