"""Slots: how many sends may run at once, in all and of each queue."""

from __future__ import annotations

from babygun.email.model import Job
from babygun.routing.providers import load_providers
from babygun.routing.sites import Site, site_of_relay
from babygun.worker.slots import KEPT_SITES, Slots

SMALL = Job(size=1, recipients=1)


def site(name: str) -> Site:
    return site_of_relay(name, None)


def slots_of(total: int, limits: dict[str, int], memory: int = 1 << 30) -> Slots:
    return Slots(
        total=total, memory=memory, sites=len(limits), limit=lambda site: limits[site.name]
    )


def may_start(slots: Slots, name: str, job: Job = SMALL) -> bool:
    """Whether a job may start while no other site's job waits."""
    return slots.obstacle(site(name), job) in (None, "half")


def test_slots_of_hanging_sites_leave_each_other_site_its_part() -> None:
    slots = slots_of(100, dict.fromkeys("abcde", 1000))
    held = 0
    for hanging in ("a", "b", "c", "d"):
        while may_start(slots, hanging):
            slots.start(site(hanging), SMALL)
            held += 1
    own = 0
    while may_start(slots, "e"):
        slots.start(site("e"), SMALL)
        own += 1
    assert own == 10 and held + own == 100
    assert slots.full


def test_slots_of_a_single_site_are_all_of_them_and_come_back() -> None:
    slots = slots_of(100, {"a": 1000})
    for _ in range(100):
        assert may_start(slots, "a") and not slots.full
        slots.start(site("a"), SMALL)
    assert not may_start(slots, "a") and slots.full
    for _ in range(100):
        slots.end(site("a"), SMALL)
    for _ in range(100):
        assert may_start(slots, "a")
        slots.start(site("a"), SMALL)


def test_slots_bound_the_memory_but_let_one_large_email_go_beside_what_fits() -> None:
    slots = slots_of(10, {"a": 10}, memory=100)
    large, half = Job(size=1000, recipients=1), Job(size=60, recipients=1)
    slots.start(site("a"), half)
    assert not may_start(slots, "a", half) and may_start(slots, "a", SMALL)
    assert may_start(slots, "a", large)
    slots.start(site("a"), large)
    assert may_start(slots, "a", SMALL) and not may_start(slots, "a", large)
    slots.end(site("a"), large)
    slots.end(site("a"), half)
    assert may_start(slots, "a", half) and may_start(slots, "a", large)


def test_slots_of_a_site_are_no_more_than_its_limit() -> None:
    slots = slots_of(100, {"a": 3, "b": 1000})
    for _ in range(3):
        assert may_start(slots, "a")
        slots.start(site("a"), SMALL)
    assert slots.obstacle(site("a"), SMALL) == "limit" and may_start(slots, "b")


def test_slots_of_many_known_sites_are_for_those_in_use() -> None:
    slots = Slots(total=1000, memory=1 << 30, sites=100_000, limit=lambda site: 1000)
    held = 0
    while may_start(slots, "hangs"):
        slots.start(site("hangs"), SMALL)
        held += 1
    assert held == 500 // KEPT_SITES + (1000 - 500 // KEPT_SITES * KEPT_SITES)
    # The others share what is left, however many they are.
    names = [f"q{n}" for n in range(200)]
    for name in names:
        assert may_start(slots, name)
        slots.start(site(name), SMALL)
    started = slots.by_label().total()
    assert started == held + 200 and not slots.full


def test_slots_of_more_sites_than_slots_are_never_more_than_all() -> None:
    slots = Slots(total=100, memory=1 << 30, sites=100_000, limit=lambda site: 1000)
    started = 0
    for n in range(1000):
        if not slots.full and may_start(slots, f"q{n}"):
            slots.start(site(f"q{n}"), SMALL)
            started += 1
    assert started == 100 and slots.full
    slots.end(site("q0"), SMALL)
    assert not slots.full and may_start(slots, "q999") and "q0" not in slots.by_label()


def test_site_with_half_of_the_slots_gets_more_only_while_no_other_waits() -> None:
    slots = slots_of(10, {"a": 100, "b": 100})
    for _ in range(5):
        assert slots.obstacle(site("a"), SMALL) is None
        slots.start(site("a"), SMALL)
    assert slots.obstacle(site("a"), SMALL) == "half"
    assert slots.obstacle(site("b"), SMALL) is None
    slots.end(site("a"), SMALL)
    assert slots.obstacle(site("a"), SMALL) is None


def test_slots_in_use_of_sites_with_one_label_are_added_up() -> None:
    provider = load_providers().default
    slots = slots_of(10, {"mx:a.test": 5, "mx:b.test": 5, "main": 5})
    for name in ("mx:a.test", "mx:b.test"):
        slots.start(Site(name, provider, provider.limits, shared=False), SMALL)
    slots.start(site("main"), SMALL)
    assert slots.by_label() == {f"mx:{provider.name}": 2, "main": 1}


def test_slot_of_a_send_that_still_connects_is_free_for_others_and_its_site_waits() -> None:
    slots = Slots(total=1, memory=100, sites=1, limit=lambda site: 10)
    slow, large = Job(size=60, recipients=1), Job(size=50, recipients=1)
    slots.start(site("hangs"), slow)
    assert slots.full and slots.set_apart(site("hangs"), slow) and not slots.full
    assert slots.obstacle(site("hangs"), SMALL) == "limit"
    assert slots.obstacle(site("b"), large) == "memory", "its content is still there"
    assert slots.obstacle(site("b"), SMALL) is None
    slots.connected(site("hangs"))
    assert slots.obstacle(site("hangs"), SMALL) is None
    slots.end_apart(site("hangs"), slow, connected=True)
    assert slots.obstacle(site("hangs"), large) is None


def test_sends_without_a_slot_are_bounded() -> None:
    slots = Slots(total=2, memory=100, sites=1, limit=lambda site: 10)
    apart = 0
    for n in range(20):
        if not slots.full:
            slots.start(site(f"s{n}"), SMALL)
            apart += slots.set_apart(site(f"s{n}"), SMALL)
    assert apart == 8 and slots.full


def test_site_that_had_a_shared_slot_only_is_forgotten_at_its_end() -> None:
    """Otherwise its part of the slots would be kept for ever."""
    slots = Slots(total=10, memory=100, sites=1, limit=lambda site: 10)
    for name in ("a", "a", "a", "a", "a", "b"):
        slots.start(site(name), SMALL)
    slots.end(site("b"), SMALL)
    assert slots.by_label() == {"a": 5}
