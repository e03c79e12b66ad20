"""A batch in parts: how it is divided, and how a repeated call completes it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from babygun.email.ids import email_ids
from babygun.errors import EtcdUnavailable, OutcomeUnknown
from babygun.etcd import put
from babygun.store.emails import batches
from babygun.store.emails.batches import (
    PART_BYTES,
    PART_EMAILS,
    PART_OPS,
    BatchOutcome,
    Prepared,
    accept_batch,
)
from babygun.store.emails.new_email import NewEmail, prepare
from babygun.store.records import BatchRecord
from tests.email.steps import submitted
from tests.support.invariants import check_invariants
from tests.support.rig import Rig

OP = put(b"key", b"value")
ACCEPTED = submitted(a=1)
SMALL = NewEmail(ACCEPTED.email, ACCEPTED, 0, [OP], [], [], [])
LARGE = NewEmail(ACCEPTED.email, ACCEPTED, 0, [], [put(b"key", bytes(PART_BYTES))], [], [])
HALF = NewEmail(ACCEPTED.email, ACCEPTED, 0, [OP] * (PART_OPS // 2), [], [], [])


@pytest.mark.parametrize(
    ("emails", "parts"),
    [
        ([SMALL] * 3, [[0, 1, 2]]),
        ([None, SMALL, None, SMALL], [[1, 3]]),
        ([SMALL] * (PART_EMAILS + 1), [list(range(PART_EMAILS)), [PART_EMAILS]]),
        ([SMALL, LARGE, SMALL], [[0], [1], [2]]),
        ([HALF, HALF, SMALL], [[0, 1], [2]]),
    ],
)
def test_batch_is_divided_by_number_operations_and_bytes(
    emails: Prepared, parts: list[list[int]]
) -> None:
    assert list(batches._divided(emails)) == parts


async def _call(rig: Rig, seed: bytes) -> BatchOutcome:
    """A call of five e-mails with an Idempotency-Key."""

    async def prepared(record: BatchRecord) -> Prepared:
        made = [rig.email("ann@example.org") for _ in range(record.count)]
        ids = email_ids(record.count, record.at_ns, record.seed)
        return [
            prepare(rig.store, replace(email, id=email_id), content)
            for email_id, (email, content) in zip(ids, made, strict=True)
        ]

    record = BatchRecord(5, 1_800_000_000 * 10**9, seed, ())
    return await accept_batch(
        rig.store,
        "client",
        record,
        await prepared(record),
        idempotency_key="k",
        fingerprint="f",
        prepare_again=prepared,
    )


async def test_repeated_batch_that_can_not_read_what_is_missing_says_unknown(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first part is stored, so nobody may hear that nothing is."""
    monkeypatch.setattr(batches, "PART_EMAILS", 2)
    real = batches.write

    async def first_alone(store: Any, emails: Any, *, mark: Any = None) -> Any:
        if not mark[0].endswith(b"k"):
            raise EtcdUnavailable("away")
        known = await real(store, emails, mark=mark)
        if known is not None:  # etcd goes away as the call begins to read
            monkeypatch.setattr(type(store.client), "range", _away)
        return known

    monkeypatch.setattr(batches, "write", first_alone)
    assert len((await _call(rig, b"a" * 16)).stored) == 2
    with pytest.raises(OutcomeUnknown):
        await _call(rig, b"b" * 16)


async def _away(*_: Any, **__: Any) -> Any:
    raise EtcdUnavailable("away")


async def test_repeated_batch_stores_the_missing_parts_under_their_first_ids(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "PART_EMAILS", 2)
    write, failing = batches.write, True

    async def fails_behind_the_first(store: Any, emails: Any, *, mark: Any = None) -> Any:
        if failing and mark[0].endswith(b"/1"):
            raise EtcdUnavailable("away")
        return await write(store, emails, mark=mark)

    monkeypatch.setattr(batches, "write", fails_behind_the_first)

    first = await _call(rig, b"a" * 16)
    assert [email_id is not None for email_id in first.ids] == [True, True, False, False, False]
    assert set(first.errors) == {2, 3, 4} and (len(first.stored), first.repeated) == (2, False)
    failing = False
    second = await _call(rig, b"b" * 16)
    assert second.ids == email_ids(5, 1_800_000_000 * 10**9, b"a" * 16)
    assert (len(second.stored), second.repeated, second.errors) == (3, True, {})
    assert set((await check_invariants(rig.store)).emails) == set(second.ids)


async def test_batch_stores_wide_emails_beside_others(rig: Rig) -> None:
    emails = [
        prepare(rig.store, *rig.wide_email(600)),
        prepare(rig.store, *rig.email("ann@example.org")),
        prepare(rig.store, *rig.wide_email(20)),
    ]
    record = BatchRecord(len(emails), 0, bytes(16), ())
    outcome = await accept_batch(
        rig.store,
        "client",
        record,
        emails,
        idempotency_key="key",
        fingerprint="f",
        prepare_again=lambda _: pytest.fail("nothing is repeated"),
    )
    assert (
        outcome.ids == [new.id for new in emails]
        and sum(len(new.addresses) for new in outcome.stored) == 621
    )
    assert len((await check_invariants(rig.store)).jobs) == 621
