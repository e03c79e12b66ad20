"""New e-mails: lost answers, Idempotency-Keys, large contents."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from itertools import product
from typing import Any

import pytest
from msgspec.structs import replace

from babygun.email.model import Content, Email
from babygun.errors import Conflict, EtcdUnavailable, OutcomeUnknown, OutOfSpace
from babygun.runtime.clock import utc_now
from babygun.store import Store
from babygun.store.emails import acceptance, on_request
from babygun.store.emails.acceptance import Accepted
from babygun.store.emails.finish import finish
from babygun.store.emails.new_email import prepare
from babygun.store.suppressions.suppressions import remove
from tests.store.emails.steps import OK, claimed, pending
from tests.support.faulty_etcd import FaultyProcess
from tests.support.invariants import check_invariants
from tests.support.processes import PATIENCE
from tests.support.proxy import proxy_to
from tests.support.rig import Rig, changed, rig_for


async def _accept(store: Store, email: Email, content: Content, **key: str) -> Accepted:
    return await acceptance.accept(store, "client", prepare(store, email, content), **key)


async def test_accept_whose_answer_is_lost_is_stored_once(rig: Rig) -> None:
    async with (
        proxy_to(rig.settings.etcd_endpoints[0]) as proxy,
        rig_for(changed(rig.settings, etcd_endpoints=(proxy.url,), etcd_timeout=PATIENCE)) as far,
    ):
        await far.store.client.get(b"/warm")
        proxy.swallow_answers()
        sending = asyncio.create_task(far.send("ann@example.org"))
        await rig.written(rig.store.keys.emails)
        proxy.cut()
        proxy.mend()
        email_id = await asyncio.wait_for(sending, PATIENCE)
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
    monkeypatch.setattr(acceptance, "_PAUSE", 600.0)  # one try, so its error is the last one
    async with rig_for(rig.settings) as own:
        monkeypatch.setattr(own.store.client, "get", away)
        with pytest.raises(OutcomeUnknown, match="away"):
            await _accept(own.store, email, content)


async def test_accept_of_a_large_email_whose_chunks_are_gone_is_unknown_and_stores_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forgotten(store: Store, chunks: object) -> int:
        return await store.client.grant(600)

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


async def _stored(rig: Rig, email: Email) -> tuple[str, list[str]]:
    found = await rig.get(email.id)
    return found.status, [r.status for r in found.recipients]


async def test_accept_leaves_out_who_is_suppressed_and_says_so(rig: Rig) -> None:
    await rig.suppress("bob@example.org")
    email, content = rig.email("ann@example.org", "Bob@example.org")
    assert await _accept(rig.store, email, content) == Accepted(
        email.id, (1,), suppressed_for=("manual",)
    )
    assert await _stored(rig, email) == ("incomplete", ["pending", "suppressed"])
    await check_invariants(rig.store)
    done = await finish(rig.store, [pending(await claimed(rig, email.id), OK)])
    assert done.email is not None and done.email.status == "complete"
    assert [r.status for r in (await rig.get(email.id)).recipients] == ["delivered", "suppressed"]
    assert await rig.events(email.id) == ["accepted", "delivered"]
    await check_invariants(rig.store)


async def test_accept_of_an_email_that_nobody_may_get_is_final_at_once(rig: Rig) -> None:
    await rig.suppress("ann@example.org")
    email, content = rig.email("ann@example.org", send_at=utc_now() + timedelta(hours=1))
    assert await _accept(rig.store, email, content) == Accepted(
        email.id, (0,), suppressed_for=("manual",)
    )
    seen = await check_invariants(rig.store)
    assert seen.emails[email.id].status_reason == "all recipients suppressed"
    assert seen.leases[email.id] and seen.ends[email.id] == "undelivered"
    assert (seen.jobs, seen.waiting, seen.failed) == (set(), set(), {email.id})
    with pytest.raises(Conflict, match="are suppressed"):
        await on_request.retry(rig.store, email.id)


async def test_accept_takes_another_lease_where_its_own_was_revoked(rig: Rig) -> None:
    """An e-mail that is final at once needs one, and shedding revokes leases."""
    await rig.suppress("ann@example.org")
    lease = await rig.store.record_leases.lease(1)
    await rig.store.client.revoke(lease)
    email, content = rig.email("ann@example.org")
    await _accept(rig.store, email, content, idempotency_key="k", fingerprint="f")
    assert (await check_invariants(rig.store)).leases[email.id] not in (0, lease)


async def test_accept_goes_to_an_address_whose_suppression_has_ended(rig: Rig) -> None:
    past = utc_now() - timedelta(days=1)
    await rig.suppress("ann@example.org", since=past, until=past)
    email, content = rig.email("ann@example.org")
    assert await _accept(rig.store, email, content) == Accepted(email.id)
    assert await _stored(rig, email) == ("incomplete", ["pending"])


async def test_accept_that_ignores_suppressions_goes_to_all(rig: Rig) -> None:
    await rig.suppress("ann@example.org")
    email, content = rig.email("ann@example.org", ignore_suppressions=True)
    assert await _accept(rig.store, email, content) == Accepted(email.id)
    assert await _stored(rig, email) == ("incomplete", ["pending"])


@pytest.mark.parametrize("recipients", [1, 16, 17, 40])
async def test_accept_misses_no_suppression_whatever_the_number_of_recipients(
    rig: Rig, recipients: int
) -> None:
    await rig.suppress("a0@example.org", list_name="news")
    email, content = rig.email(*(f"a{n}@example.org" for n in range(recipients)))
    email = replace(email, list="news")
    assert (await _accept(rig.store, email, content)).suppressed == (0,)
    large, content = rig.email("a0@example.org", body="x" * 2_000_000)
    large = replace(large, list="news")
    assert (await _accept(rig.store, large, content)).suppressed == (0,)
    await check_invariants(rig.store)


async def test_accept_of_a_wide_email_leaves_whole_queues_out(rig: Rig) -> None:
    email, content = rig.wide_email(20)
    await rig.suppress("ann@d0003.example")
    assert (await _accept(rig.store, email, content)).suppressed == (3,)
    seen = await check_invariants(rig.store)
    assert len(seen.jobs) == 19
    for number in range(20):
        await rig.suppress(f"ann@d{number:04}.example")
    email, content = rig.wide_email(20)
    assert (await _accept(rig.store, email, content)).suppressed == tuple(range(20))
    seen = await check_invariants(rig.store)
    assert seen.emails[email.id].status == "failed" and len(seen.jobs) == 19


async def test_repeated_accept_says_who_was_suppressed_at_first(rig: Rig) -> None:
    await rig.suppress("ann@example.org")
    first, content = rig.email("ann@example.org", "bob@example.org")
    one = await _accept(rig.store, first, content, idempotency_key="k", fingerprint="f")
    await remove(rig.store, "client", "ann@example.org")
    await rig.suppress("bob@example.org")
    again, _ = rig.email("ann@example.org", "bob@example.org")
    two = await _accept(rig.store, again, content, idempotency_key="k", fingerprint="f")
    assert (one.suppressed, two.suppressed, two.repeated) == ((0,), (0,), True)


async def test_accept_whose_answers_are_lost_knows_whom_it_left_out(rig: Rig) -> None:
    """Whichever answer is lost: the e-mail is stored once, and as the answer says."""
    await rig.suppress("ann@example.org")
    for number in range(1, 5):
        email, content = rig.email("ann@example.org", "bob@example.org")
        process = FaultyProcess(rig.settings)
        await process.store.start()
        try:
            accepted = await process.do(
                lambda store, e=email, c=content: _accept(store, e, c),
                faults={number: "unanswered"},
            )
        except (EtcdUnavailable, OutcomeUnknown):
            continue
        finally:
            await process.close()
        assert accepted == Accepted(email.id, (0,), suppressed_for=("manual",))
        assert await _stored(rig, email) == ("incomplete", ["suppressed", "pending"])
    await check_invariants(rig.store)


@pytest.mark.parametrize("key", [None, "k"])
@pytest.mark.parametrize("body", ["Hello\n", "x" * 1_000_000])
async def test_accept_that_a_full_etcd_has_done_is_never_said_to_be_undone(
    rig: Rig, body: str, key: str | None
) -> None:
    """Whichever request says that etcd is full, and whether the next one is answered."""
    for number, then in product(range(1, 8), (None, "refused", "full")):
        email, content = rig.email("ann@example.org", body=body)
        own = {} if key is None else {"idempotency_key": f"{number}{then}"}
        process = FaultyProcess(changed(rig.settings, etcd_timeout=0.3))
        await process.store.start()
        faults: dict[int, Any] = {number: "full"}
        if then:
            faults |= dict.fromkeys(range(number + 1, number + 40), then)
        said = "accepted"
        try:
            accepting = partial(_accept, email=email, content=content, **own)
            await process.do(accepting, faults=faults)
        except OutcomeUnknown:
            said = "unknown"
        except (EtcdUnavailable, OutOfSpace):
            said = "not stored"
        finally:
            await process.close()
        stored = email.id in (await check_invariants(rig.store)).emails
        assert said == "unknown" or stored == (said == "accepted"), f"{number}, then {then}: {said}"
