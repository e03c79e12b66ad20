"""Turns: fair shares, whatever is added and set aside, and in whatever order.

Hypothesis makes up clients, sites, weights and steps, and compares with a plain model.
"""

from __future__ import annotations

import gc
import itertools
import sys
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from babygun.email.model import Job
from babygun.routing.sites import Site, site_of_relay
from babygun.store.keys import JobRef
from babygun.worker.ready import ReadyJobs, Taken
from babygun.worker.slots import Obstacle
from babygun.worker.turns import SHORT, SiteJobs
from tests.support.machines import run_machine

CLIENTS = "abcd"
SITES = ("s0", "s1", "s2", "s3")
ALONE = {"mx:a": "s0", "mx:b": "s0", "mx:c": "s3"}  # queues that must be looked up, and their sites
SET_ASIDE: tuple[Obstacle, ...] = ("limit", "share", "memory", "held", "slot", "pace", "half")


def job_of(client: str, weight: int = 1, sender: str = "") -> Job:
    return Job(1, 1, client=client, weight=weight, sender=sender)


def relay(name: str) -> Site:
    return site_of_relay(name, None)


def nothing(site: Site, job: Job) -> Obstacle | None:
    return None


briefly = settings(max_examples=40, derandomize=True, database=None, deadline=None)


# --- shares ---


@briefly
@given(
    weights=st.lists(st.integers(1, 9), min_size=2, max_size=6),
    window=st.integers(1, 200),
    skipped=st.integers(0, 50),
)
def test_clients_in_a_site_have_turns_by_weight_over_any_window(
    weights: list[int], window: int, skipped: int
) -> None:
    """Each differs from its exact share by less than twice its turns in a row."""
    ready = ReadyJobs(5000, relay)
    for n in range(260):
        for client, weight in enumerate(weights):
            ready.add(JobRef(f"{client}-{n}", "main"), job_of(str(client), weight))
    taken = [ready.take(nothing) for _ in range(skipped + window)][skipped:]
    got = Counter(one[1].client for one in taken if one)
    for client, weight in enumerate(weights):
        share = window * weight / sum(weights)
        assert abs(got[str(client)] - share) < 2 * weight


@briefly
@given(weights=st.lists(st.integers(1, 9), min_size=2, max_size=5), sites=st.integers(1, 200))
def test_clients_have_turns_by_weight_however_many_sites_one_of_them_has(
    weights: list[int], sites: int
) -> None:
    """No two of them have a site in common; the first has many, each other one has one."""
    ready = ReadyJobs(5000, relay)
    names = {0: [f"s0-{n}" for n in range(sites)]}
    names |= {client: [f"s{client}"] for client in range(1, len(weights))}
    for n in range(210):
        for client, weight in enumerate(weights):
            queue = names[client][n % len(names[client])]
            ready.add(JobRef(f"{client}-{n}", queue), job_of(str(client), weight))
    got = Counter(one[1].client for _ in range(200) if (one := ready.take(nothing)))
    for client, weight in enumerate(weights):
        assert abs(got[str(client)] - 200 * weight / sum(weights)) < 2 * weight


@briefly
@given(others=st.integers(1, 60), clients=st.integers(1, 6))
def test_job_of_a_client_waits_for_few_picks_however_much_others_have(
    others: int, clients: int
) -> None:
    """It is in a site where all of them have much, and they have many more sites each."""
    ready = ReadyJobs(5000, relay)
    for n in range(others):
        for client in range(clients):
            ready.add(JobRef(f"{client}-own-{n}", f"s{client}-{n}"), job_of(str(client)))
            ready.add(JobRef(f"{client}-{n}", "shared"), job_of(str(client)))
    for _ in range(min(50, others)):
        ready.take(nothing)
    ready.add(JobRef("late", "shared"), job_of("late"))
    picks = itertools.takewhile(
        lambda taken: taken is not None and taken[0].email_id != "late",
        iter(lambda: ready.take(nothing), None),
    )
    assert sum(1 for _ in picks) <= (clients + 1) ** 2


