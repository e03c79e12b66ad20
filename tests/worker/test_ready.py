"""Ready jobs: whose turn it is, and what keeps a site from its turn."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from sys import intern

import pytest

from babygun.email.model import Job
from babygun.intake.ids import new_email_id
from babygun.routing.sites import Site, site_of_relay
from babygun.store.codec import decode_job, encode_job
from babygun.store.keys import JobRef, Keys
from babygun.worker.ready import ReadyJobs
from babygun.worker.slots import Obstacle, Slots

SMALL = Job(size=1, recipients=1)


def ready_jobs(limit: int = 100, most: int = 200_000) -> ReadyJobs:
    """Each queue is a site of its own; those with a slash belong to the site before it."""
    return ReadyJobs(limit, lambda queue: site_of_relay(queue.split("/")[0], None), most=most)


def of(client: str, weight: int = 1, sender: str = "") -> Job:
    return Job(size=1, recipients=1, client=client, weight=weight, sender=sender)


def nothing(site: Site, job: Job) -> Obstacle | None:
    return None


def drain(ready: ReadyJobs) -> list[str]:
    taken = []
    while item := ready.take(nothing):
        taken.append(item[0].email_id)
    return taken


def test_ready_jobs_of_several_sites_take_turns() -> None:
    ready = ready_jobs()
    for name in ("a1", "a2", "a3", "b1", "c1", "c2"):
        ready.add(JobRef(name, name[0]), SMALL)
    assert drain(ready) == ["a1", "b1", "c1", "a2", "c2", "a3"]
    assert not ready and not ready.by_label()


def test_ready_jobs_of_several_clients_take_turns_in_a_site() -> None:
    ready = ready_jobs()
    for name in ("a1", "a2", "a3", "b1", "c1", "c2"):
        ready.add(JobRef(name, "main"), of(name[0]))
    assert drain(ready) == ["a1", "b1", "c1", "a2", "c2", "a3"]


def test_ready_client_with_a_weight_has_as_many_turns_in_a_row() -> None:
    ready = ready_jobs()
    for n in range(6):
        ready.add(JobRef(f"a{n}", "main"), of("a", weight=3))
        ready.add(JobRef(f"b{n}", "main"), of("b"))
    assert "".join(name[0] for name in drain(ready)) == "aaabaaabbbbb"


def test_client_with_mail_to_many_sites_takes_no_more_turns_from_another() -> None:
    """Also in a site that both send to: there it has a million jobs, too."""
    ready = ready_jobs(limit=5000)
    for n in range(2000):
        ready.add(JobRef(f"flood{n}", f"s{n}"), of("flood"))
        ready.add(JobRef(f"google{n}", "google"), of("flood"))
    for n in range(10):
        ready.add(JobRef(f"own{n}", "google"), of("other"))
    taken = [ready.take(nothing) for _ in range(100)]
    mine = [at for at, one in enumerate(taken) if one and one[1].client == "other"]
    assert len(mine) == 10 and all(b - a <= 6 for a, b in pairwise(mine))


def test_ready_job_known_already_is_not_added_twice() -> None:
    ready = ready_jobs()
    assert ready.add(JobRef("x", "a"), SMALL) is None
    assert ready.add(JobRef("x", "a"), SMALL) is None
    assert drain(ready) == ["x"]


@pytest.mark.parametrize("kind", ["limit", "share", "memory", "held", "slot", "pace"])
def test_ready_site_that_may_not_start_is_passed_over(kind: Obstacle) -> None:
    ready = ready_jobs()
    ready.add(JobRef("a1", "a"), SMALL)
    ready.add(JobRef("b1", "b"), SMALL)

    def obstacle(site: Site, job: Job) -> Obstacle | None:
        return None if site.name == "b" else kind

    taken = ready.take(obstacle)
    assert taken and taken[0].email_id == "b1"
    assert ready.take(obstacle) is None and ready.count("a") == 1
    waiting = list(ready.waiting())
    assert [(one.site.name, one.obstacle, one.jobs, one.queues) for one in waiting] == [
        ("a", kind, 1, 1)
    ]
    assert waiting[0].oldest == "a1"


def test_ready_site_with_half_of_the_slots_goes_after_all_others() -> None:
    ready = ready_jobs()
    for name in ("a1", "b1", "c1"):
        ready.add(JobRef(name, name[0]), SMALL)
    taken = []
    while one := ready.take(lambda site, job: "half" if site.name == "a" else None):
        taken.append(one[0].email_id)
    assert taken == ["b1", "c1", "a1"]


@pytest.mark.parametrize("kind", ["limit", "held", "slot", "pace"])
def test_ready_site_at_its_limit_is_asked_again_when_that_may_have_changed(kind: Obstacle) -> None:
    ready = ready_jobs()
    ready.add(JobRef("a1", "a"), SMALL)
    assert ready.take(lambda site, job: kind) is None
    ready.add(JobRef("a2", "a"), SMALL)
    assert ready.take(nothing) is None, "nothing of this site has ended"
    ready.go_on("a")
    assert drain(ready) == ["a1", "a2"]


def test_ready_sites_that_wait_for_memory_or_a_share_go_first_and_in_order() -> None:
    ready = ready_jobs()
    for name in ("a1", "b1", "c1"):
        ready.add(JobRef(name, name[0]), SMALL)
    kinds: dict[str, Obstacle] = {"a": "share", "b": "memory", "c": "memory"}
    assert ready.take(lambda site, job: kinds[site.name]) is None
    ready.add(JobRef("d1", "d"), SMALL)
    assert drain(ready) == ["a1", "b1", "c1", "d1"]


def test_ready_site_whose_obstacle_changes_does_not_hold_up_those_behind_it() -> None:
    ready = ready_jobs()
    for name in ("a1", "b1"):
        ready.add(JobRef(name, name[0]), SMALL)
    assert ready.take(lambda site, job: "memory") is None
    now: dict[str, Obstacle | None] = {"a": "share", "b": None}
    taken = ready.take(lambda site, job: now[site.name])
    assert taken and taken[0].email_id == "b1"


def test_ready_jobs_of_a_held_sender_wait_alone_and_come_first_afterwards() -> None:
    ready = ready_jobs()
    senders = ("x", "x", "y", "x", "y")
    for n, sender in enumerate(senders):
        ready.add(JobRef(f"a{n}", "a"), of("client", sender=sender))

    def obstacle(site: Site, job: Job) -> Obstacle | None:
        return "sender" if job.sender == "x" else None

    assert [taken[0].email_id for _ in range(2) if (taken := ready.take(obstacle))] == ["a2", "a4"]
    assert ready.take(obstacle) is None and len(ready) == 3
    assert [ref.email_id for ref, _ in ready.waiting_of("a")] == ["a0", "a1", "a3"]
    ready.add(JobRef("a5", "a"), of("client", sender="y"))
    ready.sender_may_go_on("a", "x")
    assert drain(ready) == ["a0", "a1", "a3", "a5"] and not len(ready)


def test_probe_takes_the_job_that_it_names_of_a_site_that_is_held() -> None:
    ready = ready_jobs()
    for n in range(3):
        ready.add(JobRef(f"a{n}", "a"), SMALL)
    assert ready.take(lambda site, job: "held") is None
    taken = ready.take_probe("a", JobRef("a1", "a"))
    assert taken and taken[0].email_id == "a1"
    assert ready.take(nothing) is None, "a probe does not end a hold"
    taken = ready.take_probe("a", JobRef("gone", "a"))
    assert taken and taken[0].email_id == "a0"
    assert ready.take_probe("b") is None
    ready.go_on("a")
    assert drain(ready) == ["a2"] and ready.take_probe("a") is None


def test_queues_of_one_site_go_in_the_order_in_which_their_jobs_came() -> None:
    ready = ready_jobs()
    for n in range(6):
        ready.add(JobRef(f"e{n}", f"site/{n % 2}"), SMALL)
    assert ready.count("site/0") == 3
    assert drain(ready) == [f"e{n}" for n in range(6)]


def test_queues_without_a_job_are_forgotten_while_others_of_their_site_have_some() -> None:
    ready = ready_jobs()
    ready.add(JobRef("kept", "site/kept"), SMALL)
    for n in range(3000):
        ready.add(JobRef(f"e{n}", f"site/{n}"), SMALL)
        ready.take(nothing)
    assert len(ready) == 1 and sum(ready.knows(f"site/{n}") for n in range(3000)) <= 1010


class Asked:
    """Counts how often it is asked for an obstacle."""

    def __init__(self, slots: Slots) -> None:
        self._slots, self.times = slots, 0

    def __call__(self, site: Site, job: Job) -> Obstacle | None:
        self.times += 1
        return self._slots.obstacle(site, job)


@pytest.mark.parametrize(("limit", "memory"), [(1000, 1 << 30), (1, 1 << 30), (1000, 50)])
def test_job_of_20_000_sites_is_taken_without_asking_them_all(limit: int, memory: int) -> None:
    """Also where most of them can't start: for their limit, for want of a slot or of memory."""
    ready = ready_jobs(most=60_000)
    for n in range(40_000):
        ready.add(JobRef(f"e{n}", f"q{n % 20_000}"), SMALL)
    slots = Slots(total=100, memory=memory, sites=20_000, limit=lambda site: limit)
    asked = Asked(slots)
    running: list[tuple[Site, Job]] = []

    def start_all() -> None:
        while not slots.full and (taken := ready.take(asked)):
            _, job, site = taken
            slots.start(site, job)
            running.append((site, job))

    start_all()
    assert len(running) == min(100, memory)
    asked.times = 0
    for _ in range(5_000):
        site, job = running.pop(0)
        slots.end(site, job)
        ready.go_on(site.name)
        start_all()
    assert len(running) == min(100, memory) and asked.times <= 20_000


