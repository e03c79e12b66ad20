"""What all workers together send to one site stays within its limits."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise

import pytest

from babygun.routing.providers import Limits, Rate
from babygun.runtime.settings import Settings
from babygun.smtp.classifier import Classifier
from babygun.smtp.replies import Phase, parse_reply
from babygun.store import Store
from babygun.worker.sites import keeper
from babygun.worker.sites.pace import interval, slot_count
from babygun.worker.sites.sites import Sites
from tests.support.rig import quick, rig_for
from tests.support.smtp_server import MisbehavingServer
from tests.worker.sites.senders import Message, Sender, shared_site


@contextmanager
def senders(settings: Sequence[Settings], limits: Limits, pools: int = 1) -> Iterator[list[Sender]]:
    """``settings``: of each."""
    site = shared_site(limits)
    found = [Sender(own, site, f"w{n}", pools) for n, own in enumerate(settings)]
    for each in found:
        each.start()
    try:
        yield found
    finally:
        for each in found:
            if each.is_alive():
                each.stop()
        for each in found:
            each.close()
    assert [each.error for each in found] == [None] * len(found)


def check(messages: list[Message], limits: Limits) -> None:
    """Slots, pace and rate were kept by all together."""
    by_slot: dict[int, list[Message]] = defaultdict(list)
    for message in sorted(messages):
        by_slot[message.slot].append(message)
    assert set(by_slot) <= set(range(1, slot_count(limits) + 1))
    for number, sent in by_slot.items():
        for before, after in pairwise(sent):
            assert after.at - before.at >= interval(limits, number) - 1e-6, (before, after)
    times = sorted(message.at for message in messages)
    for first in range(len(times)):
        within = [at for at in times[first:] if at <= times[first] + limits.rate.seconds]
        assert len(within) <= limits.rate.messages


def await_more(workers: list[Sender], messages: int) -> None:
    """Waits until each of them has sent so many more."""
    wanted = {worker: len(worker.messages) + messages for worker in workers}
    give_up = time.monotonic() + 60
    while any(len(worker.messages) < more for worker, more in wanted.items()):
        assert time.monotonic() < give_up, [worker.error for worker in workers]
        time.sleep(0.05)


def test_three_workers_of_which_one_dies_and_one_stands_still_keep_to_the_limits(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "SHARE", 0.8)
    monkeypatch.setattr(keeper, "_LEAVE_IT", 0.4)
    limits = Limits(2, 10, Rate(20, 1.0))
    short, long = (quick(settings, {}, lease_ttl=ttl) for ttl in (4.0, 30.0))
    with senders([short, short, long], limits, pools=2) as workers:
        await_more(workers, 1)
        workers[0].stop(crash=True)
        workers[1].pause(6.0)  # past its lease
        await_more(workers[2:], 30)
    messages = [message for worker in workers for message in worker.messages]
    check(messages, limits)


def test_full_sessions_cost_etcd_less_than_a_tenth_of_a_transaction_a_message(
    settings: Settings,
) -> None:
    """Two workers share four connections of 20 messages each."""
    limits = Limits(4, 20, Rate(400, 1.0))
    with senders([quick(settings, {}, lease_ttl=30.0)] * 2, limits) as workers:
        await_more(workers, 100)
        sent = sum(len(worker.messages) for worker in workers)
        asked = sum(worker.transactions for worker in workers)
    assert asked <= 0.1 * sent
    check([message for worker in workers for message in worker.messages], limits)


async def test_relay_with_limits_of_its_own_never_sees_more_of_two_workers(
    settings: Settings,
) -> None:
    async with MisbehavingServer(max_connections=2) as server:
        relay = {"url": server.url, "connections": 2, "rate": "500/s"}
        async with rig_for(quick(settings, {"a": relay})) as rig:
            ids = [await rig.send(f"user{n}@a.example") for n in range(60)]
            async with rig.worker(), rig.worker():
                emails = await rig.ended(*ids)
            assert {email.status for email in emails} == {"complete"}
            assert {email.tries for email in emails} == {1}
            await rig.emptied(rig.store.keys.slots)  # they go with the workers
    assert server.refused == 0 and server.max_concurrent <= 2


@asynccontextmanager
async def sites_of(settings: Settings) -> AsyncIterator[Sites]:
    """Those of a worker without a lease."""
    async with Store(settings) as store:
        sites = Sites(
            store,
            {},
            identity=lambda: None,
            workers=lambda: 1,
            wake=lambda: None,
            may_go_on=lambda _: None,
            sender_may_go_on=lambda *_: None,
        )
        yield sites
        await sites.close()


async def test_pool_that_outlives_its_sites_permits_shares_the_next_ones(
    settings: Settings,
) -> None:
    site = shared_site(Limits(1, 10, Rate(100, 1.0)))._replace(shared=False)
    async with sites_of(settings) as sites:
        old = sites.permits(site)
        slot = old.try_take(lambda: None)
        assert slot is not None
        slot.give_back()
        for _ in range(2):  # it begins with those that it found the last time
            sites._forget(time.monotonic() + 3600.0)
        assert sites.permits(site).try_take(lambda: None) is not None
        assert old.try_take(lambda: None) is None


@pytest.mark.parametrize(
    ("phase", "text", "held"),
    [
        ("greeting", "521 5.3.2 example.org takes no mail", 0),
        ("tls", "502 5.5.1 STARTTLS not implemented", 0),
        ("connect", "connecting to mx.example.org: Connection refused", 1),
    ],
)
async def test_three_refusals_hold_a_site_unless_they_are_about_one_domain(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, phase: Phase, text: str, held: int
) -> None:
    reply = parse_reply(text, phase)
    found = Classifier.load().classify(reply, route="mx")
    holds: list[str] = []
    async with sites_of(settings) as sites:
        monkeypatch.setattr(sites.holds, "hold", lambda site, *_: holds.append(site))
        for _ in range(3):
            sites.replied(shared_site(Limits(1, 10, Rate(100, 1.0))), reply, found)
    assert len(holds) == held
