"""What a deleted client or webhook leaves: page by page, after a crash too."""

from __future__ import annotations

import pytest

from babygun.email.suppression import Suppression
from babygun.runtime.clock import utc_now
from babygun.store import Store
from babygun.store.access.clients import create_client, delete_client
from babygun.store.domains.change import share_domain
from babygun.store.suppressions import suppressions
from babygun.store.upkeep import removal
from babygun.store.webhooks.change import create_webhook, delete_webhook
from babygun.store.webhooks.records import Webhook
from tests.store.domains.steps import client_of, new_domain, sealing
from tests.store.webhooks.steps import URL, new_webhook
from tests.support.faulty_etcd import Died, FaultyProcess
from tests.support.invariants import check_invariants
from tests.support.rig import Rig


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "PAGE", 2)
    monkeypatch.setattr(removal, "CALL_PAGES", 2)
    monkeypatch.setattr(removal, "ROUND_PAGES", 3)


async def _keys_of(rig: Rig, webhook: Webhook) -> list[bytes]:
    return [key for key in (await check_invariants(rig.store)).keys if webhook.id.encode() in key]


async def test_webhook_with_many_notices_goes_page_by_page(rig: Rig, small_pages: None) -> None:
    webhook = await new_webhook(rig.store)
    for _ in range(12):
        await rig.send("ann@example.org")
    assert await delete_webhook(rig.store, "client", webhook.id)
    assert len(await _keys_of(rig, webhook)) == 12 - 4 + 1, "with the key of the removal"
    await removal.go_on(rig.store)
    assert len(await _keys_of(rig, webhook)) == 12 - 4 - 6 + 1
    await removal.go_on(rig.store)
    assert not await _keys_of(rig, webhook)


async def test_client_takes_all_that_it_has_along(rig: Rig) -> None:
    client, _ = await create_client(rig.store, name="app", scopes=("webhooks",), client_id="app")
    other, _ = await create_client(rig.store, name="app2", scopes=("webhooks",), client_id="app2")
    for one in (client, other):
        for _ in range(2):
            await create_webhook(rig.store, one.identity, url=URL)
        suppression = Suppression("manual", utc_now())
        await suppressions.add(rig.store, one.identity, "ann@example.org", suppression)
    assert await delete_client(rig.store, "app")
    seen = await check_invariants(rig.store)
    assert not [key for key in seen.keys if client.identity.encode() in key]
    assert {client_id for client_id, _ in seen.outbox.webhooks.values()} == {other.identity}
    assert len([key for key in seen.keys if key.startswith(rig.store.keys.suppressions)]) == 1
    again, _ = await create_client(rig.store, name="app", scopes=("webhooks",), client_id="app")
    assert again.identity != client.identity


@pytest.mark.parametrize("number", range(1, 9))
async def test_deletion_amid_which_the_process_dies_is_completed(
    rig: Rig, small_pages: None, number: int
) -> None:
    webhook = await new_webhook(rig.store)
    for _ in range(6):
        await rig.send("ann@example.org")
    process = FaultyProcess(rig.settings)
    await process.store.start()
    try:
        await process.do(
            lambda store: delete_client(store, "client"), faults={number: "dies_after"}
        )
    except Died:
        pass
    await process.close()
    if await rig.store.client.get(rig.store.keys.client("client")) is None:
        for _ in range(3):
            await removal.go_on(rig.store)
        assert not await _keys_of(rig, webhook)
    else:
        assert number < 3, "it died before it had deleted anything"
        assert len((await check_invariants(rig.store)).outbox.notices) == 6


async def test_removal_is_completed_by_a_worker(rig: Rig) -> None:
    webhook = await new_webhook(rig.store)
    await rig.send("ann@example.org")
    process = FaultyProcess(rig.settings)
    await process.store.start()
    with pytest.raises(Died):
        await process.do(
            lambda store: delete_webhook(store, "client", webhook.id), faults={2: "dies_after"}
        )
    await process.close()
    assert await rig.store.client.get(rig.store.keys.removal(webhook.id))
    async with rig.worker():
        await rig.emptied(rig.store.keys.removals)
    assert not await _keys_of(rig, webhook)


async def test_removal_written_by_hand_holds_up_no_other(rig: Rig, small_pages: None) -> None:
    by_hand = rig.store.keys.removal("a")
    await rig.store.client.put(by_hand, b"by hand")
    webhook = await new_webhook(rig.store)
    for _ in range(5):
        await rig.send("ann@example.org")
    await delete_webhook(rig.store, "client", webhook.id)
    await removal.go_on(rig.store)
    await rig.store.client.delete(by_hand)
    assert not await _keys_of(rig, webhook)


async def _shared_and_own(rig: Rig) -> tuple[str, str]:
    """The identities of two clients: one with a domain of its own, and one that both hold."""
    app, other = await client_of(rig.store, "app"), await client_of(rig.store, "other")
    async with Store(sealing(rig.settings)) as store:
        await new_domain(store, app, "own.example")
        await new_domain(store, app, "shared.example")
        await share_domain(store, "shared.example", [app, other])
    return app, other


async def test_client_takes_its_domains_along_but_not_those_of_others(rig: Rig) -> None:
    app, other = await _shared_and_own(rig)
    assert await delete_client(rig.store, "app")
    seen = await check_invariants(rig.store)
    assert {name: one.clients for name, one in seen.domains.domains.items()} == {
        "shared.example": (other,)
    }
    assert {name for name, _ in seen.domains.sealed} == {"shared.example"}
    assert not [key for key in seen.keys if app.encode() in key]


@pytest.mark.parametrize("number", range(3, 8))
async def test_domains_of_a_client_whose_deletion_broke_off_go_later(rig: Rig, number: int) -> None:
    _, other = await _shared_and_own(rig)
    process = FaultyProcess(rig.settings)
    await process.store.start()
    try:
        await process.do(lambda store: delete_client(store, "app"), faults={number: "dies_after"})
    except Died:
        pass
    await process.close()
    assert await rig.store.client.get(rig.store.keys.client("app")) is None
    await removal.go_on(rig.store)
    seen = await check_invariants(rig.store)
    assert [one.clients for one in seen.domains.domains.values()] == [(other,)]
    assert not [key for key in seen.keys if key.startswith(rig.store.keys.removals)]


async def test_domain_that_another_call_changes_at_the_same_time_is_given_up_later(
    rig: Rig,
) -> None:
    app, other = await _shared_and_own(rig)
    process = FaultyProcess(rig.settings)
    await process.store.start()
    key = rig.store.keys.domain("shared.example")

    async def touch() -> None:
        found = await rig.store.client.get(key)
        assert found
        await rig.store.client.put(key, found.value)

    # The requests: the client, its webhooks, the deletion, the removal, the domains, own, shared.
    await process.do(lambda store: delete_client(store, "app"), meanwhile={7: touch})
    await process.close()
    seen = await check_invariants(rig.store)
    assert seen.domains.domains["shared.example"].clients == (app, other)
    await removal.go_on(rig.store)
    seen = await check_invariants(rig.store)
    assert seen.domains.domains["shared.example"].clients == (other,)
    assert not [key for key in seen.keys if key.startswith(rig.store.keys.removals)]