def test_site_does_not_stay_with_a_client_that_has_no_more_jobs_there() -> None:
    """Otherwise one client's mail would use up the turns of another."""
    ready = ReadyJobs(5000, relay)
    for n in range(1000):
        ready.add(JobRef(f"flood{n}", f"s{n % 100}"), job_of("flood"))
    for n in range(30):
        ready.add(JobRef(f"few{n}", f"s{n}"), job_of("few"))
    while (taken := ready.take(nothing)) and len(ready) > 600:
        pass
    for n in range(10):
        ready.add(JobRef(f"late{n}", "own"), job_of("few"))
    taken_of = [taken[1].client for _ in range(20) if (taken := ready.take(nothing))]
    assert taken_of.count("few") >= 9


# --- work ---


def test_turn_costs_the_same_with_20_000_sites_as_with_ten() -> None:
    """Counted in calls and lines of Python: nothing goes through all sites."""

    def work(sites: int) -> int:
        ready = ReadyJobs(5000, relay, most=100_000)
        for n in range(2 * sites):
            ready.add(JobRef(f"e{n}", f"s{n % sites}"), job_of(CLIENTS[n % 4]))
        events = 0

        def count(*_: object) -> object:
            nonlocal events
            events += 1
            return count

        gc.disable()  # what else would be freed meanwhile is no work of the turns
        sys.settrace(count)
        try:
            for _ in range(20):
                taken = ready.take(nothing)
                assert taken is not None
                ready.go_on(taken[2].name)
        finally:
            sys.settrace(None)
            gc.enable()
        return events

    assert work(20_000) <= 1.5 * work(10)


def test_line_keeps_its_order_when_it_grows_and_shrinks() -> None:
    jobs = SiteJobs(site_of_relay("s", None))
    line = jobs.line_for("client")
    refs = [JobRef(str(n), "s") for n in range(3 * SHORT)]
    for ref in refs[: 2 * SHORT]:
        jobs.add(line, ref)
    assert [jobs.take(line) for _ in range(SHORT)] == refs[:SHORT]
    assert not jobs.put_first(line, refs[:2])
    for ref in refs[2 * SHORT :]:
        jobs.add(line, ref)
    jobs.pull(line, refs[-1])
    left = [jobs.take(line) for _ in range(2 * SHORT + 1)]
    assert left == [*refs[:2], *refs[SHORT:-1]] and jobs.line is None


# --- any steps ---