class Memory:
    """A worker with memory for 10,000 bytes, and a backlog of e-mails of 1,000 to one site."""

    def __init__(self) -> None:
        self.ready = ready_jobs(limit=1000)
        self.slots = Slots(total=100, memory=10_000, sites=2, limit=lambda site: 1000)
        self.running: list[tuple[str, Site, Job]] = []
        self.started: list[str] = []
        for n in range(200):
            self.ready.add(JobRef(f"m{n}", "backlog"), Job(size=1000, recipients=1))

    def add(self, name: str, site: str, size: int) -> None:
        self.ready.add(JobRef(name, site), Job(size=size, recipients=1))

    def start(self) -> None:
        """Starts what may start."""
        while not self.slots.full and (taken := self.ready.take(self._obstacle)):
            ref, job, site = taken
            self.slots.start(site, job)
            self.running.append((ref.email_id, site, job))
            self.started.append(ref.email_id)

    def end(self, name: str) -> None:
        """A try has ended. So others start."""
        [found] = [one for one in self.running if one[0] == name]
        self.running.remove(found)
        self.slots.end(*found[1:])
        self.ready.go_on(found[1].name)
        self.start()

    def _obstacle(self, site: Site, job: Job) -> Obstacle | None:
        return self.slots.obstacle(site, job, self.ready.overtaken)


