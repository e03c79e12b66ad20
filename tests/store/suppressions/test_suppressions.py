"""Addresses on lists: what takes whose place, what is taken off, an import."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from babygun.email.suppression import Suppression, parse_list_name, replaces
from babygun.errors import NotFound, OutcomeUnknown
from babygun.runtime.clock import utc_now
from babygun.store.access.clients import create_client, delete_client, is_there
from babygun.store.keys import range_end
from babygun.store.suppressions.suppressions import (
    Imported,
    NewSuppression,
    add,
    add_page,
    get_one,
    remove,
    until_of,
)
from tests.support.faulty_etcd import FaultyProcess
from tests.support.rig import Rig, changed
from tests.support.scraping import scraped

NOW = utc_now()
DAY = timedelta(days=1)
BOUNCE = Suppression("hard_bounce", NOW, NOW + 90 * DAY)
MANUAL = Suppression("manual", NOW)
UNSUBSCRIBE = Suppression("unsubscribe", NOW)
PAST = Suppression("manual", NOW - 2 * DAY, NOW - DAY)


@pytest.mark.parametrize(
    ("new", "old", "expected"),
    [
        (MANUAL, BOUNCE, True),
        (BOUNCE, MANUAL, False),
        (BOUNCE, PAST, True),
        (UNSUBSCRIBE, MANUAL, False),
        (MANUAL, MANUAL, False),
        (Suppression("hard_bounce", NOW, NOW + 92 * DAY), BOUNCE, True),
        (Suppression("hard_bounce", NOW, NOW + 90.5 * DAY), BOUNCE, False),
        (UNSUBSCRIBE, Suppression("manual", NOW, NOW + 7 * DAY), True),
        (BOUNCE, Suppression("manual", NOW, NOW + 7 * DAY), False),
    ],
)
def test_suppression_replaces_what_is_weaker(
    new: Suppression, old: Suppression, expected: bool
) -> None:
    assert replaces(new, old, NOW) is expected


@pytest.mark.parametrize("name", ["*", "news", "News_2.a-b", "x" * 64])
def test_name_of_a_list_is_taken_as_it_is(name: str) -> None:
    assert parse_list_name(name) == name


@pytest.mark.parametrize("name", ["", "a/b", "news letter", "x" * 65, "**", "ü"])
def test_name_of_a_list_that_no_key_can_hold_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="1 to 64 letters"):
        parse_list_name(name)


async def test_address_is_found_however_it_is_written(rig: Rig) -> None:
    await add(rig.store, "c:1", "Änn@Bücher.example", MANUAL)
    found = await get_one(rig.store, "c:1", "äNN@xn--bcher-kva.EXAMPLE")
    assert found == MANUAL
    assert await get_one(rig.store, "c:2", "Änn@Bücher.example") is None
    assert await get_one(rig.store, "c:1", "Änn@Bücher.example", list_name="news") is None


async def test_address_with_a_slash_has_a_key_that_can_be_parsed(rig: Rig) -> None:
    key = rig.store.keys.suppression("c:1", "news", "a/b@example.org")
    assert rig.store.keys.parse_suppression(key) == ("c:1", "news", "a/b@example.org")


async def test_bounce_never_takes_the_place_of_a_persons_word(rig: Rig) -> None:
    assert await add(rig.store, "c", "a@example.org", BOUNCE) == (BOUNCE, True)
    assert await add(rig.store, "c", "a@example.org", UNSUBSCRIBE) == (UNSUBSCRIBE, True)
    assert await add(rig.store, "c", "a@example.org", BOUNCE) == (UNSUBSCRIBE, False)
    assert await remove(rig.store, "c", "A@example.org") == UNSUBSCRIBE
    assert await remove(rig.store, "c", "a@example.org") is None


async def test_suppression_that_ends_is_on_a_lease_and_counts_no_more_after_its_end(
    rig: Rig,
) -> None:
    await add(rig.store, "c", "a@example.org", BOUNCE)
    await add(rig.store, "c", "b@example.org", MANUAL)
    await add(rig.store, "c", "c@example.org", PAST)
    prefix = rig.store.keys.client_suppressions("c")
    leases = [
        bool(kv.lease) for kv in (await rig.store.client.range(prefix, range_end(prefix))).kvs
    ]
    assert leases == [True, False, True]
    assert await get_one(rig.store, "c", "c@example.org") is None
    assert (await add(rig.store, "c", "c@example.org", BOUNCE))[1]


async def test_suppression_that_ends_after_the_longest_lease_is_on_none(rig: Rig) -> None:
    long = Suppression("manual", NOW, NOW + 400 * DAY)
    short = Suppression("manual", NOW, NOW + DAY)
    await add(rig.store, "c", "a@example.org", long)
    page = [NewSuppression("b@example.org", long), NewSuppression("c@example.org", short)]
    await add_page(rig.store, "c", page)
    prefix = rig.store.keys.client_suppressions("c")
    found = (await rig.store.client.range(prefix, range_end(prefix))).kvs
    assert [bool(kv.lease) for kv in found] == [False, False, True]


async def test_until_follows_the_settings(rig: Rig) -> None:
    settings = changed(rig.settings, suppress_hard_bounces=60.0, suppress_others=0.0)
    assert until_of(settings, "hard_bounce", NOW) == NOW + timedelta(seconds=60)
    assert until_of(settings, "complaint", NOW) is None
    settings = changed(settings, suppress_others=120.0)
    assert until_of(settings, "complaint", NOW) == NOW + timedelta(seconds=120)


async def test_import_of_a_page_twice_writes_once(rig: Rig) -> None:
    earlier = scraped("api")
    page = [NewSuppression(f"a{n}@example.org", BOUNCE) for n in range(990)]
    page += [NewSuppression(f"A{n}@example.org", BOUNCE) for n in range(10)]
    await add(rig.store, "c", "a7@example.org", UNSUBSCRIBE)
    assert await add_page(rig.store, "c", page) == Imported(989, 1)
    prefix = rig.store.keys.client_suppressions("c")
    before = (await rig.store.client.range(prefix, range_end(prefix))).kvs
    assert len(before) == 990
    assert await add_page(rig.store, "c", page) == Imported(0, 990)
    assert (await rig.store.client.range(prefix, range_end(prefix))).kvs == before
    assert await get_one(rig.store, "c", "a7@example.org") == UNSUBSCRIBE
    counted, later = "babygun_suppressions_written_total", scraped("api")
    assert later.since(earlier, counted, reason="hard_bounce") == 989
    assert later.since(earlier, counted, reason="unsubscribe") == 1


async def test_import_of_a_page_whose_answer_is_lost_can_be_repeated(rig: Rig) -> None:
    page = [NewSuppression(f"a{n}@example.org", MANUAL, "news") for n in range(200)]
    process = FaultyProcess(rig.settings)
    await process.store.start()
    try:
        with pytest.raises(OutcomeUnknown):
            await process.do(lambda store: add_page(store, "c", page), faults={2: "unanswered"})
        assert await add_page(process.store, "c", page) == Imported(0, 200)
    finally:
        await process.close()


async def test_two_that_add_at_once_agree(rig: Rig) -> None:
    many = [Suppression("manual", NOW + timedelta(seconds=n)) for n in range(8)]
    results = await asyncio.gather(*(add(rig.store, "c", "a@example.org", one) for one in many))
    assert len({found.since for found, _ in results}) == 1


async def test_client_that_is_deleted_during_an_import_gets_no_suppression(rig: Rig) -> None:
    client, _ = await create_client(rig.store, name="shop", scopes=())
    there = [await is_there(rig.store, client.identity)]
    page = [NewSuppression(f"a{n}@example.org", MANUAL) for n in range(200)]
    assert (await add_page(rig.store, client.identity, page, compares=there)).added == 200
    await delete_client(rig.store, client.id)
    with pytest.raises(NotFound):
        await add_page(rig.store, client.identity, page, compares=there)
    with pytest.raises(NotFound):
        await add(rig.store, client.identity, "b@example.org", MANUAL, compares=there)
    with pytest.raises(NotFound):
        await is_there(rig.store, client.identity)
    prefix = rig.store.keys.client_suppressions(client.identity)
    assert not (await rig.store.client.range(prefix, range_end(prefix))).kvs
