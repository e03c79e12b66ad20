"""Sending domains: made, shared, verified, given new keys, deleted."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from babygun.email.sending_domains import KEPT, DnsRecord, Verified
from babygun.errors import Conflict, EtcdUnavailable, NoSealingKey, NotFound, OutcomeUnknown
from babygun.runtime.clock import utc_now
from babygun.runtime.settings import Settings
from babygun.store import Store
from babygun.store.access.clients import delete_client
from babygun.store.domains import change
from babygun.store.domains.change import (
    checked,
    create_domain,
    delete_domain,
    list_domains,
    read_domain,
    rotate_keys,
    share_domain,
)
from tests.store.domains.steps import NAME, client_of, new_domain, seen_in_dns
from tests.support.faulty_etcd import FAULTS, Died, Fault, FaultyProcess, faulty
from tests.support.invariants import check_invariants

DAY = timedelta(days=1)


async def test_domain_is_made_with_a_sealed_key_of_each_algorithm(store: Store) -> None:
    client = await client_of(store, "shop")
    domain = await create_domain(store, NAME, [client], algorithms=("rsa2048", "ed25519"))
    assert await read_domain(store, NAME) == domain and domain.clients == (client,)
    assert [one.algorithm for one in domain.selectors] == ["rsa2048", "ed25519"]
    assert {one.state for one in domain.selectors} == {"new"} and domain.status == "pending"
    assert store.domains.covering(client, f"news.{NAME}") == domain, "known here at once"
    await check_invariants(store)


async def test_domain_without_a_sealing_key_is_not_made_and_the_error_names_the_setting(
    settings: Settings,
) -> None:
    async with Store(settings) as store:
        client = await client_of(store, "shop")
        with pytest.raises(NoSealingKey, match="secrets_key_file or secrets_keys"):
            await new_domain(store, client)
        assert not await list_domains(store)


async def test_domain_of_no_client_or_of_an_earlier_one_is_not_made(store: Store) -> None:
    client = await client_of(store, "shop")
    for identity in ("nobody", f"{client}x"):
        with pytest.raises(NotFound):
            await new_domain(store, identity)
    assert not await list_domains(store)


@pytest.mark.parametrize("name", [NAME, f"news.{NAME}", "com.example.com"])
async def test_domain_of_another_client_or_below_it_is_refused(store: Store, name: str) -> None:
    await new_domain(store, await client_of(store, "shop"))
    other = await client_of(store, "other")
    with pytest.raises(Conflict, match="another client holds") as refused:
        await new_domain(store, other, name)
    assert "shop" not in str(refused.value)
    assert [one.name for one in await list_domains(store)] == [NAME]


async def test_domain_above_one_of_another_client_is_refused(store: Store) -> None:
    await new_domain(store, await client_of(store, "shop"), f"shop.{NAME}")
    with pytest.raises(Conflict, match="another client holds"):
        await new_domain(store, await client_of(store, "other"), NAME)


async def test_operator_makes_a_domain_below_one_of_another_client(store: Store) -> None:
    await new_domain(store, await client_of(store, "shop"))
    other = await client_of(store, "other")
    made = await create_domain(
        store, f"news.{NAME}", [other], algorithms=("ed25519",), by_operator=True
    )
    assert store.domains.covering(other, f"a.news.{NAME}") == made


async def test_client_makes_domains_below_its_own_and_none_twice(store: Store) -> None:
    client = await client_of(store, "shop")
    await new_domain(store, client)
    below = await new_domain(store, client, f"news.{NAME}")
    assert store.domains.covering(client, f"a.news.{NAME}") == below, "the nearest counts"
    with pytest.raises(Conflict, match="already"):
        await new_domain(store, client)


async def test_name_and_its_parent_made_at_once_by_two_clients_is_one_clients(
    store: Store,
) -> None:
    clients = [await client_of(store, name) for name in ("a", "b", "c")]
    names = [NAME, f"news.{NAME}", NAME]
    made = await asyncio.gather(
        *(new_domain(store, client, name) for client, name in zip(clients, names, strict=True)),
        return_exceptions=True,
    )
    assert sum(isinstance(one, Conflict) for one in made) == 2
    assert len(await list_domains(store)) == 1
    await check_invariants(store)


async def test_client_has_a_most_of_domains(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(change, "MOST_DOMAINS", 2)
    client, other = await client_of(store, "shop"), await client_of(store, "other")
    for name in ("a.example", "b.example"):
        await new_domain(store, client, name)
    with pytest.raises(Conflict, match="shop has 2 domains already"):
        await new_domain(store, client, "c.example")
    await new_domain(store, other, "d.example")
    with pytest.raises(Conflict, match="shop has 2 domains already"):
        await share_domain(store, "d.example", [client, other])
    assert (await share_domain(store, "a.example", [client, other])).clients == (client, other)


async def test_domain_is_made_once_or_not_at_all_whatever_becomes_of_the_requests(
    store: Store,
) -> None:
    client = await client_of(store, "shop")
    for fault in FAULTS:
        for number in (1, 2, 3):
            await _make_with_fault(store, client, number, fault)


async def _make_with_fault(store: Store, client: str, number: int, fault: Fault) -> None:
    process = FaultyProcess(store.settings)
    await process.store.start()

    async def make(own: Store) -> Any:
        return await new_domain(own, client)

    made = None
    try:
        made = await process.do(make, faults={number: fault})
    except (EtcdUnavailable, OutcomeUnknown, Died):
        pass
    for late in process.late:
        await process.arrive(late)
    await process.close()
    there = await list_domains(store)
    assert len(there) <= 1
    if made:
        assert there == [made], f"{fault} of request {number}"
    await check_invariants(store)
    await delete_domain(store, NAME)


async def test_domain_given_to_another_client_is_the_first_ones_no_more(store: Store) -> None:
    client, other = await client_of(store, "shop"), await client_of(store, "other")
    await new_domain(store, client)
    given = await share_domain(store, NAME, [other])
    assert given.clients == (other,)
    assert store.domains.covering(client, NAME) is None
    assert store.domains.covering(other, NAME) == given
    with pytest.raises(NotFound):
        await share_domain(store, NAME, ["nobody"])
    with pytest.raises(NotFound, match=r"b\.example"):
        await share_domain(store, "b.example", [other])
    await check_invariants(store)


async def test_domain_is_not_given_to_a_client_that_is_deleted_meanwhile(store: Store) -> None:
    client, other = await client_of(store, "shop"), await client_of(store, "other")
    domain = await new_domain(store, client)

    async def delete() -> None:
        await delete_client(store, "other")

    async with faulty(store.settings) as process:
        with pytest.raises(NotFound):
            await process.do(
                lambda own: share_domain(own, NAME, [client, other]), meanwhile={4: delete}
            )
    assert await read_domain(store, NAME) == domain


async def test_key_signs_once_it_is_seen_and_goes_when_its_mail_has_arrived(
    store: Store,
) -> None:
    now = utc_now()
    first = await new_domain(store, await client_of(store, "shop"))
    assert [one.state for one in (await seen_in_dns(store, first, now)).selectors] == ["signing"]
    rotated = await rotate_keys(store, NAME)
    assert [one.state for one in rotated.selectors] == ["signing", "new"]
    await check_invariants(store)
    unseen = await checked(store, NAME, (), "failed", {first.selectors[0].name}, now + DAY)
    assert [one.state for one in unseen.selectors] == ["signing", "new"]
    seen = await seen_in_dns(store, rotated, now + 2 * DAY)
    assert [one.state for one in seen.selectors] == ["old", "signing"]
    last = await seen_in_dns(store, rotated, now + 2 * DAY + KEPT)
    assert [one.name for one in last.selectors] == [rotated.selectors[1].name]
    await check_invariants(store)  # the key is gone, too


async def test_rotation_twice_replaces_the_key_that_has_never_signed(store: Store) -> None:
    await seen_in_dns(store, await new_domain(store, await client_of(store, "shop")))
    first = await rotate_keys(store, NAME)
    second = await rotate_keys(store, NAME, ("rsa2048", "ed25519"))
    assert [one.state for one in second.selectors] == ["signing", "new", "new"]
    assert first.selectors[1].name not in {one.name for one in second.selectors}
    await check_invariants(store)


async def test_look_is_written_with_what_it_found(store: Store) -> None:
    domain = await new_domain(store, await client_of(store, "shop"))
    record = DnsRecord("spf", "TXT", NAME, "v=spf1 ~all", "wrong", ("v=spf1 -all",), "Wrong.")
    now = utc_now()
    after = await checked(store, NAME, [record], "failed", (), now)
    assert after.verified == Verified(now, "failed", (record,)) and after.status == "failed"
    assert after.updated_at == domain.updated_at, "nobody has changed it"
    assert await read_domain(store, NAME) == after


async def test_looks_and_changes_at_once_are_all_kept(store: Store) -> None:
    client, other = await client_of(store, "shop"), await client_of(store, "other")
    domain = await new_domain(store, client)
    await asyncio.gather(
        share_domain(store, NAME, [client, other]),
        seen_in_dns(store, domain),
        rotate_keys(store, NAME),
    )
    after = await read_domain(store, NAME)
    assert after and after.clients == (client, other) and after.status == "verified"
    await check_invariants(store)


async def test_domain_that_is_gone_can_not_be_changed_and_is_deleted_once(store: Store) -> None:
    await new_domain(store, await client_of(store, "shop"))
    assert await delete_domain(store, NAME)
    assert store.domains.get(NAME) is None
    assert not await delete_domain(store, NAME)
    for changing in (
        rotate_keys(store, NAME),
        checked(store, NAME, (), "verified", (), utc_now()),
    ):
        with pytest.raises(NotFound):
            await changing
    seen = await check_invariants(store)
    assert not seen.domains.sealed


async def test_holder_deletes_a_domain_only_if_it_is_the_only_one(store: Store) -> None:
    client, other = await client_of(store, "shop"), await client_of(store, "other")
    await new_domain(store, client)
    await share_domain(store, NAME, [client, other])
    with pytest.raises(Conflict, match="an operator can delete it"):
        await delete_domain(store, NAME, holder=client)
    await share_domain(store, NAME, [client])
    assert await delete_domain(store, NAME, holder=client)


async def test_domain_written_by_hand_holds_up_no_other(store: Store) -> None:
    await store.client.put(store.keys.domain("by-hand.example"), b"by hand")
    domain = await new_domain(store, await client_of(store, "shop"))
    assert await list_domains(store) == [domain]
    assert await read_domain(store, "by-hand.example") is None