class AnySteps(RuleBasedStateMachine):
    """No job is lost or taken twice, and each client's jobs of a site go in their order.

    If nothing can be taken, each site with a job has an obstacle.
    """

    @initialize(limit=st.integers(1, 30), most=st.integers(5, 60))
    def begin(self, limit: int, most: int) -> None:
        self.ready = ReadyJobs(limit, self.site_of, most=most)
        self.found: set[str] = set()  # queues whose site is known by now
        self.moved: dict[str, str] = {}  # queues that have another site by now
        self.looked_up: list[str] = []
        # By site, or by queue while its site is not known: the jobs in the order of their arrival.
        self.lines: dict[str, list[JobRef]] = {name: [] for name in (*SITES, *ALONE)}
        self.jobs: dict[JobRef, Job] = {}
        self.obstacles: dict[str, Obstacle] = {}
        self.held: set[tuple[str, str]] = set()
        self.were_held = False
        self.numbers = itertools.count()

    def site_of(self, queue: str) -> Site | None:
        if queue in ALONE and queue not in self.found:
            return None
        return relay(self.moved.get(queue) or ALONE.get(queue, queue))

    def obstacle(self, site: Site, job: Job) -> Obstacle | None:
        if (site.name, job.sender) in self.held:
            return "sender"
        return self.obstacles.get(site.name)

    @rule(
        queue=st.sampled_from((*SITES, *ALONE)),
        client=st.sampled_from(CLIENTS),
        sender=st.sampled_from("xyz"),
        weight=st.integers(1, 3),
        count=st.integers(1, 5),
    )
    def add(self, queue: str, client: str, sender: str, weight: int, count: int) -> None:
        for _ in range(count):
            ref, job = JobRef(f"e{next(self.numbers):06}", queue), job_of(client, weight, sender)
            if self.ready.add(ref, job) is None:
                self.lines[self.place(queue)].append(ref)
                self.jobs[ref] = job
                assert self.ready.add(ref, job) is None, "it is known already"
            else:
                assert self.ready.is_cut(queue, client)

    def place(self, queue: str) -> str:
        site = self.site_of(queue)
        return site.name if site else queue

    def ended(self, taken: Taken) -> None:
        ref, job, site = taken
        assert self.jobs.pop(ref) is job, "taken twice, or never added"
        line = self.lines[site.name]
        earlier = line[: line.index(ref)]
        line.remove(ref)
        for other in earlier:
            if self.jobs[other].client == job.client:
                held = (site.name, self.jobs[other].sender) in self.held
                assert held or (self.were_held and self.jobs[other].sender != job.sender)

    @rule(count=st.integers(1, 6))
    def take(self, count: int) -> None:
        for _ in range(count):
            taken = self.ready.take(self.obstacle)
            if taken is None:
                for name in SITES:
                    may_start = [
                        ref
                        for ref in self.lines[name]
                        if (name, self.jobs[ref].sender) not in self.held
                    ]
                    assert not may_start or self.obstacles.get(name) not in (None, "half")
                return
            assert self.obstacles.get(taken[2].name) in (None, "half")
            self.ended(taken)

    @rule(site=st.sampled_from(SITES), kind=st.sampled_from(SET_ASIDE))
    def obstruct(self, site: str, kind: Obstacle) -> None:
        self.go_on(site)
        self.obstacles[site] = kind

    @rule(site=st.sampled_from(SITES))
    def go_on(self, site: str) -> None:
        self.obstacles.pop(site, None)
        self.ready.go_on(site)

    @rule(site=st.sampled_from(SITES))
    def probe(self, site: str) -> None:
        refs = self.ready.jobs(site)
        if taken := self.ready.take_probe(site, refs[-1] if refs else None):
            assert taken[0] == refs[-1]
            del self.jobs[taken[0]]
            self.lines[site].remove(taken[0])

    @rule(site=st.sampled_from(SITES), sender=st.sampled_from("xyz"))
    def hold_sender(self, site: str, sender: str) -> None:
        self.held.add((site, sender))
        self.were_held = True

    @rule(site=st.sampled_from(SITES), sender=st.sampled_from("xyz"))
    def end_hold_of_sender(self, site: str, sender: str) -> None:
        self.held.discard((site, sender))
        self.ready.sender_may_go_on(site, sender)

    @rule()
    def look_up(self) -> None:
        if queue := self.ready.take_unknown():
            assert queue not in self.found and queue not in self.looked_up
            self.looked_up.append(queue)

    @precondition(lambda self: self.looked_up)
    @rule()
    def find(self) -> None:
        self.settle(self.looked_up.pop())

    def settle(self, queue: str) -> None:
        self.found.add(queue)
        self.lines[ALONE[queue]] += self.lines[queue]
        self.lines[queue] = []
        self.ready.found(queue, relay(ALONE[queue]))

    @rule(queue=st.sampled_from((*SITES, *ALONE)), to=st.sampled_from(SITES))
    def move(self, queue: str, to: str) -> None:
        if self.site_of(queue) is None:
            return
        old = self.lines[self.place(queue)]
        going = [ref for ref in old if ref.queue == queue]
        old[:] = [ref for ref in old if ref.queue != queue]
        self.lines[to] += going
        self.moved[queue] = to
        self.ready.refile(queue, relay(to))
        assert queue not in self.ready.queues_of(queue) or to == queue

    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        """A read of one queue that has few names left, or of the slice; it may end early."""
        queues = [None, *self.ready.unread.to_read]
        queue = data.draw(st.sampled_from(queues))
        marks = self.ready.begin_read(queue)
        assert queue not in self.ready.unread.to_read
        if data.draw(st.booleans()):
            self.ready.stop_read(queue, marks, failed=data.draw(st.booleans()))

    @invariant()
    def knows_as_many(self) -> None:
        assert len(self.ready) == len(self.jobs) == self.ready.by_label().total()

    def teardown(self) -> None:
        """In the end all of it can be taken."""
        if not hasattr(self, "ready"):
            return
        while queue := self.ready.take_unknown():
            self.looked_up.append(queue)
        while self.looked_up:
            self.settle(self.looked_up.pop())
        self.obstacles.clear()
        for site, sender in self.held:
            self.ready.sender_may_go_on(site, sender)
        self.held.clear()
        for site in SITES:
            self.ready.go_on(site)
            for sender in "xyz":
                self.ready.sender_may_go_on(site, sender)
        while taken := self.ready.take(self.obstacle):
            self.ended(taken)
        assert not self.jobs and not len(self.ready)


def test_machine_of_any_steps_loses_no_job_and_takes_none_twice() -> None:
    run_machine(AnySteps, examples=60, steps=50)
