"""New e-mails: lost answers, Idempotency-Keys, large contents."""

from __future__ import annotations

import asyncio

import pytest

from babygun.email.model import Content, Email
from babygun.errors import Conflict, EtcdUnavailable, OutcomeUnknown
from babygun.store import Store
from babygun.store.emails import acceptance
from babygun.store.emails.acceptance import Accepted
from babygun.store.emails.new_email import prepare
from tests.store.emails.steps import claimed
from tests.support.invariants import check_invariants
from tests.support.proxy import proxy_to
from tests.support.rig import Rig, changed, rig_for


async def _accept(store: Store, email: Email, content: Content, **key: str) -> Accepted:
    return await acceptance.accept(store, "client", prepare(store, email, content), **key)


async def test_accept_whose_answer_is_lost_is_stored_once(rig: Rig) -> None:
    async with (
        proxy_to(rig.settings.etcd_endpoints[0]) as proxy,
        rig_for(changed(rig.settings, etcd_endpoints=(proxy.url,), etcd_timeout=10.0)) as far,
    ):
        await far.store.client.get(b"/warm")
        proxy.swallow_answers()
        sending = asyncio.create_task(far.send("ann@example.org"))
        await rig.written(rig.store.keys.emails)
        proxy.cut()
        proxy.mend()
        email_id = await asyncio.wait_for(sending, 20)
    seen = await check_invariants(rig.store)
    assert list(seen.emails) == [email_id]


async def test_accept_of_what_is_stored_already_is_no_error_and_stores_nothing_more(
    rig: Rig,
) -> None:
    email, content = rig.email("ann@example.org")
    for _ in range(2):
        assert await _accept(rig.store, email, content) == Accepted(email.id)
    assert await rig.events(email.id) == ["accepted"]


async def test_accept_that_is_refused_and_can_not_be_read_back_is_unknown(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(key: bytes) -> None:
        raise EtcdUnavailable("away")

    email, content = rig.email("ann@example.org")
    await _accept(rig.store, email, content)
    async with rig_for(changed(rig.settings, etcd_timeout=0.2)) as hasty:
        await hasty.store.client.grant(5)  # it is connected now
        monkeypatch.setattr(hasty.store.client, "get", away)
        with pytest.raises(OutcomeUnknown, match="away"):
            await _accept(hasty.store, email, content)


async def test_accept_of_a_large_email_whose_chunks_are_gone_is_unknown_and_stores_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forgotten(store: Store, chunks: object) -> int:
        return await store.client.grant(60)

    monkeypatch.setattr(acceptance, "_upload", forgotten)
    with pytest.raises(OutcomeUnknown, match="expired"):
        await rig.send("ann@example.org", body="x" * 2_000_000)
    assert not (await check_invariants(rig.store)).emails


async def test_accept_with_a_known_idempotency_key_returns_the_first_email(rig: Rig) -> None:
    first, content = rig.email("ann@example.org")
    again, _ = rig.email("ann@example.org")
    one = await _accept(rig.store, first, content, idempotency_key="k/1", fingerprint="f")
    two = await _accept(rig.store, again, content, idempotency_key="k/1", fingerprint="f")
    assert (one.repeated, two.repeated, one.email_id) == (False, True, two.email_id)
    with pytest.raises(Conflict):
        await _accept(rig.store, again, content, idempotency_key="k/1", fingerprint="other")
    assert len((await check_invariants(rig.store)).emails) == 1


async def test_accept_at_once_with_one_idempotency_key_stores_one_email(rig: Rig) -> None:
    emails = [rig.email("ann@example.org") for _ in range(20)]
    results = await asyncio.gather(
        *(
            _accept(rig.store, e, content, idempotency_key="k", fingerprint="f")
            for e, content in emails
        )
    )
    assert len({r.email_id for r in results}) == 1 and sum(not r.repeated for r in results) == 1
    assert len((await check_invariants(rig.store)).emails) == 1


async def test_accept_of_a_large_email_takes_its_chunks_off_the_upload_lease(rig: Rig) -> None:
    email_id = await rig.send("ann@example.org", body="x" * 3_000_000)
    chunks = await rig.store.client.range(
        rig.store.keys.content(email_id), rig.store.keys.content(email_id) + b"\xff"
    )
    assert len(chunks.kvs) == 4 and {kv.lease for kv in chunks.kvs} == {0}
    assert (await claimed(rig, email_id)).content.body == "x" * 3_000_000


async def test_accept_of_a_large_email_that_is_refused_leaves_no_chunk(rig: Rig) -> None:
    email, content = rig.email("ann@example.org", body="x" * 2_000_000)
    await _accept(rig.store, email, content, idempotency_key="k", fingerprint="f")
    other, content = rig.email("ann@example.org", body="y" * 2_000_000)
    with pytest.raises(Conflict):
        await _accept(rig.store, other, content, idempotency_key="k", fingerprint="g")
    assert list((await check_invariants(rig.store)).chunks) == [email.id]
