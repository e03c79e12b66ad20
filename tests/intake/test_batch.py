"""The door for a batch: each e-mail is checked on its own, and all or some are stored."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from babygun.errors import (
    BabygunError,
    EtcdUnavailable,
    IdempotencyConflict,
    InvalidEmail,
    InvalidRequest,
    NotAcknowledged,
    OutcomeUnknown,
    Violation,
)
from babygun.intake import accept
from babygun.intake.accept import Intake
from babygun.intake.quota_guard import QuotaGuard
from babygun.intake.request import EmailRequest
from babygun.routing.routes import load_routes
from babygun.store import Store
from babygun.store.emails.batches import BatchOutcome
from babygun.store.unsubscribe.keys import UnsubscribeKeys
from tests.intake.conftest import CLIENT
from tests.intake.requests import email_request
from tests.support.invariants import snapshot

BAD = email_request(to=["ann@example.org", "nobody"], subject="a\nb")
UNREADABLE = InvalidRequest([Violation("subject", "It must be a text.")])
NO_OBJECT = InvalidRequest([Violation("", "It must be an object.")])
GOOD = email_request()


def fields(error: BabygunError | None) -> list[str]:
    assert isinstance(error, InvalidEmail)
    return [violation.field for violation in error.violations]


async def test_good_batch_is_stored_in_order(intake: Intake, store: Store) -> None:
    batch = await intake.accept_batch(
        [email_request(subject=str(n), cc="c@example.org") for n in range(3)], client=CLIENT
    )
    emails = (await snapshot(store)).emails
    ids = [item.email_id or "" for item in batch.items]
    assert [emails[email_id].subject for email_id in ids] == ["0", "1", "2"]
    assert [(item.recipients, item.error) for item in batch.items] == [(2, None)] * 3
    assert [item.created_at for item in batch.items] == [emails[i].created_at for i in ids]
    assert not batch.repeated and intake.accepted == 3


async def test_batch_with_invalid_emails_is_refused_as_a_whole_with_every_rule(
    intake: Intake, store: Store
) -> None:
    entries: list[EmailRequest | InvalidRequest] = [GOOD, BAD, UNREADABLE, NO_OBJECT]
    with pytest.raises(InvalidEmail, match="3 of 4 e-mails are invalid") as raised:
        await intake.accept_batch(entries, client=CLIENT, idempotency_key="k")
    assert fields(raised.value) == ["[1].to[1]", "[1].subject", "[2].subject", "[3]"]
    assert not (await snapshot(store)).keys
    assert await intake.accept_batch([GOOD], client=CLIENT, idempotency_key="k")


async def test_refusal_names_each_email_however_many_rules_are_broken(intake: Intake) -> None:
    bad = email_request(to=[f"nobody{n}" for n in range(60)])
    with pytest.raises(InvalidEmail) as raised:
        await intake.accept_batch([bad] * 1000, client=CLIENT)
    found = fields(raised.value)
    assert {field.partition("]")[0] for field in found} == {f"[{n}" for n in range(1000)}
    assert len(found) < 2000


async def test_refusal_is_too_large_where_its_first_rule_is(intake: Intake) -> None:
    large = email_request(metadata={"a": "b" * 5000})
    with pytest.raises(InvalidEmail) as raised:
        await intake.accept_batch([GOOD, large, BAD], client=CLIENT)
    assert raised.value.too_large


async def test_good_emails_are_stored_beside_invalid_ones_if_asked_for(
    intake: Intake, store: Store
) -> None:
    batch = await intake.accept_batch(
        [GOOD, BAD, UNREADABLE, GOOD], client=CLIENT, all_or_none=False
    )
    assert [item.email_id is not None for item in batch.items] == [True, False, False, True]
    assert fields(batch.items[1].error) == ["[1].to[1]", "[1].subject"]
    assert fields(batch.items[2].error) == ["[2].subject"]
    assert set((await snapshot(store)).emails) == {batch.items[0].email_id, batch.items[3].email_id}


async def test_batch_without_a_good_email_stores_nothing(intake: Intake, store: Store) -> None:
    batch = await intake.accept_batch([BAD], client=CLIENT, all_or_none=False, idempotency_key="k")
    assert fields(batch.items[0].error) == ["[0].to[1]", "[0].subject"]
    assert not (await snapshot(store)).keys


async def test_repeated_batch_gets_the_first_ids(intake: Intake) -> None:
    key = {"client": CLIENT, "idempotency_key": "k"}
    first = await intake.accept_batch([GOOD, GOOD], **key, fingerprint="f")
    again = await intake.accept_batch([GOOD, GOOD], **key, fingerprint="f")
    assert again.items == first.items and (first.repeated, again.repeated) == (False, True)
    assert intake.accepted == 2
    for changes in ({"fingerprint": "g"}, {"fingerprint": "f", "all_or_none": False}):
        with pytest.raises(IdempotencyConflict):
            await intake.accept_batch([GOOD, GOOD], **key, **changes)


async def test_email_that_was_refused_stays_refused_under_its_key(
    intake: Intake, store: Store, quota_guard: QuotaGuard
) -> None:
    narrow = Store(replace(store.settings, max_body=3))
    async with narrow:
        strict = Intake(narrow, load_routes(narrow.settings), quota_guard, UnsubscribeKeys(narrow))
        entries = [email_request(body=None), GOOD]
        arguments: dict[str, Any] = {"client": CLIENT, "all_or_none": False}
        first = await strict.accept_batch(entries, **arguments, idempotency_key="k")
        again = await intake.accept_batch(entries, **arguments, idempotency_key="k")
        assert [item.email_id for item in again.items] == [first.items[0].email_id, None]
        assert "with another key" in str(again.items[1].error)
        assert fields(again.items[1].error) == ["[1]"]
        stored = await intake.accept_batch(entries, **arguments, idempotency_key="l")
        known = await strict.accept_batch(entries, **arguments, idempotency_key="l")
        assert known.items[1].email_id == stored.items[1].email_id
        assert known.items[1].recipients is None


@pytest.mark.parametrize("cause", [EtcdUnavailable("etcd is away"), OutcomeUnknown("no answer")])
async def test_batch_of_which_nothing_is_confirmed_is_not_acknowledged(
    intake: Intake, monkeypatch: pytest.MonkeyPatch, cause: EtcdUnavailable | OutcomeUnknown
) -> None:
    async def lost(*_: Any, **__: Any) -> None:
        raise cause

    monkeypatch.setattr(accept, "accept_batch", lost)
    unknown = isinstance(cause, OutcomeUnknown)
    said = "E-mails of the batch may be stored" if unknown else "Nothing is stored"
    with pytest.raises(NotAcknowledged, match=said) as raised:
        await intake.accept_batch([GOOD], client=CLIENT)
    assert raised.value.cause is cause


async def test_each_email_that_etcd_did_not_confirm_has_an_error_of_its_own(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    conflict = IdempotencyConflict()

    async def half(*_: Any, **__: Any) -> BatchOutcome:
        errors: dict[int, BabygunError] = {1: OutcomeUnknown("no answer"), 2: conflict}
        return BatchOutcome([GOOD_ID, None, None], errors)

    monkeypatch.setattr(accept, "accept_batch", half)
    batch = await intake.accept_batch([GOOD] * 3, client=CLIENT)
    assert batch.items[0].email_id == GOOD_ID
    error = batch.items[1].error
    assert isinstance(error, NotAcknowledged) and "The e-mail may be stored" in str(error)
    assert error.email_id is not None and not error.keyed
    assert batch.items[2].error is conflict


GOOD_ID = "01930000-0000-7000-8000-000000000000"