@pytest.mark.parametrize("own", [0, 3])
def test_large_email_is_overtaken_by_others_as_large_together_and_then_starts(own: int) -> None:
    """It needs half of the memory. ``own``: tries of its own site that are under way before."""
    worker = Memory()
    for n in range(own):
        worker.add(f"own{n}", "other", 10)
    worker.start()
    worker.add("large", "other", 5000)
    worker.add("behind", "other", 10)
    for n in range(30):
        if n in (6, 8, 10) and own:
            own -= 1
            worker.end(f"own{own}")
        worker.end(next(name for name, _, _ in worker.running if name.startswith("m")))
    assert {"large", "behind"} <= set(worker.started)
    assert sum(name.startswith("m") for name in worker.started) > 20, "the others go on"


def test_small_emails_go_on_though_large_ones_hang_and_another_waits() -> None:
    worker = Memory()
    worker.add("first", "hangs", 1000)
    worker.start()
    worker.add("large", "other", 9500)
    for n in range(14):  # so it has been overtaken, and 2,000 bytes are free
        worker.end(f"m{n}")
    assert worker.ready.overtaken and "large" not in worker.started
    worker.add("small", "third", 9)
    worker.start()
    assert "small" in worker.started


def test_sites_that_hang_hold_up_no_other_of_20_000() -> None:
    ready = ready_jobs()
    slots = Slots(total=200, memory=1 << 30, sites=20_000, limit=lambda site: 1000)
    for n in range(1000):
        ready.add(JobRef(f"h{n}", f"hangs{n % 10}"), SMALL)
    ended = 0
    for n in range(20_000):
        ready.add(JobRef(f"e{n}", f"q{n}"), SMALL)
        while not slots.full and (taken := ready.take(slots.obstacle)):
            _, job, site = taken
            slots.start(site, job)
            if not site.name.startswith("hangs"):
                slots.end(site, job)
                ready.go_on(site.name)
                ended += 1
    assert ended == 20_000


