"""Addresses on lists: what takes whose place, what is taken off, an import."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from babygun.email.suppression import Suppression, parse_list_name, replaces
from babygun.errors import Conflict, NotFound, OutcomeUnknown
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
from tests.support.faulty_etcd import Fault, faulty
from tests.support.rig import Rig, changed
from tests.support.scraping import scraped

NOW = utc_now()
DAY = timedelta(days=1)
BOUNCE = Suppression("hard_bounce", NOW, NOW + 90 * DAY)
MANUAL = Suppression("manual", NOW)
MANUAL_FOR_A_WEEK = Suppression("manual", NOW, NOW + 7 * DAY)
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


def _page(word: Suppression, size: int = 1) -> list[NewSuppression]:
    return [NewSuppression(f"a{n}@example.org", word) for n in range(size)]


@pytest.mark.parametrize("size", [1, 200])
@pytest.mark.parametrize(
    ("before", "after", "stands"),
    [
        (BOUNCE, None, UNSUBSCRIBE),
        (None, BOUNCE, UNSUBSCRIBE),
        (MANUAL_FOR_A_WEEK, None, UNSUBSCRIBE),
        (None, MANUAL_FOR_A_WEEK, UNSUBSCRIBE),
        (BOUNCE, MANUAL, MANUAL),
        (None, MANUAL, MANUAL),
    ],
)
async def test_import_says_that_it_added_what_is_there_by_it_alone(
    rig: Rig,
    size: int,
    before: Suppression | None,
    after: Suppression | None,
    stands: Suppression,
) -> None:
    """Another changes an address between the import's read and its write."""
    address, earlier = f"a{size - 1}@example.org", scraped("api")
    if before:
        await add(rig.store, "c", address, before)

    async def change() -> None:
        if before:
            await remove(rig.store, "c", address)
        if after:
            await add(rig.store, "c", address, after)

    async with faulty(rig.settings) as process:
        stored = await process.do(
            lambda store: add_page(store, "c", _page(UNSUBSCRIBE, size)), meanwhile={2: change}
        )
    added = size if stands == UNSUBSCRIBE else size - 1
    assert stored == Imported(added, size - added)
    assert await get_one(rig.store, "c", address) == stands
    counted = scraped("api").since(
        earlier, "babygun_suppressions_written_total", reason="unsubscribe"
    )
    assert counted == added


async def test_two_imports_at_once_leave_the_word_that_replaces_the_other(rig: Rig) -> None:
    async def other() -> None:
        assert await add_page(rig.store, "c", _page(MANUAL_FOR_A_WEEK, 50)) == Imported(50, 0)

    async with faulty(rig.settings) as process:
        stored = await process.do(
            lambda store: add_page(store, "c", _page(UNSUBSCRIBE, 200)), meanwhile={2: other}
        )
    assert stored == Imported(200, 0)
    assert await get_one(rig.store, "c", "a7@example.org") == UNSUBSCRIBE


async def test_import_of_what_changes_all_the_time_ends_with_a_conflict(rig: Rig) -> None:
    async def change() -> None:
        if not await remove(rig.store, "c", "a0@example.org"):
            await add(rig.store, "c", "a0@example.org", BOUNCE)

    async with faulty(rig.settings) as process:
        with pytest.raises(Conflict, match="changing all the time"):
            await process.do(
                lambda store: add_page(store, "c", _page(UNSUBSCRIBE, 3)),
                meanwhile=dict.fromkeys(range(2, 99, 2), change),
            )
    assert await get_one(rig.store, "c", "a2@example.org") == UNSUBSCRIBE


async def test_import_goes_on_after_a_conflict_only_while_its_client_is_there(rig: Rig) -> None:
    client, _ = await create_client(rig.store, name="shop", scopes=())
    there = [await is_there(rig.store, client.identity)]

    async def bounce() -> None:
        await add(rig.store, client.identity, "a0@example.org", BOUNCE)

    async def gone() -> None:
        await delete_client(rig.store, client.id)

    async with faulty(rig.settings) as process:
        with pytest.raises(NotFound):
            await process.do(
                lambda store: add_page(
                    store, client.identity, _page(UNSUBSCRIBE, 2), compares=there
                ),
                meanwhile={2: bounce, 4: gone},
            )
    prefix = rig.store.keys.client_suppressions(client.identity)
    assert not (await rig.store.client.range(prefix, range_end(prefix))).kvs


@pytest.mark.parametrize("fault", ["lost", "unanswered", "late", "overtaken"])
@pytest.mark.parametrize("size", [1, 200])
async def test_import_whose_write_has_an_unknown_outcome_looks_what_is_there(
    rig: Rig, fault: Fault, size: int
) -> None:
    async with faulty(rig.settings) as process:
        stored = await process.do(
            lambda store: add_page(store, "c", _page(UNSUBSCRIBE, size)), faults={2: fault}
        )
        for late in process.late:
            await process.arrive(late)
        assert stored == Imported(size, 0)
        assert await add_page(process.store, "c", _page(UNSUBSCRIBE, size)) == Imported(0, size)


async def test_import_whose_answers_are_all_lost_says_so_and_can_be_repeated(rig: Rig) -> None:
    async with faulty(rig.settings) as process:
        with pytest.raises(OutcomeUnknown):
            await process.do(
                lambda store: add_page(store, "c", _page(MANUAL, 200)),
                faults=dict.fromkeys(range(2, 99, 2), "lost"),
            )
        assert await add_page(process.store, "c", _page(MANUAL, 200)) == Imported(200, 0)


async def test_import_whose_look_at_a_lost_write_fails_may_be_stored(rig: Rig) -> None:
    async with faulty(rig.settings) as process:
        with pytest.raises(OutcomeUnknown):
            await process.do(
                lambda store: add_page(store, "c", _page(MANUAL)),
                faults={2: "unanswered", 3: "refused"},
            )
    assert await get_one(rig.store, "c", "a0@example.org") == MANUAL


async def test_word_that_takes_the_place_of_a_lost_write_is_not_counted(rig: Rig) -> None:
    """The write was done, its answer was lost, and somebody took the address off."""

    async def other() -> None:
        await remove(rig.store, "c", "a0@example.org")
        await add(rig.store, "c", "a0@example.org", MANUAL)

    async with faulty(rig.settings) as process:
        stored = await process.do(
            lambda store: add_page(store, "c", _page(UNSUBSCRIBE, 2)),
            faults={2: "unanswered"},
            meanwhile={3: other},
        )
    assert stored == Imported(1, 1)
    assert await get_one(rig.store, "c", "a0@example.org") == MANUAL


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
