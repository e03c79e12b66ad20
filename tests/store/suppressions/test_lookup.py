"""Which recipients are suppressed, by compares and by reads."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from babygun.email.addresses import hash_of
from babygun.email.suppression import Suppression
from babygun.runtime.clock import utc_now
from babygun.store.keys import Keys
from babygun.store.suppressions.lookup import find, find_in_queue, nobody_suppressed
from tests.email.steps import email
from tests.support.rig import Rig

KEYS = Keys()


def test_compares_are_two_for_each_recipient_and_list() -> None:
    few = email(a=8)
    assert len(nobody_suppressed(KEYS, few) or ()) == 16
    assert len(nobody_suppressed(KEYS, replace(few, list="*")) or ()) == 16
    assert len(nobody_suppressed(KEYS, replace(few, list="news")) or ()) == 32
    keys = [compare.key for compare in nobody_suppressed(KEYS, replace(email(a=1), list="n")) or ()]
    erased = hash_of("a0@example.com").encode()
    assert keys == [
        b"/babygun/suppressions/shop/n/a0@example.com",
        b"/babygun/suppressions/shop/n/" + erased,
        b"/babygun/suppressions/shop/*/a0@example.com",
        b"/babygun/suppressions/shop/*/" + erased,
    ]


def test_many_recipients_are_not_compared_but_read() -> None:
    assert nobody_suppressed(KEYS, email(a=17)) is None
    assert nobody_suppressed(KEYS, replace(email(a=9), list="news")) is None
    assert nobody_suppressed(KEYS, replace(email(a=17), ignore_suppressions=True)) == []


async def test_found_are_those_that_count_on_the_emails_list_or_for_all_mail(rig: Rig) -> None:
    past = utc_now() - timedelta(days=1)
    one, _ = rig.email(*(f"a{n}@example.org" for n in range(40)))
    await rig.suppress("A3@Example.org")
    await rig.suppress("a4@example.org", list_name="news")
    await rig.suppress("a5@example.org", list_name="offers")
    await rig.suppress("a6@example.org", since=past, until=past)
    two = replace(one, list="news")
    other = replace(one, client_id="other")
    ignoring = replace(one, ignore_suppressions=True)
    found = await find(rig.store, [one, two, other, ignoring])
    assert [sorted(each.suppressed) for each in found] == [
        ["a3@example.org"],
        ["a3@example.org", "a4@example.org"],
        [],
        [],
    ]
    assert sorted(await find_in_queue(rig.store, two, "main")) == [
        "a3@example.org",
        "a4@example.org",
    ]


async def test_value_that_is_no_suppression_is_passed_over(rig: Rig) -> None:
    one, _ = rig.email("a@example.org")
    key = rig.store.keys.suppression("client", "*", "a@example.org")
    await rig.store.client.put(key, b"junk")
    ((suppressed, compares),) = await find(rig.store, [one])
    assert (suppressed, len(compares)) == ({}, 2)


@pytest.mark.parametrize("count", [1, 32, 33, 1024, 2500])
async def test_thousands_are_read_in_few_requests(rig: Rig, count: int) -> None:
    """Each of them is found, wherever it is."""
    client = rig.store.client
    keys = [b"%bx/%06d" % (rig.store.keys.prefix, number) for number in range(count)]
    there = {keys[0], keys[count // 2], keys[-1]}
    for key in there:
        await client.put(key, key)
    found = await client.get_many(keys)
    assert {kv.value for kv in found.values()} == there == set(found)


def test_reason_in_words_names_the_reply() -> None:
    since = utc_now().replace(year=2026, month=11, day=2)
    bounce = Suppression(
        "hard_bounce", since, status_code=550, enhanced_code="5.1.1", reply="no such user"
    )
    assert bounce.why == "suppressed since 2026-11-02: hard bounce (550 5.1.1 no such user)"
