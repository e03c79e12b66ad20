"""The door for one e-mail: what it stores, and with which errors it refuses."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace as changed

from babygun.email.ids import created_ms
from babygun.email.model import UnsubscribeLink
from babygun.errors import (
    EtcdUnavailable,
    IdempotencyConflict,
    InvalidEmail,
    NoRelay,
    NotAcknowledged,
    OutcomeUnknown,
    OutOfSpace,
    RateExceeded,
)
from babygun.intake import accept
from babygun.intake.accept import Intake
from babygun.intake.quota_guard import QuotaGuard
from babygun.intake.request import UnsubscribeRequest
from babygun.routing.routes import load_routes
from babygun.runtime.clock import utc_now
from babygun.runtime.exposition import render
from babygun.store import Store
from babygun.store.codec import decode_job
from babygun.store.emails.reading import get_email, get_log
from babygun.store.keys import JobRef, range_end
from babygun.store.unsubscribe.keys import UnsubscribeKeys
from tests.intake.conftest import CLIENT, caller
from tests.intake.requests import email_request
from tests.support.invariants import snapshot
from tests.support.scraping import Scraped


async def test_accepted_email_is_stored_with_its_content_and_job(
    intake: Intake, store: Store
) -> None:
    accepted = await intake.accept(
        email_request(cc="bob@example.org", tags=["a"], metadata={"n": "1"}),
        client=CLIENT,
        request_id="r1",
    )
    view = await get_email(store, accepted.email_id)
    assert view is not None and view.content is not None
    email = view.email
    assert (email.client_id, email.request_id, email.sender, email.subject) == (
        "shop",
        "r1",
        "shop@example.com",
        "Hello",
    )
    assert (email.tags, email.metadata, email.created_at) == (
        ("a",),
        {"n": "1"},
        accepted.created_at,
    )
    assert int(accepted.created_at.timestamp() * 1000) == created_ms(accepted.email_id)
    assert (view.content.body, accepted.recipients, accepted.repeated) == ("Hi Ann\n", 2, False)
    assert await store.client.get(store.keys.job(JobRef(accepted.email_id, "default")))
    log = await get_log(store, accepted.email_id)
    assert log and [entry.event for entry in log[1]] == ["accepted"]


async def test_email_has_the_weight_that_its_client_has_now(intake: Intake, store: Store) -> None:
    accepted = await intake.accept(email_request(), client=changed(CLIENT, weight=7))
    view = await get_email(store, accepted.email_id)
    job = await store.client.get(store.keys.job(JobRef(accepted.email_id, "default")))
    assert view is not None and job is not None
    assert (view.email.weight, decode_job(job.value).weight) == (7, 7)


async def test_email_for_later_waits_for_its_time(intake: Intake, store: Store) -> None:
    at = utc_now() + timedelta(hours=1)
    accepted = await intake.accept(email_request(send_at=at), client=CLIENT)
    ref = JobRef(accepted.email_id, "default")
    assert await store.client.get(store.keys.job(ref)) is None
    assert await store.client.get(store.keys.not_before(at, ref))


async def test_email_that_breaks_a_rule_leaves_no_trace(intake: Intake, store: Store) -> None:
    with pytest.raises(InvalidEmail):
        await intake.accept(email_request(to="nobody"), client=CLIENT, idempotency_key="k")
    assert not (await snapshot(store)).keys and intake.accepted == 0


async def test_accepted_emails_and_recipients_are_counted_once(intake: Intake) -> None:
    before = Scraped(render("api")[0].decode())
    for _ in range(2):
        await intake.accept(
            email_request(cc="bob@example.org"),
            client=CLIENT,
            idempotency_key="k",
            fingerprint="f",
        )
    assert intake.accepted == 1
    after = Scraped(render("api")[0].decode())
    assert after.since(before, "babygun_emails_accepted_total") == 1
    assert after.since(before, "babygun_recipients_accepted_total") == 2


async def test_repeated_key_gets_the_first_acceptance(intake: Intake, store: Store) -> None:
    async def send() -> Any:
        return await intake.accept(
            email_request(), client=CLIENT, idempotency_key="k", fingerprint="f"
        )

    answers = [await send(), *await asyncio.gather(*(send() for _ in range(5)))]
    first = answers[0]
    assert [answer.repeated for answer in answers] == [False] + [True] * 5
    assert all(changed(answer, repeated=False) == first for answer in answers)
    assert set((await snapshot(store)).emails) == {first.email_id}


async def test_repeated_key_with_another_fingerprint_is_a_conflict(intake: Intake) -> None:
    key = {"client": CLIENT, "idempotency_key": "k"}
    first = await intake.accept(email_request(), **key, fingerprint="f")
    with pytest.raises(IdempotencyConflict):
        await intake.accept(email_request(), **key, fingerprint="g")
    other = await intake.accept(
        email_request(), client=caller("other"), idempotency_key="k", fingerprint="g"
    )
    assert other.email_id != first.email_id


@pytest.mark.parametrize("cause", [EtcdUnavailable("etcd is away"), OutcomeUnknown("no answer")])
async def test_email_that_etcd_does_not_confirm_is_not_acknowledged(
    intake: Intake, monkeypatch: pytest.MonkeyPatch, cause: EtcdUnavailable | OutcomeUnknown
) -> None:
    async def lost(*_: Any, **__: Any) -> None:
        raise cause

    monkeypatch.setattr(accept, "accept", lost)
    unknown = isinstance(cause, OutcomeUnknown)
    said = "The e-mail may be stored" if unknown else "Nothing is stored"
    for key in (None, "k"):
        with pytest.raises(NotAcknowledged, match=said) as raised:
            await intake.accept(email_request(), client=CLIENT, idempotency_key=key)
        error = raised.value
        assert (error.cause, error.keyed) == (cause, key is not None)
        assert error.stored == ("unknown" if unknown else "no")
        assert (error.email_id is not None) == (unknown and key is None)
    assert intake.accepted == 0


async def test_client_within_its_rate_is_admitted(intake: Intake) -> None:
    slow = changed(CLIENT, rate=0.01)
    await intake.admit(slow, emails=0)
    await intake.admit(slow)
    with pytest.raises(RateExceeded):
        await intake.admit(slow)
    await intake.admit(CLIENT)


async def test_no_email_is_admitted_without_a_relay(store: Store, quota_guard: QuotaGuard) -> None:
    routes = load_routes(replace(store.settings, relay_url=""))
    with pytest.raises(NoRelay):
        await Intake(store, routes, quota_guard, UnsubscribeKeys(store)).admit(CLIENT)


async def test_no_email_is_admitted_while_etcd_is_nearly_full(
    intake: Intake, quota_guard: QuotaGuard
) -> None:
    quota_guard.full = True
    with pytest.raises(OutOfSpace):
        await intake.admit(CLIENT)
    quota_guard.full = False
    await intake.admit(CLIENT)


# --- links to unsubscribe ---


@pytest.fixture
def reached(store: Store, quota_guard: QuotaGuard) -> Intake:
    """Recipients reach this API."""
    settings = replace(store.settings, public_url="https://mail.example.com")
    own = Store(settings)
    own.client, own.batcher = store.client, store.batcher
    return Intake(own, load_routes(settings), quota_guard, UnsubscribeKeys(store))


async def test_email_names_the_url_and_the_key_of_its_links_and_its_list(
    reached: Intake, store: Store
) -> None:
    ids = [
        (await reached.accept(email_request(unsubscribe=wanted), client=CLIENT)).email_id
        for wanted in (UnsubscribeRequest("news"), True)
    ]
    key = await UnsubscribeKeys(store).current()
    for email_id, name in zip(ids, ("news", "*"), strict=True):
        view = await get_email(store, email_id)
        assert view is not None and view.content is not None and view.email.list == name
        assert view.content.unsubscribe == UnsubscribeLink(
            "https://mail.example.com/unsubscribe", key.kid
        )


async def test_batch_has_links_for_those_that_want_them_only(reached: Intake, store: Store) -> None:
    wants = email_request(unsubscribe=UnsubscribeRequest("news"))
    batch = await reached.accept_batch([email_request(), wants], client=CLIENT)
    for item, name in zip(batch.items, ("", "news"), strict=True):
        assert item.email_id is not None
        view = await get_email(store, item.email_id)
        assert view is not None and view.content is not None and view.email.list == name
        assert (view.content.unsubscribe is not None) == bool(name)


async def test_email_without_a_link_needs_no_key(reached: Intake, store: Store) -> None:
    await reached.accept(email_request(), client=CLIENT)
    await reached.accept_batch([email_request()] * 2, client=CLIENT)
    keys = store.keys.unsubscribe_keys
    assert (await store.client.range(keys, range_end(keys))).kvs == []


async def test_email_whose_key_can_not_be_made_is_surely_not_stored(
    reached: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: UnsubscribeKeys) -> None:
        raise EtcdUnavailable("etcd is away")

    monkeypatch.setattr(UnsubscribeKeys, "current", away)
    with pytest.raises(NotAcknowledged) as refused:
        await reached.accept(email_request(unsubscribe=True), client=CLIENT)
    assert refused.value.stored == "no"
    with pytest.raises(NotAcknowledged):
        await reached.accept_batch([email_request(unsubscribe=True)], client=CLIENT)