def test_site_gets_half_of_the_slots_while_another_waits_and_all_of_them_alone() -> None:
    """One of two relays that both hang takes no more than the other."""
    ready, slots = ready_jobs(), Slots(total=20, memory=1 << 30, sites=1, limit=lambda site: 1000)
    for n in range(50):
        ready.add(JobRef(f"a{n}", "a"), SMALL)
    for n in range(50):
        ready.add(JobRef(f"b{n}", "b"), SMALL)
    while not slots.full and (taken := ready.take(slots.obstacle)):
        slots.start(taken[2], taken[1])
    assert slots.by_label() == {"a": 10, "b": 10}


def test_job_that_ended_while_its_site_or_sender_is_held_is_forgotten_alone() -> None:
    def held(site: Site, job: Job) -> Obstacle | None:
        return "held" if site.name == "a" else "sender" if job.sender == "b.example" else None

    ready = ready_jobs()
    for name in ("a1", "a2", "a3"):
        ready.add(JobRef(name, "a"), of(name))
    for name in ("b1", "b2", "b3"):
        ready.add(JobRef(name, "b"), of("one", sender="b.example"))
    assert ready.take(held) is None
    for name in ("a2", "b2", "a3", "unknown"):
        ready.drop(JobRef(name, name[0]))
    assert [ref.email_id for ref, _ in ready.waiting_of("a")] == ["a1"]
    ready.drop(JobRef("a1", "a"))
    ready.go_on("a")
    ready.sender_may_go_on("b", "b.example")
    assert drain(ready) == ["b1", "b3"] and not ready and not ready.by_label()


def test_job_that_ended_while_its_site_is_looked_up_is_forgotten_alone() -> None:
    ready = ReadyJobs(100, {"a": site_of_relay("a", None)}.get)
    for name in ("a1", "x1", "x2", "y1"):
        ready.add(JobRef(name, name[0]), SMALL)
    assert ready.take_unknown() == "x"
    for name in ("x1", "x2", "y1"):
        ready.drop(JobRef(name, name[0]))
    ready.found("x", site_of_relay("x", None))
    assert ready.take_unknown() is None
    assert drain(ready) == ["a1"] and not ready


def test_queue_that_leaves_a_full_site_has_room_and_the_rest_of_it_is_read() -> None:
    ready = ready_jobs(limit=8)
    for n in range(20):
        ready.add(JobRef(f"e{n:02}", "old/x"), of("a"))
    ready.add(JobRef("e99", "old/y"), of("b", sender="s"))
    ready.refile("old/x", site_of_relay("new", None))
    assert ready.is_cut("old/x", "a"), "a new job would overtake those that are not known"
    assert [ref.email_id for ref in ready.jobs("new")] == [f"e{n:02}" for n in range(8)]
    assert (ready.queues_of("old"), ready.queues_of("new")) == (["old/y"], ["old/x"])
    assert [ref.email_id for ref in ready.jobs("old")] == ["e99"] and ready.unread.to_sweep
    assert sorted(drain(ready)) == [*(f"e{n:02}" for n in range(8)), "e99"]


def test_job_whose_emails_end_has_come_is_named_with_its_site() -> None:
    ready, end = ready_jobs(), datetime(2026, 1, 1, tzinfo=UTC)
    for name, ends in (("a1", None), ("a2", end), ("a3", end), ("a4", end + timedelta(seconds=1))):
        ready.add(JobRef(name, "site/queue"), Job(1, 1, expires_at=ends))
    ready.drop(JobRef("a2", "site/queue"))
    assert ready.ended(end, 9) == [(JobRef("a3", "site/queue"), "site")]
    ready.clear()
    assert not ready.ended(end + timedelta(days=1), 9)


def test_queue_with_two_jobs_takes_less_than_1_600_bytes() -> None:
    """So 100,000 of them take less than 160 MB."""
    # Interned here: the interpreter's own table of such words may grow by some MB at any word.
    queues = [intern(f"mx:domain{n}.test") for n in range(2_000)]
    keys, refs = Keys(), [JobRef(new_email_id(), queue) for queue in queues * 2]
    found = [(keys.job(ref), encode_job(Job(1000, 1, client="shop"))) for ref in refs]
    sites = {ref.queue: site_of_relay(ref.queue, None) for ref in refs}
    ready = ReadyJobs(5000, sites.get)
    tracemalloc.start()
    try:
        for key, value in found:
            ready.add(keys.parse_job(key), decode_job(value))
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(ready) == 4_000 and used / 2_000 < 1600, used / 2_000
